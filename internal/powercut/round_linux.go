package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// counts is what came of one round.
type counts struct {
	acknowledged int // tasks whose callers got an answer
	lost         int // of these, not in the store
	unasked      int // in the store, though their callers got no answer
	half         int // in the store, without all that belongs to them
	completed    int // acknowledged, and completed by the arcd that went on
}

// round loads one arcd, cuts its power and counts.
func (o options) round(ctx context.Context, n int, control bool) (_ counts, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	o.dir = filepath.Join(o.dir, fmt.Sprint("round", n+1))
	if err := os.Mkdir(o.dir, 0o700); err != nil {
		return counts{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	cut := filepath.Join(o.dir, "cut.img")
	known, err := o.loadAndCut(ctx, cut, control)
	if err != nil {
		return counts{}, err
	}
	d, err := mounted(ctx, cut)
	if err != nil {
		return counts{}, err
	}
	defer func() { err = errors.Join(err, d.unmount()) }()
	c, err := look(ctx, filepath.Join(d.folder, "arcd.db"), known)
	if control && err != nil { // without flushes the file may be anything
		return counts{acknowledged: len(known), lost: len(known)}, nil
	}
	if err != nil || control {
		return c, err
	}
	if err := run(ctx, o.arcd, "store", "check", "--store", "sqlite:"+filepath.Join(d.folder, "arcd.db")); err != nil {
		return c, err
	}
	c.completed, err = o.goOn(ctx, d.folder, known)
	return c, err
}

// loadAndCut has an arcd work on a new disk and copies the disk in the midst of it. It
// gives the ids of the acknowledged tasks.
func (o options) loadAndCut(ctx context.Context, cut string, control bool) (_ []string, err error) {
	d, err := newDisk(ctx, o.dir, o.disk)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.unmount()) }()
	s, err := o.start(ctx, d.folder, !control)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	loading, end := context.WithCancel(ctx)
	book := &ledger{}
	var callers sync.WaitGroup
	defer callers.Wait()
	defer end()
	for range o.callers {
		callers.Go(func() { book.call(loading, s.url) })
	}
	length := o.load + rand.N(o.load/2)
	if control { // one flush, so that there is something to have lost the end of
		if err := wait(ctx, length/2); err != nil {
			return nil, err
		}
		if err := run(ctx, "sync", "-f", d.folder); err != nil {
			return nil, err
		}
		length /= 2
	}
	if err := wait(ctx, length); err != nil {
		return nil, err
	}
	if err := s.stop(ctx); err != nil {
		return nil, err
	}
	if err := d.copied(ctx, cut); err != nil {
		return nil, err
	}
	s.kill()
	callers.Wait() // answers that were on their way are read first
	return book.tasks, book.err
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ledger is what the callers know.
type ledger struct {
	mu    sync.Mutex // guards the fields below
	tasks []string   // acknowledged
	err   error      // a refusal; the end of the server is none
}

// call creates tasks, one after the other, until the server is gone.
func (l *ledger) call(ctx context.Context, url string) {
	c, done := caller(url)
	defer done()
	for {
		task, err := c.CreateTask(ctx, "echo", arc.CreateTaskParams{InitialMessage: new(arc.Text(arc.RoleUser, "What is left?"))})
		if refusal, ok := errors.AsType[*arc.Error](err); ok {
			l.mu.Lock()
			l.err = refusal
			l.mu.Unlock()
		}
		if err != nil {
			return
		}
		l.mu.Lock()
		l.tasks = append(l.tasks, task.ID)
		l.mu.Unlock()
	}
}

// caller gives a client with a connection of its own that repeats nothing.
func caller(url string) (c *client.Client, done func()) {
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	return &client.Client{URL: url, Attempts: 1, HTTP: &http.Client{Transport: transport}}, transport.CloseIdleConnections
}

// goOn starts an arcd on what the cut left, and counts the tasks that it completes.
func (o options) goOn(ctx context.Context, folder string, known []string) (completed int, err error) {
	s, err := o.start(ctx, folder, true)
	if err != nil {
		return 0, err
	}
	defer s.kill()
	c, done := caller(s.url)
	defer done()
	for _, id := range known {
		task, err := c.WaitTask(ctx, "echo", client.WaitTaskParams{TaskID: id})
		if err != nil {
			return completed, fmt.Errorf("waiting for task %s: %w", id, err)
		}
		if task.Status == arc.TaskCompleted {
			completed++
		}
	}
	return completed, nil
}
