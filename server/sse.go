package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
)

// acceptsStream tells whether the caller takes an event stream: Accept is
// absent, or a range in it covers text/event-stream. What a call streams is
// never chosen by it, since the published Python client lists the type always.
func acceptsStream(h http.Header) bool {
	values := h["Accept"]
	if len(values) == 0 {
		return true
	}
	for _, value := range values {
		for entry := range strings.SplitSeq(value, ",") {
			media, rest, _ := strings.Cut(entry, ";")
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "*/*", "text/*", arc.MediaSSE:
				q := strings.ReplaceAll(rest, " ", "")
				if q != "q=0" && q != "q=0.0" {
					return true
				}
			}
		}
	}
	return false
}

// wantsStream tells whether the call is to be answered by a stream, and so its
// early failures by real statuses.
func wantsStream(c *rpc.Call) bool {
	if !c.Streaming {
		return false
	}
	switch c.Method {
	case "task.events":
		return true
	case "chat.start", "chat.message":
		var params struct {
			Stream any `json:"stream"`
		}
		return jsonv2.Unmarshal(c.Params, &params) == nil && params.Stream == true
	}
	return false
}

// openStream takes a stream's slot for the caller and reads where it wants to
// go on.
func (s *Server) openStream(c *rpc.Call, h http.Header) *arc.Error {
	seq, given, err := lastEventID(h)
	if err != nil {
		return err
	}
	c.LastSeq, c.Resume = seq, given
	if !s.streams.take(c.Principal.Owner()) {
		return tooMany("streams", s.streams.most)
	}
	return nil
}

// tooMany is the refusal of one more of what an owner holds too many of.
func tooMany(what string, most int) *arc.Error {
	e := arc.Errorf(arc.CodeRateLimited, "no more than %d %s may be open at once", most, what).
		With("reason", "too_many_"+what).With("limit", most).With("retryable", true)
	e.RetryAfter = time.Second
	return e
}

// retryHint is what a stream says when the server goes away under it: come
// back in so many milliseconds.
const retryHint = "retry: 1000\n\n"

// serveStream writes a stream as server-sent events (section 3.4 of the
// contract): LF, one line of JSON, both lines always there. Each is flushed,
// unless the next is there already. The stream runs on this goroutine, and an
// idle one holds no buffer. When the token that holds it open is no longer good,
// its last event is the refusal, without a "done": who has a good token can go on
// behind the event before.
func (s *Server) serveStream(held context.Context, w *response, c *rpc.Call, stream rpc.Stream) {
	done := false
	for event, err := range stream {
		if err != nil && w.status == 0 {
			s.respond(w, &c.Request, nil, s.public(err, c.RequestID), true)
			return
		}
		if err != nil { // the contract of rpc.Stream rules this out
			s.log.Error().Str("event", "stream").Str("request_id", c.RequestID).Err(err).Msg("a stream broke off")
			return
		}
		if held.Err() != nil { // a stream that has much to say looks at it late
			break
		}
		if !s.writeEvent(w, &event) {
			return
		}
		done = event.Name == "done"
	}
	if refusal := refusalOf(held); refusal != nil && !done {
		s.refuseStream(w, c, refusal)
		return
	}
	if !done && s.draining.Load() {
		if w.status == 0 {
			s.openEvents(w)
		}
		w.deadline(s.cfg.WriteTimeout)
		_, _ = w.Write([]byte(retryHint))
	}
}

// refuseStream ends a stream whose token is no longer good.
func (s *Server) refuseStream(w *response, c *rpc.Call, refusal *arc.Error) {
	s.log.Info().Str("event", "stream_closed").Str("request_id", c.RequestID).
		Int("code", int(refusal.Code)).Str("reason", refusal.Reason()).Send()
	if w.status == 0 {
		s.respond(w, &c.Request, nil, refusal, true)
		return
	}
	s.writeEvent(w, &rpc.StreamEvent{Name: "error", Data: arc.StreamError{Error: refusal.Object()}})
}

// openEvents begins the answer.
func (s *Server) openEvents(w *response) {
	w.lasting = true
	h := w.Header()
	h["Content-Type"] = mediaSSE
	h["Cache-Control"] = []string{"no-cache, no-transform"}
	h["X-Accel-Buffering"] = []string{"no"}
	h["X-Content-Type-Options"] = noSniff
	w.WriteHeader(http.StatusOK)
}

// writeEvent writes one event, or for a tick a comment. It is false when the
// reader is gone or too slow.
func (s *Server) writeEvent(w *response, event *rpc.StreamEvent) bool {
	if w.status == 0 {
		s.openEvents(w)
	}
	p := buffers.Get().(*[]byte)
	defer putBuffer(p)
	b := (*p)[:0]
	if event.Name == "" {
		b = append(b, ": keep-alive\n\n"...)
	} else {
		var err error
		if b, err = appendEvent(b, event); err != nil {
			s.log.Error().Str("event", "stream").Str("request_id", w.requestID).Err(err).Msg("an event does not encode")
			return false
		}
	}
	*p = b
	if !w.leaving {
		w.leaving = true
		w.deadline(s.cfg.WriteTimeout)
	}
	if _, err := w.Write(b); err != nil {
		return false
	}
	if event.More { // they travel together
		return true
	}
	w.leaving = false
	if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
		return false
	}
	w.deadline(0) // over HTTP/2 a deadline would end the idle stream
	return true
}

// appendEvent appends an event in the form that the published clients can
// read: they split at LF and lose events without both lines.
func appendEvent(b []byte, event *rpc.StreamEvent) ([]byte, error) {
	b = append(append(b, "event: "...), event.Name...)
	if event.Seq > 0 {
		b = strconv.AppendInt(append(b, "\nid: "...), event.Seq, 10)
	}
	b, err := rpc.AppendJSON(append(b, "\ndata: "...), event.Data)
	return append(b, "\n\n"...), err
}
