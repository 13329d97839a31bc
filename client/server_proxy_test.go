package client_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// proxy stands between the client and the server at the level of TCP, and breaks
// connections.
type proxy struct {
	url         string // of the server behind it
	connections atomic.Int32
	// allow gives how many bytes of the server the n-th connection lets through
	// before it is cut; negative: all.
	allow func(n int32) int64
	// swallowed, if not nil, is called when an answer of which nothing may get
	// through has begun.
	swallowed func()

	mu   sync.Mutex // guards open
	open []net.Conn
}

// through puts a proxy in front of the world.
func (w *world) through(allow func(n int32) int64) *proxy {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	p := &proxy{url: "http://" + l.Addr().String(), allow: allow}
	target := w.url[len("http://"):]
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, near, far)
			p.mu.Unlock()
			n := p.connections.Add(1)
			running.Go(func() { // ends when the other direction closes both
				_, _ = io.Copy(far, near)
				_ = far.(*net.TCPConn).CloseWrite()
			})
			running.Go(func() { p.back(near.(*net.TCPConn), far, allow(n)) })
		}
	})
	w.t.Cleanup(func() {
		_ = l.Close()
		p.cutAll()
		running.Wait()
	})
	return p
}

// back lets so many bytes of the server through and then closes both ends.
func (p *proxy) back(near *net.TCPConn, far net.Conn, most int64) {
	defer far.Close()
	defer near.Close()
	switch {
	case most < 0:
		_, _ = io.Copy(near, far)
		_ = near.CloseWrite()
		return
	case most == 0: // the request has been done once its answer begins
		if _, err := io.ReadFull(far, make([]byte, 1)); err == nil && p.swallowed != nil {
			p.swallowed()
		}
	default:
		_, _ = io.CopyN(near, far, most)
	}
	_ = near.SetLinger(0) // a reset, as of a machine that has gone
}

// cutAll breaks all connections.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

// always lets n bytes of each connection through.
func always(n int64) func(int32) int64 { return func(int32) int64 { return n } }

// first lets n bytes of the first connections through, and all of the others.
func first(connections int32, n int64) func(int32) int64 {
	return func(i int32) int64 {
		if i <= connections {
			return n
		}
		return -1
	}
}

// envelopeOf looks into a call and gives its body to be read again.
func envelopeOf(r *http.Request) (body io.ReadCloser, id, method string) {
	b, _ := io.ReadAll(r.Body)
	var e struct{ ID, Method string }
	_ = json.Unmarshal(b, &e) // what is no envelope has no method
	return io.NopCloser(bytes.NewReader(b)), e.ID, e.Method
}
