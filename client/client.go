// Package client calls an ARC server: one method of [Client] for each method of
// the protocol, iterators over its event streams, and the HTTP API of arcd's
// registry. It knows the protocol's nouns (package arc) and nothing of the server.
//
// What goes wrong has a class, whatever it came as: errors.Is(err,
// [arc.ErrExpired]), errors.Is(err, [arc.ErrNotFound]). An error that the server
// reports is an [*arc.Error]; an HTTP answer without a word of ARC is a
// [*StatusError].
package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/arcd-io/arcd/arc"
)

// Client calls one ARC server. The zero values of all fields but URL are
// usable. It may be shared by many goroutines. Its fields must not be changed,
// and it must not be copied, after its first use: it keeps its connections.
type Client struct {
	// URL is the server's endpoint, as http://127.0.0.1:8001/arc; where it has
	// no path, /arc is added. It is needed.
	URL string
	// Token gives the bearer tokens; nil sends none. When the server says that one
	// has expired, the source is asked once for another, and the call is made again.
	Token TokenSource
	// AllowHTTP lets tokens, passwords and agent keys travel over plain http to other
	// machines. Default: to loopback addresses only (RFC 6750 section 5.3).
	AllowHTTP bool
	// Agent is the requestAgent. Default: with the ARC envelope "arc-go-client",
	// with JSON-RPC whatever the server takes from the token.
	Agent string
	// TraceID, if not "", goes with every call whose context has no [Trace].
	TraceID string
	// Fingerprint is the X-Client-Fingerprint of the requests to the registry API,
	// which an administrator's token is bound to. "": none is sent.
	Fingerprint string
	// JSONRPC speaks JSON-RPC 2.0 instead of the ARC envelope.
	JSONRPC bool
	// HTTP makes the requests. Default: one of [NewHTTP] for this client alone. Its
	// Timeout should be 0 where streams are read; calls end with their contexts.
	HTTP *http.Client
	// MaxAnswer is the largest answer, or event of a stream, in bytes.
	// Default 64 MiB.
	MaxAnswer int64
	// Attempts is how often in all a call is tried while the connection breaks, or
	// the server answers 429, 502, 503 or 504. Only calls that read, and calls with
	// an idempotency key, are tried again. Default 3; 1: never again. A Retry-After
	// is kept to, but one above 30 s ends the tries.
	Attempts int
	// Retries is how often in a row a broken stream is taken up again without
	// anything new, and without having lasted for 10 s. Default 5; negative: never.
	Retries int

	work string // the task that calls are made for; "": none
	hops int    // through how many agents that work has come

	once   sync.Once // makes own
	own    *http.Client
	ownErr error
}

// defaultAgent is the requestAgent of callers that do not say who they are.
const defaultAgent = "arc-go-client"

// Call makes any call and decodes its result into result, which may be nil.
// to is the targetAgent; with JSON-RPC it may be "".
//
// A failure that the server reports is an [*arc.Error], at whatever HTTP status
// it came, with that status; an HTTP failure without such a report is a
// [*StatusError]; anything else that goes wrong on the way is some other error,
// which is [arc.ErrUnavailable] or [arc.ErrTimeout] where it is one of these.
func (c *Client) Call(ctx context.Context, method, to string, params, result any) error {
	_, err := c.call(ctx, &call{method: method, to: to, params: params}, result)
	return err
}

// call is one call to make.
type call struct {
	method, to string
	from       string // the requestAgent; "": that of the client
	params     any
	more       http.Header // goes along too
	stream     bool
	resume     bool // after the event lastSeq
	lastSeq    int64
	fresh      string // the token to begin with; "": the source is asked
	token      string // out, of streams: what it went with
}

// call makes a call that is answered whole. It gives the answer's header.
func (c *Client) call(ctx context.Context, call *call, result any) (http.Header, error) {
	x, id, err := c.exchange(ctx, call)
	if err != nil {
		return nil, err
	}
	var header http.Header
	err = c.send(ctx, x, func(resp *http.Response) error {
		defer resp.Body.Close()
		header = resp.Header
		body, err := c.readAnswer(resp)
		if err != nil {
			return fmt.Errorf("reading the answer to %s: %w", call.method, err)
		}
		raw, err := c.result(resp, body, id)
		if err != nil || result == nil {
			return err
		}
		if err := jsonv2.Unmarshal(raw, result); err != nil {
			return fmt.Errorf("decoding the result of %s: %w", call.method, err)
		}
		return nil
	})
	return header, err
}

