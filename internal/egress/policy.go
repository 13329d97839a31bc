// Package egress calls addresses that callers name, without letting a caller
// reach through the server what only the server can reach (server-side request
// forgery). The address that is really dialled is what is judged, so neither a
// name that resolves to something inside nor one that changes its mind between
// two look-ups gets through.
package egress

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// The defaults of a [Policy].
const (
	DefaultTimeout = 5 * time.Second
	DefaultMaxBody = 64 << 10
	// DefaultHeaderTimeout is the time until an answer begins.
	DefaultHeaderTimeout = 10 * time.Second
	// DefaultPerHost keeps arcd from being the hammer when many callers name the same
	// host.
	DefaultPerHost = 8
)

// Resolver finds the addresses of a name. [net.Resolver] is one.
type Resolver interface {
	// LookupNetIP is as that of [net.Resolver]; network is always "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Policy says what may be called, and for how long.
type Policy struct {
	// Allow lists addresses that may be called although they are special: loopback,
	// private, link-local and all else in IANA's registries of special-purpose
	// addresses. nil: none. IPv4 addresses that are written as IPv6 ones
	// (::ffff:10.0.0.1) are judged as IPv4.
	Allow []netip.Prefix
	// Resolver finds the addresses of names. nil: that of the system.
	Resolver Resolver
	// Roots are the authorities that https servers are verified by. nil: those of
	// the system.
	Roots *x509.CertPool
	// Timeout is how long [Client.Check] may take. 0: [DefaultTimeout].
	Timeout time.Duration
	// MaxBody is how many bytes are read of the body of an answer to [Client.Probe] and
	// [Client.Notify]. 0: [DefaultMaxBody].
	MaxBody int64
	// HeaderTimeout is the time from the end of a request until its answer begins. 0:
	// [DefaultHeaderTimeout].
	HeaderTimeout time.Duration
	// PerHost is how many connections to one host there are at once; with HTTP/1 that
	// is the number of calls. More wait for their turn or their time. 0:
	// [DefaultPerHost].
	PerHost int
	// KeepAlive keeps connections for later calls, until they have been at rest for
	// 90 seconds. They stay with the address that was judged when they were dialled.
	KeepAlive bool
	// MaxIdle is how many connections at rest are kept, of all hosts. 0: no limit.
	MaxIdle int
}

// Prefixes with an IPv4 address inside, which a gateway or tunnel on the way
// would turn into packets to that address (RFC 6052, RFC 3056).
var (
	nat64   = ssrf.IPv6NAT64Prefix
	sixToV4 = netip.MustParsePrefix("2002::/16")
)

// azureHost is where Azure answers its machines, with certificates and secrets
// among the answers: a public address by its number, special by its use.
var azureHost = netip.MustParsePrefix("168.63.129.16/32")

// guard judges addresses.
type guard struct {
	special *ssrf.Guardian // all but what is allowed
}

func newGuard(allow []netip.Prefix) guard {
	var v4, v6 []netip.Prefix
	for _, p := range allow {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Addr().Is4() {
			v4 = append(v4, p.Masked())
		} else {
			v6 = append(v6, p.Masked())
		}
	}
	return guard{ssrf.New(
		ssrf.WithAnyPort(),
		ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...),
		ssrf.WithDeniedV4Prefixes(azureHost),
	)}
}

// judge gives nil if the address may be dialled. One that carries another one
// inside needs both to be allowed.
func (g guard) judge(a netip.Addr) error {
	a = a.Unmap()
	if err := g.special.SafeAddr(a); err != nil {
		return err
	}
	if inner, ok := embedded(a); ok {
		return g.special.SafeAddr(inner)
	}
	return nil
}

// embedded gives the IPv4 address inside a NAT64 or 6to4 one.
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToV4.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// control is asked between the making of a socket and its connect, with the very
// address that the packets would go to.
func (g guard) control(network, address string, conn syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Refused{Host: address, Reason: ReasonAddress, Detail: notAllowed, cause: err}
	}
	err = g.judge(ap.Addr())
	if err == nil && network != "tcp4" && network != "tcp6" {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return &Refused{Host: ap.Addr().String(), Address: ap.Addr(), Reason: ReasonAddress, Detail: notAllowed, cause: err}
	}
	return nil
}
