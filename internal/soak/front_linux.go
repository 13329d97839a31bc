package main

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// front is the one address that callers know. It spreads connections over the replicas, in
// turns, leaves out those where nobody listens, and can cut what goes through.
type front struct {
	listener net.Listener
	replicas []string // their addresses
	work     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	turn  int
	pairs map[*pair]bool
	over  bool
	count int // connections so far
}

// pair is a caller's connection and that to a replica.
type pair struct{ caller, replica *net.TCPConn }

// close ends both, with a reset.
func (p *pair) close() {
	for _, c := range []*net.TCPConn{p.caller, p.replica} {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

func newFront(replicas []string) (*front, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{listener: listener, replicas: replicas, pairs: map[*pair]bool{}}
	f.work.Go(f.accept)
	return f, nil
}

func (f *front) url() string { return "http://" + f.listener.Addr().String() }

func (f *front) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return // it was closed
		}
		f.work.Go(func() { f.join(c.(*net.TCPConn)) })
	}
}

// join connects a caller with the next replica where somebody listens.
func (f *front) join(caller *net.TCPConn) {
	f.mu.Lock()
	turn := f.turn
	f.turn++
	f.mu.Unlock()
	for n := range f.replicas {
		to, err := net.DialTimeout("tcp", f.replicas[(turn+n)%len(f.replicas)], time.Second)
		if err == nil {
			f.forward(&pair{caller, to.(*net.TCPConn)})
			return
		}
	}
	_ = caller.SetLinger(0)
	_ = caller.Close()
}

// forward carries bytes both ways until one side ends.
func (f *front) forward(p *pair) {
	f.mu.Lock()
	f.pairs[p] = true
	f.count++
	over := f.over
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.pairs, p)
		f.mu.Unlock()
	}()
	if over {
		p.close()
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(p.caller, p.replica) // ends with the connection
		_ = p.caller.Close()
		_ = p.replica.Close()
	})
	_, _ = io.Copy(p.replica, p.caller)
	_ = p.replica.CloseWrite()
	back.Wait()
	_ = p.caller.Close()
	_ = p.replica.Close()
}

// cut breaks about this share of the connections, and gives their number.
func (f *front) cut(rng *rand.Rand, share float64) (cut int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.pairs {
		if rng.Float64() < share {
			p.close()
			cut++
		}
	}
	return cut
}

// close ends it and all connections.
func (f *front) close() {
	_ = f.listener.Close()
	f.mu.Lock()
	f.over = true
	for p := range f.pairs {
		p.close()
	}
	f.mu.Unlock()
	f.work.Wait()
}
