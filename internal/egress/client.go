package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// perHost is how many calls to one host are under way at once; more wait. It
// keeps arcd from being the hammer when many callers name the same host.
const perHost = 8

// Client calls URLs that come from outside, within a [Policy]. It follows no
// redirects, keeps no cookies and no connections, knows no proxy, and verifies
// certificates. It is safe for concurrent use and needs no closing.
type Client struct {
	policy   Policy
	guard    guard
	resolver Resolver
	dialer   *net.Dialer
	http     *http.Client
}

// New makes a client. The policy is copied.
func New(p Policy) *Client {
	if p.Timeout <= 0 {
		p.Timeout = DefaultTimeout
	}
	if p.MaxBody <= 0 {
		p.MaxBody = DefaultMaxBody
	}
	p.Allow = slices.Clone(p.Allow)
	c := &Client{policy: p, guard: newGuard(p.Allow), resolver: p.Resolver}
	if c.resolver == nil {
		c.resolver = net.DefaultResolver
	}
	c.dialer = &net.Dialer{Control: c.guard.control, KeepAlive: -1}
	c.http = &http.Client{
		Transport: c.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a 3xx is an answer like any other
		},
	}
	return c
}

// transport makes the transport. A proxy would be given the name instead of the
// address that was judged, compression would make MaxBody count something else
// than what comes, and a kept connection would outlive the call that it was made
// for.
func (c *Client) transport() *http.Transport {
	return &http.Transport{
		DialContext:            c.dialContext,
		TLSClientConfig:        &tls.Config{RootCAs: c.policy.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  notifyTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        perHost,
		DisableCompression:     true,
		DisableKeepAlives:      true,
		ForceAttemptHTTP2:      true,
	}
}

// Check tells whether a URL may be called now: its form is that of [Parse], its
// host resolves, and the policy allows every address that the host resolves to.
// It sends nothing to the host. Errors: [*Refused]; [*Unreachable] if the name
// does not resolve; ctx.Err() if that ended first.
//
// What Check finds may change until the call; Do judges again.
func (c *Client) Check(ctx context.Context, rawURL string) error {
	u, err := Parse(rawURL)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, c.policy.Timeout)
	defer cancel()
	_, err = c.resolve(within, u.Hostname())
	return failure(ctx, u.Host, err)
}

// Answer is what a server answered.
type Answer struct {
	Status int // any but 1xx; a 3xx was not followed
	Header http.Header
	Body   []byte // at most Policy.MaxBody bytes
	Cut    bool   // the body is longer than that
}

// Do sends a request and reads the answer, in Policy.Timeout or until the
// request's context ends. Errors: [*Refused]; [*Unreachable]; the Err of the
// context if that ended first.
func (c *Client) Do(req *http.Request) (*Answer, error) {
	return c.do(req, c.policy.Timeout)
}

// do is Do with a time limit of its own.
func (c *Client) do(req *http.Request, timeout time.Duration) (*Answer, error) {
	if err := form(req.URL); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), timeout)
	defer cancel()
	a, err := c.send(req.WithContext(context.WithValue(ctx, callKey{}, ctx)))
	return a, failure(req.Context(), req.URL.Host, err)
}

func (c *Client) send(req *http.Request) (*Answer, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, c.policy.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	a := &Answer{Status: res.StatusCode, Header: res.Header, Body: body}
	if int64(len(body)) > c.policy.MaxBody {
		a.Body, a.Cut = body[:c.policy.MaxBody], true
	}
	return a, nil
}

// failure makes one of the package's errors of what went wrong; ctx is that of
// the caller, whose end is the caller's own doing and not the host's.
func failure(ctx context.Context, host string, err error) error {
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*Refused](err); ok {
		return refused
	}
	if ctx.Err() != nil {
		return fmt.Errorf("calling %q: %w", host, ctx.Err())
	}
	// The HTTP client puts the whole URL into its errors. Its query may be secret.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	n, ok := errors.AsType[net.Error](err)
	late := ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded)
	return &Unreachable{Host: host, TimedOut: late, Err: err}
}
