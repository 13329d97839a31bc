package server

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// fromProxy gives the address of the client that a trusted proxy speaks for, as
// [http.Request.RemoteAddr] would have it; that of the connection if it is no
// trusted proxy's. What a client itself writes into X-Forwarded-For stands left of
// what trusted proxies add, so the list is read from its end, and ends at the first
// address that is not one of theirs.
func (s *Server) fromProxy(r *http.Request) string {
	at, err := netip.ParseAddr(host(r.RemoteAddr))
	if err != nil || !s.trusted(at) {
		return r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := hopAddress(hop)
		if err != nil { // from here on anything may stand there
			break
		}
		if at = next; !s.trusted(at) {
			break
		}
	}
	return net.JoinHostPort(at.Unmap().String(), "0")
}

// hopAddress reads one entry of X-Forwarded-For. Some proxies write the port too.
func hopAddress(hop string) (netip.Addr, error) {
	hop = strings.TrimSpace(hop)
	if withPort, err := netip.ParseAddrPort(hop); err == nil {
		return withPort.Addr(), nil
	}
	return netip.ParseAddr(strings.Trim(hop, "[]"))
}

func (s *Server) trusted(a netip.Addr) bool {
	a = a.Unmap()
	return slices.ContainsFunc(s.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
