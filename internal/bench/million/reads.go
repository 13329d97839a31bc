package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/sqlite"
)

// engine is what is read from.
type engine interface {
	store.Store
	store.Registry
}

// repeat is how often each read is done in a round.
const repeat = 200

// reads measures pages and searches, on the large store and on the small one in turn.
func (b *bench) reads(ctx context.Context, rounds int) error {
	fmt.Printf("\n%-12s %-44s %10s %10s %7s\n", "", "", "small", "large", "ratio")
	open := map[string]func(name string) (engine, error){
		"SQLite": func(name string) (engine, error) { return sqlite.Open(ctx, sqlite.Config{File: b.file(name)}) },
		"PostgreSQL": func(name string) (engine, error) {
			return postgres.Open(ctx, postgres.Config{URL: b.server.URL(name)})
		},
	}
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		if err := b.readsOf(ctx, kind, open[kind], rounds); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) readsOf(ctx context.Context, kind string, open func(string) (engine, error), rounds int) error {
	smallOne, err := open("small")
	if err != nil {
		return err
	}
	defer smallOne.Close()
	largeOne, err := open("large")
	if err != nil {
		return err
	}
	defer largeOne.Close()
	for _, r := range readList {
		var small, large, ratios []float64
		for range rounds {
			a, err := since(func() error { return r.often(ctx, smallOne, 1000) })
			if err != nil {
				return err
			}
			c, err := since(func() error { return r.often(ctx, largeOne, b.large) })
			if err != nil {
				return err
			}
			small, large, ratios = append(small, perRead(a)), append(large, perRead(c)), append(ratios, float64(c)/float64(a))
		}
		fmt.Printf("%-12s %-44s %8.0fµs %8.0fµs %7.2f\n", kind, r.name, median(small), median(large), median(ratios))
	}
	return nil
}

// perRead is the time of one read in microseconds.
func perRead(d time.Duration) float64 { return float64(d.Microseconds()) / repeat }

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// read is what is measured.
type read struct {
	name string
	do   func(ctx context.Context, e engine, tasks, i int) (found int, err error)
}

// often does it with other arguments each time. What finds nothing proves nothing.
func (r read) often(ctx context.Context, e engine, tasks int) error {
	for i := range repeat {
		found, err := r.do(ctx, e, tasks, i)
		if err != nil {
			return err
		}
		if found == 0 {
			return fmt.Errorf("%s: nothing found", r.name)
		}
	}
	return nil
}

var readList = []read{
	{"task.list: the first 50", func(ctx context.Context, e engine, _, i int) (int, error) {
		ts, err := e.Threads(ctx, store.Query{Owner: owner(i % owners), Kind: store.Task, Limit: 50})
		return len(ts), err
	}},
	{"task.list: 50 from the middle", func(ctx context.Context, e engine, tasks, i int) (int, error) {
		n := tasks/2 + i%100
		ts, err := e.Threads(ctx, store.Query{
			Owner: owner(i % owners), Kind: store.Task, Limit: 50, BeforeTime: time.UnixMilli(created(n)), BeforeID: taskID(n),
		})
		return len(ts), err
	}},
	{"task.list: 1 that waits", func(ctx context.Context, e engine, _, i int) (int, error) {
		ts, err := e.Threads(ctx, store.Query{Owner: owner(3), Kind: store.Task, Status: []string{"SUBMITTED"}, Limit: 1})
		return len(ts), err
	}},
	{"one task with its messages", func(ctx context.Context, e engine, tasks, i int) (int, error) {
		t, err := e.Thread(ctx, taskID((i*7919+int(time.Now().UnixNano()%int64(tasks)))%tasks))
		if err != nil {
			return 0, err
		}
		items, err := e.Items(ctx, t)
		return len(items), err
	}},
	{"search: three words", func(ctx context.Context, e engine, _, i int) (int, error) {
		hits, err := e.SearchAgents(ctx, store.Search{Prefixes: []string{words[i%16], words[i*3%16], words[i*5%16]}, Least: 1, Limit: 20})
		return len(hits), err
	}},
	{"search: two words, both", func(ctx context.Context, e engine, _, i int) (int, error) {
		hits, err := e.SearchAgents(ctx, store.Search{Prefixes: []string{words[i%16], words[i/16%16]}, Least: 2, Limit: 20})
		return len(hits), err
	}},
	{"the agents whose tasks wait", func(ctx context.Context, e engine, _, _ int) (int, error) {
		ids, err := e.ReadyAgents(ctx, "", 100)
		return len(ids), err
	}},
}

// packed packs events, given as type and data in turn, as the log has them.
func packed(parts ...any) []byte {
	var b []byte
	for i := 0; i < len(parts); i += 2 {
		kind, _ := parts[i].(arc.EventType)
		data, _ := parts[i+1].(string)
		b = append(b, text(string(kind))...)
		b = binary.AppendVarint(b, began)
		b = append(b, text(data)...)
	}
	return b
}

// text has its length in front.
func text(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }
