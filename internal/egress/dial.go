package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Limits of one connection.
const (
	connectTimeout = 3 * time.Second // to connect to one address, or for TLS on top
	maxTries       = 4               // addresses of one name that are tried
)

// callKey is the key of the call's own context among the values of the one that
// a dial gets. The transport hides the end of a request from its dial, so that the
// next one finds a connection; but what a call began here ends with it, and every
// call that waits has a dial of its own.
type callKey struct{}

// dialContext is what the HTTP transport connects with. It looks the name up,
// judges all its addresses before it touches the network, and dials one after
// the other; the socket's own control judges each once more.
func (c *Client) dialContext(ctx context.Context, _, address string) (net.Conn, error) {
	if call, ok := ctx.Value(callKey{}).(context.Context); ok {
		ctx = call
	}
	to, err := parseTarget(address)
	if err != nil {
		return nil, err
	}
	addrs, err := c.resolve(ctx, to.host)
	if err != nil {
		return nil, err
	}
	addrs = addrs[:min(len(addrs), maxTries)]
	var failures []error
	for i, a := range addrs {
		conn, err := c.dialOne(ctx, netip.AddrPortFrom(a, to.port), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// dialOne dials an address with its share of the time that is left, so that
// one that swallows packets leaves some to the others.
func (c *Client) dialOne(ctx context.Context, to netip.AddrPort, left int) (net.Conn, error) {
	timeout := connectTimeout
	if end, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(end)/time.Duration(left))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.dialer.DialContext(ctx, "tcp", to.String())
}

// resolve gives the addresses of a host, none of which is refused: one bad
// address spoils the name, because the next look-up may give only that one.
func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := c.lookUp(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolving %q: %w", host, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("resolving %q: it has no addresses", host)
	}
	addrs := make([]netip.Addr, len(found)) // what the resolver gave may be its own
	for i, a := range found {
		// A zone would make the address escape every comparison with a prefix.
		a = a.Unmap().WithZone("")
		if err := c.guard.judge(a); err != nil {
			return nil, &Refused{Host: host, Address: a, Reason: ReasonAddress, Detail: notAllowed, cause: err}
		}
		addrs[i] = a
	}
	return addrs, nil
}

func (c *Client) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return c.resolver.LookupNetIP(ctx, "ip", host)
}
