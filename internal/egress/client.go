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

// idleTimeout is how long a kept connection may be at rest.
const idleTimeout = 90 * time.Second

// aliveAfter is after what silence a connection that is kept is asked for a sign
// of life, and how long that may take.
const aliveAfter = 15 * time.Second

// Client calls URLs that come from outside, within a [Policy]. It follows no
// redirects, keeps no cookies, knows no proxy, and verifies certificates. It is
// safe for concurrent use. With Policy.KeepAlive it wants to be closed, otherwise
// it needs not.
type Client struct {
	policy   Policy
	guard    guard
	resolver Resolver
	dialer   *net.Dialer
	pool     *http.Transport
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
	if p.HeaderTimeout <= 0 {
		p.HeaderTimeout = DefaultHeaderTimeout
	}
	if p.PerHost <= 0 {
		p.PerHost = DefaultPerHost
	}
	p.Allow = slices.Clone(p.Allow)
	c := &Client{policy: p, guard: newGuard(p.Allow), resolver: p.Resolver}
	if c.resolver == nil {
		c.resolver = net.DefaultResolver
	}
	c.dialer = &net.Dialer{Control: c.guard.control, KeepAlive: -1}
	if p.KeepAlive {
		c.dialer.KeepAlive = aliveAfter
	}
	c.pool = c.newPool()
	c.http = &http.Client{Transport: c.Transport(), CheckRedirect: noRedirect}
	return c
}

// noRedirect takes a 3xx as an answer like any other.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// newPool makes the transport with the connections. A proxy would be given the
// name instead of the address that was judged, and compression would make MaxBody
// count something else than what comes.
func (c *Client) newPool() *http.Transport {
	t := &http.Transport{
		DialContext:            c.dialContext,
		TLSClientConfig:        &tls.Config{RootCAs: c.policy.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  c.policy.HeaderTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        c.policy.PerHost,
		MaxIdleConns:           c.policy.MaxIdle,
		MaxIdleConnsPerHost:    c.policy.PerHost,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
		DisableKeepAlives:      !c.policy.KeepAlive,
		ForceAttemptHTTP2:      true,
	}
	if c.policy.KeepAlive {
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: aliveAfter, PingTimeout: aliveAfter}
	}
	return t
}

// Transport gives a transport for an HTTP client of somebody else, with the same
// policy, limits and connections, but without Policy.Timeout and Policy.MaxBody: how
// long a call takes and how much of an answer is read is the caller's matter. Errors
// are [*Refused], [*Unreachable], and the Err of the context if that ended first; an [http.Client] hides them in a [*url.Error], whose
// text has the whole URL.
//
// It judges the form of the URL of every call, and the address when it dials: a
// call over a kept connection goes to an address that was judged before.
func (c *Client) Transport() http.RoundTripper { return transport{c} }

// Close closes the connections that are at rest. Those in use are closed when
// their calls end.
func (c *Client) Close() { c.pool.CloseIdleConnections() }

type transport struct{ c *Client }

// RoundTrip makes one call.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	err := form(req.URL)
	if err == nil {
		ctx := req.Context()
		var res *http.Response
		if res, err = t.c.pool.RoundTrip(req.WithContext(context.WithValue(ctx, callKey{}, ctx))); err == nil {
			noSwitch(res)
			return res, nil
		}
		return nil, failure(ctx, req.URL.Host, err)
	}
	if req.Body != nil { // which a transport closes in any case
		_ = req.Body.Close()
	}
	return nil, err
}

// noSwitch closes the connection of an answer that begins another protocol, which
// nobody asked for: as a body it would be read without end, whatever became of the
// call's context.
func noSwitch(res *http.Response) {
	if res.StatusCode == http.StatusSwitchingProtocols {
		_ = res.Body.Close()
		res.Body = http.NoBody
	}
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] calls.
func (t transport) CloseIdleConnections() { t.c.Close() }

// Check tells whether a URL may be called now: its form is that of [Parse], its
// host resolves, and the policy allows every address that the host resolves to.
// It sends nothing to the host. Errors: [*Refused]; [*Unreachable] if the name
// does not resolve; ctx.Err() if that ended first.
//
// What Check finds may change until the call, which is judged again.
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

// do sends a request and reads the answer, in timeout or until the request's context
// ends. Errors: [*Refused]; [*Unreachable]; the Err of the context if that ended
// first.
func (c *Client) do(req *http.Request, timeout time.Duration) (*Answer, error) {
	ctx, cancel := context.WithTimeout(req.Context(), timeout)
	defer cancel()
	a, err := c.send(req.WithContext(ctx))
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
	if known, ok := errors.AsType[*Unreachable](err); ok {
		return known
	}
	// The HTTP client puts the whole URL into its errors. Its query may be secret.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	n, ok := errors.AsType[net.Error](err)
	late := ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded)
	return &Unreachable{Host: host, TimedOut: late, Err: err}
}
