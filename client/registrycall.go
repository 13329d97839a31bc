package client

import (
	"context"
	"fmt"
	"net/http"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

// page makes a request beside the ARC endpoint and decodes its answer into
// result, which may be nil. It gives the answer's header.
func (c *Client) page(ctx context.Context, p page, result any) (header http.Header, err error) {
	x, err := c.pageExchange(ctx, p)
	if err != nil {
		return nil, err
	}
	err = c.send(ctx, x, func(resp *http.Response) error {
		defer resp.Body.Close()
		header = resp.Header
		body, err := c.readAnswer(resp)
		if err != nil {
			return fmt.Errorf("reading the answer to %s: %w", x.name, err)
		}
		switch {
		case resp.StatusCode >= http.StatusMultipleChoices:
			return refusal(resp, body)
		case result == nil:
			return nil
		}
		if err := jsonv2.Unmarshal(body, result); err != nil {
			return fmt.Errorf("decoding the answer to %s: %w", x.name, unreadable(resp, err))
		}
		return nil
	})
	return header, err
}

// pageExchange makes the request of a page.
func (c *Client) pageExchange(ctx context.Context, p page) (*exchange, error) {
	x := &exchange{
		name: p.method + " " + p.path, method: p.method, url: c.base() + p.path, header: http.Header{"Accept": {arc.MediaJSON}},
		tokens: c.Token, attempts: c.tries(p.repeat),
	}
	trace, err := c.trace(ctx)
	if err == nil {
		err = checkAddress(c.endpoint())
	}
	if err == nil && p.secret && !c.AllowHTTP {
		err = CheckSecure(x.url)
	}
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", x.name, err)
	}
	if p.body != nil {
		if x.body, err = jsonv2.Marshal(p.body, jsonv2.OmitZeroStructFields(true)); err != nil {
			return nil, fmt.Errorf("encoding %s: %w", x.name, err)
		}
		x.header.Set("Content-Type", arc.MediaJSON)
	}
	if query := p.query.Encode(); query != "" {
		x.url += "?" + query
	}
	switch {
	case p.open:
		x.tokens = nil
	case p.token != "":
		x.tokens = StaticToken(p.token)
	}
	for name, value := range map[string]string{
		"Traceparent": trace.Parent, "X-Client-Fingerprint": c.Fingerprint, "Idempotency-Key": p.key,
	} {
		if value != "" {
			x.header.Set(name, value)
		}
	}
	return x, nil
}
