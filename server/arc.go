package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/rpc"
)

// endpoint is the one ARC endpoint.
//
//	endpoint
//	├─ GET with Upgrade        socket
//	├─ POST
//	│  ├─ readBody             413, 415, 400
//	│  ├─ rpc.Decode           400
//	│  ├─ authenticate         401, 503
//	│  ├─ single               one call: answer, or serveStream
//	│  └─ batch                JSON-RPC: each item on its own
//	└─ else                    405
func (s *Server) endpoint(plain http.ResponseWriter, r *http.Request) {
	w := plain.(*response)
	switch {
	case r.Method == http.MethodPost:
		s.post(w, r)
	case r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		s.socket(w, r)
	case r.Method == http.MethodOptions: // a preflight was answered before
		w.Header().Set("Allow", "POST, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
	default:
		s.refuseMethod(w, r, http.MethodPost, http.MethodOptions)
	}
}

// post answers one body. The order matters: nothing about agents or methods is
// told before the token is judged, and the same decoded value goes to
// authentication, authorisation and the method.
func (s *Server) post(w *response, r *http.Request) {
	body, status, err := s.readBody(w, r, s.cfg.Limits.BodyBytes)
	if err != nil {
		s.problemStatus(w, r, status, err)
		return
	}
	batch := rpc.Decode(body, rpc.Limits{Depth: s.cfg.Limits.Depth, Batch: s.cfg.Limits.Batch})
	if first := &batch.Items[0]; !batch.Array && first.Err != nil {
		s.respond(w, &first.Request, nil, first.Err, true)
		return
	}
	principal, err := s.authenticate(r.Context(), r.Header, w.requestID)
	switch {
	case err != nil:
		s.refuseAll(w, r, &batch, err)
	case batch.Array:
		s.batch(w, r, &batch, principal)
	default:
		s.single(w, r, &batch.Items[0].Request, principal)
	}
}

// readBody reads the body within its limits of kind and size; the limit of time
// is set by frame. On an error it gives the status too.
func (s *Server) readBody(w *response, r *http.Request, limit int64) ([]byte, int, *arc.Error) {
	if err := checkMedia(r.Header); err != nil {
		return nil, http.StatusUnsupportedMediaType, err
	}
	if r.ContentLength > limit {
		return nil, http.StatusRequestEntityTooLarge, tooLarge(r.ContentLength, limit)
	}
	from := r.Body
	if r.ContentLength < 0 { // else net/http keeps to the length
		from = http.MaxBytesReader(w.ResponseWriter, r.Body, limit)
	}
	body, err := readAll(from, r.ContentLength)
	if err == nil {
		w.bodyRead()
		return body, 0, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, http.StatusRequestEntityTooLarge, tooLarge(limit+1, limit)
	}
	status, reason := http.StatusBadRequest, "body_unreadable"
	if errors.Is(err, os.ErrDeadlineExceeded) {
		status, reason = http.StatusRequestTimeout, "body_timeout"
	}
	w.Header().Set("Connection", "close")
	return nil, status, arc.Errorf(arc.CodeInvalidRequest, "the body did not arrive").
		With("reason", reason).With("retryable", true).Because(err)
}

// checkMedia refuses bodies of other kinds, so that no browser form can reach
// the endpoint. An absent Content-Type is taken for JSON, and text/event-stream
// too, because the published Python client sends it on streaming calls.
func checkMedia(h http.Header) *arc.Error {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return mediaRefused(arc.Errorf(arc.CodeInvalidRequest, "the body must not be compressed").
			With("contentEncoding", e))
	}
	full := h.Get("Content-Type")
	switch full { // the usual spellings, without work
	case "", arc.MediaARC, arc.MediaJSON, arc.MediaSSE:
		return nil
	}
	name, _, _ := strings.Cut(full, ";")
	switch name = strings.TrimSpace(name); {
	case strings.EqualFold(name, arc.MediaARC), strings.EqualFold(name, arc.MediaJSON), strings.EqualFold(name, arc.MediaSSE):
		return nil
	}
	return mediaRefused(arc.Errorf(arc.CodeInvalidRequest, "the Content-Type must be %s or %s", arc.MediaARC, arc.MediaJSON).
		With("contentType", full).With("supported", []string{arc.MediaARC, arc.MediaJSON}))
}

