package egress

import (
	"fmt"
	"net/http"
	"net/netip"
	"syscall"
)

// Watch tells dialled of every address to which the policy would let a packet
// go, and keeps all packets on loopback whatever the policy says: the tests must
// not reach anybody, even if the policy is broken.
func (c *Client) Watch(dialled func(netip.AddrPort)) {
	policy := c.dialer.Control
	c.dialer.Control = func(network, address string, conn syscall.RawConn) error {
		if err := policy(network, address, conn); err != nil {
			return err
		}
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		dialled(to)
		if !to.Addr().IsLoopback() {
			return fmt.Errorf("the test would have sent something to %s", to)
		}
		return nil
	}
}

// DialWithoutLooking connects past the look-up and its judgement, so that only
// the socket's control stands in the way.
func (c *Client) DialWithoutLooking(network, address string) error {
	conn, err := c.dialer.Dial(network, address)
	if err == nil {
		err = conn.Close()
	}
	return err
}

// Do sends a request and reads the answer, as the calls of the package do, within
// Policy.Timeout.
func (c *Client) Do(req *http.Request) (*Answer, error) { return c.do(req, c.policy.Timeout) }

// HTTP gives an HTTP client with [Client.Transport] that follows no redirects.
func (c *Client) HTTP() *http.Client {
	return &http.Client{Transport: c.Transport(), CheckRedirect: noRedirect}
}
