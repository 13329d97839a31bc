// Package client calls an ARC server: one method of [Client] for each method of
// the protocol, and iterators over its event streams. It knows the protocol's
// nouns (package arc) and nothing of the server.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/arcd-io/arcd/arc"
)

// Client calls one ARC server. The zero values of all fields but URL are
// usable. It holds no state, so it may be copied, changed and shared.
type Client struct {
	// URL is the server's endpoint, as http://127.0.0.1:8001/arc; where it has
	// no path, /arc is added. It is needed.
	URL string
	// Token is the bearer token; "" sends none.
	Token string
	// Agent is the requestAgent. Default: with the ARC envelope "arc-go-client",
	// with JSON-RPC whatever the server takes from the token.
	Agent string
	// TraceID, if not "", goes with every call.
	TraceID string
	// JSONRPC speaks JSON-RPC 2.0 instead of the ARC envelope.
	JSONRPC bool
	// HTTP makes the requests. Default http.DefaultClient. Its Timeout should
	// be 0 where streams are read; calls end with their contexts.
	HTTP *http.Client
	// MaxAnswer is the largest answer, or event of a stream, in bytes.
	// Default 64 MiB.
	MaxAnswer int64
	// Retries is how often in a row a broken stream is taken up again without
	// anything new. Default 5; negative: never.
	Retries int
}

// defaultAgent is the requestAgent of callers that do not say who they are.
const defaultAgent = "arc-go-client"

// Call makes any call and decodes its result into result, which may be nil.
// to is the targetAgent; with JSON-RPC it may be "".
//
// A failure that the server reports is an [*arc.Error], at whatever HTTP status
// it came; anything else that goes wrong on the way is some other error.
func (c *Client) Call(ctx context.Context, method, to string, params, result any) error {
	_, err := c.call(ctx, &call{method: method, to: to, params: params}, result)
	return err
}

// call is one call to make.
type call struct {
	method, to string
	params     any
	stream     bool
	resume     bool // after the event lastSeq
	lastSeq    int64
}

// call makes a call that is answered whole. It gives the answer's header.
func (c *Client) call(ctx context.Context, call *call, result any) (http.Header, error) {
	resp, id, err := c.post(ctx, call)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := c.readBody(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", call.method, err)
	}
	raw, err := c.result(resp, body, id)
	if err != nil {
		return resp.Header, err
	}
	if result == nil {
		return resp.Header, nil
	}
	if err := jsonv2.Unmarshal(raw, result); err != nil {
		return resp.Header, fmt.Errorf("decoding the result of %s: %w", call.method, err)
	}
	return resp.Header, nil
}

// post sends the envelope. It gives the raw id that the answer must carry.
func (c *Client) post(ctx context.Context, call *call) (*http.Response, string, error) {
	id := `"` + rand.Text() + `"`
	body, err := c.envelope(call, id)
	if err != nil {
		return nil, "", fmt.Errorf("encoding %s: %w", call.method, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint(), bytes.NewReader(body))
	if err != nil {
		return nil, "", fmt.Errorf("calling %s: %w", call.method, err)
	}
	h := req.Header
	h.Set("Content-Type", arc.MediaARC)
	h.Set("Accept", arc.MediaARC)
	if c.JSONRPC {
		h.Set("Content-Type", arc.MediaJSON)
		h.Set("Accept", arc.MediaJSON)
	}
	if call.stream {
		h.Set("Accept", arc.MediaSSE)
	}
	if call.resume {
		h.Set("Last-Event-ID", strconv.FormatInt(call.lastSeq, 10))
	}
	if c.Token != "" {
		h.Set("Authorization", "Bearer "+c.Token)
	}
	web := c.HTTP
	if web == nil {
		web = http.DefaultClient
	}
	resp, err := web.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("calling %s: %w", call.method, err)
	}
	return resp, id, nil
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

// envelope encodes the call. Zero values of optional params are left out.
func (c *Client) envelope(call *call, id string) ([]byte, error) {
	params := call.params
	if params == nil {
		params = struct{}{}
	}
	omit := jsonv1.OmitEmptyWithLegacySemantics(true)
	if c.JSONRPC {
		return jsonv2.Marshal(struct {
			Version string `json:"jsonrpc"`
			ID      raw    `json:"id"`
			Method  string `json:"method"`
			From    string `json:"requestAgent,omitempty"`
			To      string `json:"targetAgent,omitempty"`
			Trace   string `json:"traceId,omitempty"`
			Params  any    `json:"params"`
		}{"2.0", raw(id), call.method, c.Agent, call.to, c.TraceID, params}, omit)
	}
	from := c.Agent
	if from == "" {
		from = defaultAgent
	}
	return jsonv2.Marshal(struct {
		Version string `json:"arc"`
		ID      raw    `json:"id"`
		Method  string `json:"method"`
		From    string `json:"requestAgent"`
		To      string `json:"targetAgent"`
		Trace   string `json:"traceId,omitempty"`
		Params  any    `json:"params"`
	}{arc.Version, raw(id), call.method, from, call.to, c.TraceID, params}, omit)
}

// errTooLarge ends the reading of an answer, or event, beyond MaxAnswer.
var errTooLarge = errors.New("it is larger than Client.MaxAnswer")

// maxAnswer gives MaxAnswer or its default.
func (c *Client) maxAnswer() int64 {
	if c.MaxAnswer > 0 {
		return c.MaxAnswer
	}
	return 64 << 20
}

// readBody reads a whole answer, within MaxAnswer.
func (c *Client) readBody(r io.Reader) ([]byte, error) {
	limit := c.maxAnswer()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}
