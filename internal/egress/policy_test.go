package egress_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/arcd-io/arcd/internal/egress"
)

// names resolves each name to what the n-th look-up of it shall give; the last
// one stays.
type names struct {
	answers map[string][][]string

	mu    sync.Mutex
	asked map[string]int
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	answers := n.answers[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if n.asked == nil {
		n.asked = map[string]int{}
	}
	answer := answers[min(n.asked[host], len(answers)-1)]
	n.asked[host]++
	addrs := make([]netip.Addr, len(answer))
	for i, a := range answer {
		addrs[i] = netip.MustParseAddr(a)
	}
	return addrs, nil
}

// name is a resolver that knows one name.
func name(host string, addrs ...string) *names {
	return &names{answers: map[string][][]string{host: {addrs}}}
}

// dials notes what a client dials.
type dials struct {
	mu  sync.Mutex
	all []netip.AddrPort
}

func (d *dials) note(to netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, to)
}

func (d *dials) list() []netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all
}

// client makes a client whose dials are watched.
func client(p egress.Policy) (*egress.Client, *dials) {
	c, d := egress.New(p), &dials{}
	c.Watch(d.note)
	return c, d
}

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

func get(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// specials are addresses that nobody may have called, each by its use.
var specials = map[string]string{
	"loopback": "127.0.0.1", "loopback, another": "127.8.9.10", "loopback, IPv6": "::1",
	"unspecified": "0.0.0.0", "this network": "0.1.2.3", "unspecified, IPv6": "::",
	"private, ten": "10.0.0.1", "private, 172": "172.16.0.1", "private, 172 end": "172.31.255.255", "private, 192": "192.168.1.1",
	"shared": "100.64.0.1", "metadata of Alibaba": "100.100.100.200",
	"metadata": "169.254.169.254", "metadata of containers": "169.254.170.2", "metadata of Azure": "168.63.129.16",
	"metadata of Oracle": "192.0.0.192", "metadata, IPv6": "fd00:ec2::254", "metadata of Google, IPv6": "fd20:ce::254",
	"link-local, IPv6": "fe80::1", "site-local, IPv6": "fec0::1", "unique local, IPv6": "fc00::1",
	"documentation": "192.0.2.1", "documentation, 2": "198.51.100.1", "documentation, 3": "203.0.113.1",
	"documentation, IPv6": "2001:db8::1", "documentation, IPv6 new": "3fff::1",
	"benchmarks": "198.18.0.1", "multicast": "224.0.0.1", "multicast, IPv6": "ff02::1",
	"reserved": "240.0.0.1", "broadcast": "255.255.255.255", "discard": "100::1",
	"mapped": "::ffff:10.0.0.1", "mapped loopback": "::ffff:127.0.0.1", "compatible": "::10.0.0.1",
	"NAT64": "64:ff9b::10.0.0.1", "NAT64, local": "64:ff9b:1::1", "6to4": "2002:a00:1::1", "6to4 of a public one": "2002:5db8:d822::1",
	"Teredo": "2001:0:a00:1::1", "ORCHID": "2001:20::1", "segment routing": "5f00::1",
}

// TestW25InsideIsNotCalled proves for each special address that a name which resolves to it is
// refused by Check and Do and never dialled, that a URL which names it is, and
// that the socket itself refuses it.
func TestW25InsideIsNotCalled(t *testing.T) {
	for use, address := range specials {
		t.Run(use, func(t *testing.T) {
			c, dialled := client(egress.Policy{Resolver: name("agent.example", address)})
			literal := "http://" + net.JoinHostPort(address, "8080") + "/"
			for _, url := range []string{"http://agent.example:8080/", literal} {
				wantRefused(t, c.Check(t.Context(), url), address)
				_, err := c.Do(get(t, url))
				wantRefused(t, err, address)
			}
			wantRefused(t, c.DialWithoutLooking("tcp", net.JoinHostPort(address, "8080")), "")
			if all := dialled.list(); len(all) > 0 {
				t.Errorf("dialled %v", all)
			}
		})
	}
}

// wantRefused expects a refusal of an address; "": of any.
func wantRefused(t *testing.T, err error, address string) {
	t.Helper()
	refused, ok := errors.AsType[*egress.Refused](err)
	if !ok || refused.Reason != egress.ReasonAddress {
		t.Fatalf("got %v, want a refusal of the address", err)
	}
	if address == "" {
		return
	}
	if want := netip.MustParseAddr(address).Unmap(); refused.Address != want {
		t.Errorf("refused %v, want %v", refused.Address, want)
	}
	if strings.Contains(refused.Detail, refused.Address.String()) {
		t.Errorf("the caller is told the address: %s", refused.Detail)
	}
}

func TestCheckAllowsPublicAddresses(t *testing.T) {
	for _, address := range []string{"93.184.216.34", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.216.34"} {
		c, dialled := client(egress.Policy{Resolver: name("agent.example", address)})
		if err := c.Check(t.Context(), "https://agent.example/"); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if all := dialled.list(); len(all) > 0 {
			t.Errorf("Check dialled %v", all)
		}
	}
}

// TestOneBadAddressSpoilsTheName: nothing is sent to the good one either.
func TestOneBadAddressSpoilsTheName(t *testing.T) {
	for _, addrs := range [][]string{{"93.184.216.34", "10.0.0.1"}, {"10.0.0.1", "93.184.216.34"}, {"93.184.216.34", "::1"}} {
		c, dialled := client(egress.Policy{Resolver: name("agent.example", addrs...)})
		_, err := c.Do(get(t, "http://agent.example/"))
		if _, ok := errors.AsType[*egress.Refused](err); !ok {
			t.Errorf("%v: got %v, want a refusal", addrs, err)
		}
		if all := dialled.list(); len(all) > 0 {
			t.Errorf("%v: dialled %v", addrs, all)
		}
	}
}

// TestRebinding: the name is judged by what it resolves to when it is dialled.
func TestRebinding(t *testing.T) {
	turning := &names{answers: map[string][][]string{"agent.example": {{"93.184.216.34"}, {"10.0.0.1"}}}}
	c, dialled := client(egress.Policy{Resolver: turning})
	if err := c.Check(t.Context(), "http://agent.example/"); err != nil {
		t.Fatalf("first look: %v", err)
	}
	_, err := c.Do(get(t, "http://agent.example/"))
	wantRefused(t, err, "10.0.0.1")
	if all := dialled.list(); len(all) > 0 {
		t.Errorf("dialled %v", all)
	}
}

func TestAllowed(t *testing.T) {
	for _, test := range []struct {
		allow   []netip.Prefix
		address string
		good    bool
	}{
		{prefixes("10.1.0.0/16"), "10.1.2.3", true},
		{prefixes("10.1.0.0/16"), "10.2.2.3", false},
		{prefixes("10.1.2.3/8"), "10.9.9.9", true},
		{prefixes("10.0.0.0/8"), "::ffff:10.2.2.3", true},
		{prefixes("::ffff:10.0.0.0/104"), "10.2.2.3", true},
		{prefixes("::ffff:10.0.0.0/104"), "192.168.0.1", false},
		{prefixes("fd00::/8"), "fd12::1", true},
		{prefixes("fd00::/8"), "fc12::1", false},
		{prefixes("::1/128"), "::1", true},
		{prefixes("::1/128"), "127.0.0.1", false},
		{prefixes("127.0.0.0/8"), "127.0.0.1", true},
		{prefixes("127.0.0.0/8"), "::1", false},
		{prefixes("168.63.129.16/32"), "168.63.129.16", true},
		{prefixes("::/0"), "10.0.0.1", false},
		{prefixes("0.0.0.0/0"), "::1", false},
		{prefixes("::/0"), "fe80::1", true},
		{prefixes("0.0.0.0/0", "::/0"), "169.254.169.254", true},

		// What is behind a gateway has to be allowed too.
		{prefixes("64:ff9b::/96"), "64:ff9b::93.184.216.34", true},
		{prefixes("64:ff9b::/96"), "64:ff9b::169.254.169.254", false},
		{prefixes("64:ff9b::/96", "10.0.0.0/8"), "64:ff9b::10.0.0.1", true},
		{prefixes("2002::/16"), "2002:5db8:d822::1", true},
		{prefixes("2002::/16"), "2002:a00:1::1", false},
		{prefixes("2002::/16", "10.0.0.0/8"), "2002:a00:1::1", true},
	} {
		var texts []string
		for _, p := range test.allow {
			texts = append(texts, p.String())
		}
		t.Run(strings.Join(texts, ",")+" "+test.address, func(t *testing.T) {
			c, _ := client(egress.Policy{Allow: test.allow, Resolver: name("agent.example", test.address)})
			err := c.Check(t.Context(), "http://agent.example/")
			if test.good && err != nil {
				t.Errorf("refused: %v", err)
			}
			if _, refused := errors.AsType[*egress.Refused](err); !test.good && !refused {
				t.Errorf("got %v, want a refusal", err)
			}
		})
	}
}