// mediaRefused names the kind of problem that a body of another kind is.
func mediaRefused(err *arc.Error) *arc.Error {
	err.Problem = arc.ProblemMediaType
	return err.With("retryable", false)
}

// tooLarge names the size, as far as it is known, and the limit.
func tooLarge(size, limit int64) *arc.Error {
	return arc.Errorf(arc.CodeTooLarge, "the body is larger than %d bytes", limit).
		With("size", size).With("max_size", limit).With("retryable", false)
}

// readAll reads to the end, into one allocation where the length is known. The
// buffer is not pooled: params point into it for as long as the call lasts.
func readAll(r io.Reader, length int64) ([]byte, error) {
	const trusted = 1 << 20 // what a Content-Length alone may reserve
	if length > 0 && length <= trusted {
		b := make([]byte, length)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		return b, nil
	}
	var b bytes.Buffer
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// authenticate gives the principal of a request.
func (s *Server) authenticate(ctx context.Context, h http.Header, requestID string) (*auth.Principal, *arc.Error) {
	if s.anonymous != nil {
		return s.anonymous, nil
	}
	token, err := auth.Bearer(h)
	if err != nil {
		return nil, s.public(err, requestID)
	}
	return s.validate(ctx, token, requestID)
}

// bearer gives the token of a request that was authenticated; "" without
// authentication.
func (s *Server) bearer(h http.Header) string {
	if s.anonymous != nil {
		return ""
	}
	token, _ := auth.Bearer(h)
	return token
}

// validate turns a token into its principal. An answer never says more of a bad
// token than its stable reason; the rest goes to the log.
func (s *Server) validate(ctx context.Context, token, requestID string) (*auth.Principal, *arc.Error) {
	if s.cfg.Validator == nil {
		return nil, arc.Errorf(arc.CodeUnauthenticated, "this server trusts no issuer of tokens").
			With("reason", "no_provider").With("retryable", false)
	}
	p, err := s.cfg.Validator.Validate(ctx, token)
	if err == nil && p == nil {
		err = errors.New("the validator gave neither a principal nor an error")
	}
	if err != nil {
		return nil, s.public(err, requestID)
	}
	return p, nil
}

// refuseAll answers for want of a good token: one error, or in a batch one per
// item that expects an answer.
func (s *Server) refuseAll(w *response, r *http.Request, batch *rpc.Batch, err *arc.Error) {
	for i := range batch.Items {
		s.auditRefusal(w, r, &batch.Items[i].Request, err)
	}
	if !batch.Array {
		s.respond(w, &batch.Items[0].Request, nil, err, true)
		return
	}
	p := buffers.Get().(*[]byte)
	defer putBuffer(p)
	b := append((*p)[:0], '[')
	for i := range batch.Items {
		item := &batch.Items[i]
		if item.Err != nil {
			b = s.appendItem(b, &item.Request, nil, item.Err, w.requestID)
		} else if item.Request.ID != "" {
			b = s.appendItem(b, &item.Request, nil, err, w.requestID)
		}
	}
	if len(b) == 1 { // notifications only; but nobody shall take this for done
		b = s.appendItem(b, &arc.Request{Dialect: arc.JSONRPC}, nil, err, w.requestID)
	}
	*p = append(b, ']')
	s.refusalHeaders(w.Header(), err)
	s.send(w, s.status(err, true), arc.JSONRPC, *p)
}

// single makes one call and answers it.
func (s *Server) single(w *response, r *http.Request, q *arc.Request, p *auth.Principal) {
	w.traceID = q.TraceID
	c := &rpc.Call{
		Request: *q, Principal: p, RequestID: w.requestID,
		IdempotencyKey: r.Header.Get("Idempotency-Key"), Hops: hops(r.Header),
		Streaming: (q.Dialect == arc.ARC || q.ID != "") && acceptsStream(r.Header),
		Tick:      s.cfg.KeepAlive, Gap: s.cfg.EventGap,
	}
	comesFrom(c, r.Header)
	ctx, streaming := r.Context(), wantsStream(c)
	if streaming {
		if err := s.openStream(c, r.Header); err != nil {
			s.audit(r.RemoteAddr, c, err)
			s.respond(w, q, nil, err, true)
			return
		}
		defer s.streams.give(p.Owner())
		var leave func()
		ctx, leave = s.holdOpen(ctx, p, s.bearer(r.Header), w.requestID)
		defer leave()
	}
	result, err := s.dispatch(ctx, c)
	if streaming { // its audit line must not wait for the end of the stream
		s.audit(r.RemoteAddr, c, err)
	} else {
		w.call, w.failure = c, err
	}
	if stream, ok := result.(rpc.Stream); ok && err == nil {
		s.serveStream(ctx, w, c, stream)
		return
	}
	if q.Dialect == arc.JSONRPC && q.ID == "" {
		s.respondNotification(w, q, err)
		return
	}
	if c.Replayed {
		w.Header()["Idempotency-Replayed"] = theReplays
	}
	// From as the call had it in the end: JSON-RPC may leave it to the token.
	q.From = c.From
	s.respond(w, q, result, err, streaming)
}

// hops reads through how many agents the work of a call has come, as arcd tells the
// agents that it calls. Anything else than a small number counts as none.
func hops(h http.Header) int {
	n, err := strconv.ParseUint(h.Get(arc.HopsHeader), 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// respondNotification answers what expects no answer with 204. A refused token
// scope is the exception: silence would look like success to the gateway that
// could mend it.
func (s *Server) respondNotification(w *response, q *arc.Request, err *arc.Error) {
	if err != nil && err.Code.Access() {
		s.respond(w, q, nil, err, true)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// maxBatchAnswer bounds the answer to a batch: what comes after that many bytes
// is not done.
const maxBatchAnswer = 64 << 20

// batch makes the calls of a JSON-RPC batch in their order, each authorised on
// its own. Streaming calls are answered whole.
func (s *Server) batch(w *response, r *http.Request, batch *rpc.Batch, p *auth.Principal) {
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	b := append((*buffer)[:0], '[')
	for i := range batch.Items {
		item := &batch.Items[i]
		if len(b) > maxBatchAnswer && item.Err == nil && item.Request.ID != "" {
			item.Err = arc.Errorf(arc.CodeTooLarge, "the answers before are too large; make this call again").
				With("max_size", maxBatchAnswer).With("retryable", true)
		}
		b = s.appendAnswer(r.Context(), b, item, p, r.Header, r.RemoteAddr, w.requestID)
	}
	if len(b) == 1 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	*buffer = append(b, ']')
	s.send(w, http.StatusOK, arc.JSONRPC, *buffer)
}

// appendAnswer makes the call of one item and appends its answer, if it gets
// one. The headers are nil on sockets.
func (s *Server) appendAnswer(ctx context.Context, b []byte, item *rpc.Item, p *auth.Principal, h http.Header, remote, requestID string) []byte {
	if item.Err != nil {
		return s.appendItem(b, &item.Request, nil, item.Err, requestID)
	}
	c := &rpc.Call{Request: item.Request, Principal: p, RequestID: requestID, Hops: hops(h)}
	comesFrom(c, h)
	result, err := s.invoke(ctx, remote, c)
	if item.Request.ID == "" {
		return b
	}
	return s.appendItem(b, &item.Request, result, err, requestID)
}

// appendItem appends one answer to the array that b begins.
func (s *Server) appendItem(b []byte, q *arc.Request, result any, err *arc.Error, requestID string) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	b, _ = s.encode(b, q, result, err, requestID)
	return b
}

// lastEventID reads the Last-Event-ID header: the sequence number up to which
// the caller has seen the stream. A foreign id is refused, since starting over
// silently would double what was seen.
func lastEventID(h http.Header) (seq int64, given bool, err *arc.Error) {
	text := h.Get("Last-Event-ID")
	if text == "" {
		return 0, false, nil
	}
	seq, fault := strconv.ParseInt(text, 10, 64)
	if fault != nil || seq < 0 {
		return 0, false, arc.InvalidParam("Last-Event-ID", "must be the id of an event of this stream")
	}
	return seq, true, nil
}
