package interop_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// cutter is a TCP proxy that breaks connections: the n-th one after as many
// bytes from the server as cuts says, those after the last cut never.
type cutter struct {
	addr string
	cuts []int64

	mu    sync.Mutex // guards the fields below
	seen  int        // connections so far
	conns []net.Conn
}

// newCutter makes a cutter in front of the server at target.
func newCutter(t *testing.T, target string, cuts ...int64) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: ln.Addr().String(), cuts: cuts}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		c.closeAll()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			cut := c.next(client, server)
			wg.Go(func() { // ends when the other direction closes both
				_, _ = io.Copy(server, client)
				_ = server.(*net.TCPConn).CloseWrite()
			})
			wg.Go(func() { forward(client.(*net.TCPConn), server, cut) })
		}
	})
	return c
}

// next gives the number of bytes for the next connection; -1: no bound.
func (c *cutter) next(ends ...net.Conn) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, ends...)
	c.seen++
	if c.seen <= len(c.cuts) {
		return c.cuts[c.seen-1]
	}
	return -1
}

func (c *cutter) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// connections gives the number of connections so far.
func (c *cutter) connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// forward copies up to cut bytes to the client and then breaks the connection
// without a proper end.
func forward(client *net.TCPConn, server net.Conn, cut int64) {
	if cut < 0 {
		_, _ = io.Copy(client, server)
	} else {
		_, _ = io.CopyN(client, server, cut)
		_ = client.SetLinger(0)
	}
	_ = client.Close()
	_ = server.Close()
}
