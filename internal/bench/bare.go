package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// bare is the server to compare with: net/http and nothing else. It reads what
// arcd would read and answers as many bytes as arcd would answer.
//
//	/plain/{n}           L0: reads the body, answers n bytes; GET or POST
//	/durable/{n}         LD: as L0, and the body is on disk before the answer
//	/events/{n}/{count}  count events of n bytes each, flushed one by one
//	/idle                a stream that begins and then says nothing
func bare(dir string) (http.Handler, func() error, error) {
	log, err := openLog(filepath.Join(dir, "ld.log"))
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /plain/{n}", func(w http.ResponseWriter, r *http.Request) {
		body := read(r)
		defer buffers.Put(body)
		answer(w, r)
	})
	mux.HandleFunc("GET /plain/{n}", answer)
	mux.HandleFunc("POST /durable/{n}", func(w http.ResponseWriter, r *http.Request) {
		body := read(r)
		defer buffers.Put(body)
		if err := log.append(body.Bytes()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, r)
	})
	mux.HandleFunc("POST /events/{n}/{count}", bareEvents)
	mux.HandleFunc("POST /idle", func(w http.ResponseWriter, r *http.Request) {
		body := read(r)
		buffers.Put(body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": hello\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	return mux, log.close, nil
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func read(r *http.Request) *bytes.Buffer {
	b := buffers.Get().(*bytes.Buffer)
	b.Reset()
	_, _ = b.ReadFrom(r.Body)
	return b
}

// filler holds the bytes of bare answers; the largest is a page of agents.
var filler = []byte(strings.Repeat("x", 1<<20))

func answer(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n > len(filler) {
		http.Error(w, "bad size", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = w.Write(filler[:n])
}

func bareEvents(w http.ResponseWriter, r *http.Request) {
	body := read(r)
	buffers.Put(body)
	n, _ := strconv.Atoi(r.PathValue("n"))
	count, _ := strconv.Atoi(r.PathValue("count"))
	frame := []byte("event: stream\ndata: ")
	if n -= len(frame) + 2; n < 0 || n > len(filler) {
		http.Error(w, "bad size", http.StatusBadRequest)
		return
	}
	frame = append(append(frame, filler[:n]...), "\n\n"...)
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	for range count {
		if _, err := w.Write(frame); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
	}
}

// groupLog is a file to which records are appended in groups: while one group
// is being synced the next one gathers.
type groupLog struct {
	file *os.File
	in   chan record
	wg   sync.WaitGroup
}

type record struct {
	bytes []byte
	done  chan error
}

var dones = sync.Pool{New: func() any { return make(chan error, 1) }}

func openLog(path string) (*groupLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	l := &groupLog{file: f, in: make(chan record, 1024)}
	l.wg.Go(l.write)
	return l, nil
}

// append puts one record on disk.
func (l *groupLog) append(b []byte) error {
	done := dones.Get().(chan error)
	defer dones.Put(done)
	l.in <- record{b, done}
	return <-done
}

func (l *groupLog) write() {
	var group []byte
	var waiting []chan error
	for r := range l.in {
		group, waiting = append(group[:0], r.bytes...), append(waiting[:0], r.done)
		for more := true; more; {
			select {
			case next, open := <-l.in:
				if more = open; open {
					group, waiting = append(group, next.bytes...), append(waiting, next.done)
				}
			default:
				more = false
			}
		}
		_, err := l.file.Write(group)
		if err == nil {
			err = dataSync(l.file)
		}
		for _, done := range waiting {
			done <- err
		}
	}
}

func (l *groupLog) close() error {
	close(l.in)
	l.wg.Wait()
	return l.file.Close()
}
