package main

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// receiver takes webhooks: it reads each, and answers with nothing in it.
//
//	POST /hook   takes one; while the gate is shut it waits
//	POST /shut   shuts the gate
//	POST /open   opens it
//	GET /last    gives the body of the last webhook
type receiver struct {
	mu   sync.Mutex          // guards what follows
	gate chan struct{}       // closed: open
	seen map[string]struct{} // by webhook-id, so that a repeated one is not counted
	last []byte
}

// serveReceiver serves a receiver of webhooks.
func serveReceiver(ctx context.Context, ln net.Listener, _ string) (served, error) {
	open := make(chan struct{})
	close(open)
	r := &receiver{gate: open, seen: make(map[string]struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", r.take)
	mux.HandleFunc("POST /shut", func(w http.ResponseWriter, _ *http.Request) { r.shut() })
	mux.HandleFunc("POST /open", func(w http.ResponseWriter, _ *http.Request) { r.open() })
	mux.HandleFunc("GET /last", func(w http.ResponseWriter, _ *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, _ = w.Write(r.last)
	})
	s := serveHandler(ctx, ln, mux)
	s.done = func() int64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return int64(len(r.seen))
	}
	return s, nil
}

// take takes a webhook.
func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body := read(req)
	defer buffers.Put(body)
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	select {
	case <-gate:
	case <-req.Context().Done():
		return
	}
	r.mu.Lock()
	r.seen[req.Header.Get("Webhook-Id")] = struct{}{}
	r.last = append(r.last[:0], body.Bytes()...)
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = make(chan struct{})
}

func (r *receiver) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.gate)
}