// exchange makes the request of a call. It gives the raw id that the answer must
// carry.
func (c *Client) exchange(ctx context.Context, call *call) (*exchange, string, error) {
	trace, err := c.trace(ctx)
	if err == nil {
		err = checkAddress(c.endpoint())
	}
	if err != nil {
		return nil, "", fmt.Errorf("calling %s: %w", call.method, err)
	}
	id := `"` + rand.Text() + `"`
	params, err := encodeParams(call.params)
	if err != nil {
		return nil, "", fmt.Errorf("encoding %s: %w", call.method, err)
	}
	body, err := c.envelope(call, id, trace.ID, params)
	if err != nil {
		return nil, "", fmt.Errorf("encoding %s: %w", call.method, err)
	}
	h := http.Header{"Content-Type": {arc.MediaARC}, "Accept": {arc.MediaARC}}
	if c.JSONRPC {
		h = http.Header{"Content-Type": {arc.MediaJSON}, "Accept": {arc.MediaJSON}}
	}
	if call.stream {
		h.Set("Accept", arc.MediaSSE)
	}
	if call.resume {
		h.Set("Last-Event-ID", strconv.FormatInt(call.lastSeq, 10))
	}
	if trace.Parent != "" {
		h.Set("Traceparent", trace.Parent)
	}
	if c.hops > 0 {
		h.Set(arc.HopsHeader, strconv.Itoa(c.hops))
	}
	maps.Copy(h, call.more)
	return &exchange{
		name: call.method, method: http.MethodPost, url: c.endpoint(), header: h, body: body,
		tokens: c.Token, token: call.fresh, attempts: c.tries(!call.stream && repeatable(call.method, params)),
	}, id, nil
}

// repeatable tells whether a call may be made twice: it only reads, or it has an
// idempotency key and is one of those that know such keys.
func repeatable(method string, params raw) bool {
	switch method {
	case "task.info", "task.list", "task.events", "task.subscriptions", "task.deliveries", "rpc.discover":
		return true
	case "task.create", "task.send":
		var p struct {
			Key string `json:"idempotencyKey"`
		}
		return jsonv2.Unmarshal(params, &p) == nil && p.Key != ""
	}
	return false
}

// endpoint gives the URL to post to: URL, with the path that the specification
// recommends where it has none.
func (c *Client) endpoint() string {
	_, rest, _ := strings.Cut(c.URL, "://")
	if host, path, _ := strings.Cut(rest, "/"); path == "" && host != "" {
		return strings.TrimSuffix(c.URL, "/") + "/arc"
	}
	return c.URL
}

// raw is a JSON text that is already encoded.
type raw []byte

// MarshalJSON gives the text.
func (r raw) MarshalJSON() ([]byte, error) { return r, nil }

// encodeParams encodes params; none are {}. Zero values of optional params are
// left out.
func encodeParams(params any) (raw, error) {
	if params == nil {
		return raw("{}"), nil
	}
	return jsonv2.Marshal(params, jsonv1.OmitEmptyWithLegacySemantics(true))
}

// envelope encodes the call.
func (c *Client) envelope(call *call, id, trace string, params raw) ([]byte, error) {
	omit := jsonv1.OmitEmptyWithLegacySemantics(true)
	from := cmp.Or(call.from, c.Agent)
	if c.JSONRPC {
		return jsonv2.Marshal(struct {
			Version string `json:"jsonrpc"`
			ID      raw    `json:"id"`
			Method  string `json:"method"`
			From    string `json:"requestAgent,omitempty"`
			To      string `json:"targetAgent,omitempty"`
			Trace   string `json:"traceId,omitempty"`
			Params  raw    `json:"params"`
		}{"2.0", raw(id), call.method, from, call.to, trace, params}, omit)
	}
	return jsonv2.Marshal(struct {
		Version string `json:"arc"`
		ID      raw    `json:"id"`
		Method  string `json:"method"`
		From    string `json:"requestAgent"`
		To      string `json:"targetAgent"`
		Trace   string `json:"traceId,omitempty"`
		Params  raw    `json:"params"`
	}{arc.Version, raw(id), call.method, cmp.Or(from, defaultAgent), call.to, trace, params}, omit)
}

// errTooLarge ends the reading of an answer, or event, beyond MaxAnswer.
var errTooLarge = errors.New("it is larger than Client.MaxAnswer")

// maxAnswer gives MaxAnswer or its default.
func (c *Client) maxAnswer() int64 {
	if c.MaxAnswer > 0 {
		return min(c.MaxAnswer, math.MaxInt64-1) // one more is read, to see that there is more
	}
	return 64 << 20
}

// readBody reads a whole answer, within MaxAnswer.
func (c *Client) readBody(r io.Reader) ([]byte, error) {
	limit := c.maxAnswer()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, broken(err)
	case int64(len(b)) > limit:
		return nil, errTooLarge
	}
	return b, nil
}

// maxRefusal is how much is read of an answer that is no success.
const maxRefusal = 1 << 20

// readAnswer reads the body of an answer. Of a refusal the beginning is enough:
// its status counts, however the body goes on.
func (c *Client) readAnswer(resp *http.Response) ([]byte, error) {
	if resp.StatusCode < http.StatusMultipleChoices {
		return c.readBody(resp.Body)
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, min(maxRefusal, c.maxAnswer())))
	return b, nil
}
