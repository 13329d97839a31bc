package client

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"

	"github.com/arcd-io/arcd/arc"
)

// Relayed is a call that a gateway passes on.
type Relayed struct {
	Method string
	From   string // the requestAgent; "": that of the client
	To     string // the targetAgent
	Params any
	// Header goes along with the request. nil: nothing more than usual.
	Header http.Header
	// Stream says in the header Accept that the answer may come piece by piece; whether
	// it does is up to the params.
	Stream bool
	// Event gets the events of an answer that comes as a stream, in their order; its
	// error ends the call and is the call's. nil: there is no use for them.
	Event func(Event) error
	// MaxEvent is the largest event in bytes. Default: Client.MaxAnswer.
	MaxEvent int
}

// Relay makes a call as a gateway does that passes on what others say: once, whatever
// becomes of it, and whether the answer comes whole or as a stream, since some servers
// choose for themselves. The result is nil if it was a stream, which has then been read
// to its done event, or to its end where the server sends none. Only what the server
// calls expired is repeated, with another token.
//
// Errors are those of [Client.Call]; those of a stream that breaks are
// [arc.ErrUnavailable] or [arc.ErrTimeout].
func (c *Client) Relay(ctx context.Context, r Relayed) (json.RawMessage, error) {
	x, id, err := c.exchange(ctx, &call{
		method: r.Method, from: r.From, to: r.To, params: r.Params, more: r.Header, stream: r.Stream,
	})
	if err != nil {
		return nil, err
	}
	x.attempts = 1
	var result json.RawMessage
	err = c.send(ctx, x, func(resp *http.Response) (err error) {
		defer resp.Body.Close()
		media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if resp.StatusCode == http.StatusOK && media == arc.MediaSSE {
			return c.relayEvents(resp, &r)
		}
		body, err := c.readAnswer(resp)
		if err != nil {
			return fmt.Errorf("reading the answer to %s: %w", r.Method, err)
		}
		result, err = c.result(resp, body, id)
		return err
	})
	return result, err
}

// relayEvents reads a stream.
func (c *Client) relayEvents(resp *http.Response, r *Relayed) error {
	limit := r.MaxEvent
	if limit <= 0 {
		limit = int(c.maxAnswer())
	}
	for event, err := range readEvents(resp.Body, limit) {
		if err != nil {
			_, err = (&stream{call: call{method: r.Method}}).cut(err)
			return err
		}
		if r.Event != nil {
			if err := r.Event(event); err != nil {
				return err
			}
		}
		if event.Name == "done" {
			return nil
		}
	}
	return nil
}
