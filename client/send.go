package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/arcd-io/arcd/arc"
)

// exchange is one HTTP request as it goes out, however often: the same bytes
// each time, so that an idempotency key in them stays the same.
type exchange struct {
	name   string // for errors: the method, or the page
	method string // of HTTP
	url    string
	header http.Header // without Authorization
	body   []byte

	tokens   TokenSource // nil: no token goes along
	keep     bool        // a token that is called expired is not replaced
	attempts int         // tries in all while the way or the server fails; below 2: one
	token    string      // what the last try went with; before the first: what it shall go with, "" asks tokens
}

// send makes the exchange. accept reads an answer and owns its body; its error
// decides what is next:
//
//	send
//	├─ bearer        the token, on the first try and after an expiry
//	├─ try           request, answer, accept
//	├─ expired       once: ask the source for another token, try again
//	└─ transient     pause, try again, if the exchange may be repeated
//
// What the server calls expired it has not done, so that way back is open to
// every exchange. No other refusal of a credential is tried again.
func (c *Client) send(ctx context.Context, x *exchange, accept func(*http.Response) error) error {
	if x.token == "" {
		var err error
		if x.token, err = c.bearer(ctx, x, ""); err != nil {
			return err
		}
	}
	renewed := x.keep || x.token == ""
	for attempt := 1; ; {
		err := c.try(ctx, x, accept)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, arc.ErrExpired) && !renewed:
			renewed = true
			if err := c.renew(ctx, x, err); err != nil {
				return err
			}
		case attempt >= x.attempts || !again(ctx, err, attempt):
			return err
		default:
			attempt++
		}
	}
}

// renew gets another token than the one that was refused as expired. Without one
// its error is the refusal, and says why there is none.
func (c *Client) renew(ctx context.Context, x *exchange, refusal error) error {
	fresh, err := c.bearer(ctx, x, x.token)
	switch {
	case errors.Is(err, ErrNoNewToken):
		return refusal
	case err != nil:
		return fmt.Errorf("%w; %w", refusal, err)
	}
	x.token = fresh
	return nil
}

// bearer asks the source for the token to send, and looks whether it may be sent.
func (c *Client) bearer(ctx context.Context, x *exchange, expired string) (string, error) {
	if x.tokens == nil {
		return "", nil
	}
	token, err := x.tokens.Token(ctx, expired)
	if err == nil && expired != "" && (token == expired || token == "") {
		err = ErrNoNewToken
	}
	if err == nil && token != "" {
		if err = checkToken(token); err == nil && !c.AllowHTTP {
			err = CheckSecure(x.url)
		}
	}
	if err != nil {
		return "", fmt.Errorf("calling %s: %w", x.name, err)
	}
	return token, nil
}

// try makes the exchange once.
func (c *Client) try(ctx context.Context, x *exchange, accept func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, x.method, x.url, bytes.NewReader(x.body))
	if err != nil {
		return fmt.Errorf("calling %s: %w", x.name, err)
	}
	req.Header = x.header.Clone()
	if x.token != "" {
		req.Header.Set("Authorization", "Bearer "+x.token)
	}
	web, err := c.web()
	if err != nil {
		return fmt.Errorf("calling %s: %w", x.name, err)
	}
	resp, err := web.Do(req)
	if err != nil {
		return fmt.Errorf("calling %s: %w", x.name, broken(err))
	}
	return accept(resp)
}

// tries gives Attempts or its default, for exchanges that may be repeated.
func (c *Client) tries(repeatable bool) int {
	switch {
	case !repeatable:
		return 1
	case c.Attempts > 0:
		return c.Attempts
	}
	return 3
}

// ErrNoStream is in the error of a call that asked for a stream and was answered
// whole.
var ErrNoStream = errors.New("was answered whole, not as a stream")

// open makes a call that is answered by a stream. The caller closes the answer's
// body. Any other answer is an error; one that passes is left to the caller to
// try again.
func (c *Client) open(ctx context.Context, call *call) (*http.Response, error) {
	x, id, err := c.exchange(ctx, call)
	if err != nil {
		return nil, err
	}
	var stream *http.Response
	err = c.send(ctx, x, func(resp *http.Response) error {
		media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if resp.StatusCode == http.StatusOK && media == arc.MediaSSE {
			stream = resp
			return nil
		}
		defer resp.Body.Close()
		body, err := c.readAnswer(resp)
		if err != nil {
			return fmt.Errorf("reading the answer to %s: %w", call.method, err)
		}
		if _, err := c.result(resp, body, id); err != nil {
			return err
		}
		return fmt.Errorf("%s %w", call.method, ErrNoStream)
	})
	call.fresh, call.token = "", x.token
	return stream, err
}

// reopen prepares a call whose stream ended because its token has expired: open
// begins with another one. Without one its error is the refusal, as in renew.
func (c *Client) reopen(ctx context.Context, call *call, refusal error) error {
	x := &exchange{name: call.method, url: c.endpoint(), tokens: c.Token, token: call.token}
	err := c.renew(ctx, x, refusal)
	if err == nil {
		call.fresh = x.token
	}
	return err
}
