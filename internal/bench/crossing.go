package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httputil"
	"time"

	"golang.org/x/sync/errgroup"
)

// Where the reader of an event is, seen from where it was written.
const (
	readHere  = "at the same replica"
	readThere = "at another replica"
)

// How many events cross, and how often: some on each of several tasks, 200 a second
// together.
const (
	crossingTasks = 16
	crossingEach  = 125
	crossingEvery = crossingTasks * 5 * time.Millisecond
)

// crossings measures how long it takes from the begin of a write on one replica until a
// reader has the event, on the same replica and on another one.
func (b *bench) crossings(ctx context.Context, into map[string]spread) error {
	first, second := b.two.servers[0], b.two.servers[1]
	for where, reader := range map[string]*process{readHere: first, readThere: second} {
		t, err := b.crossing(ctx, first, reader)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		into[where] = t.spread()
	}
	return nil
}

// crossing sends messages to tasks that wait, and reads them as events.
func (b *bench) crossing(ctx context.Context, writer, reader *process) (timing, error) {
	each := crossingEach
	if b.short {
		each = b.limit
	}
	times := make([][]time.Duration, crossingTasks)
	start := time.Now()
	work, ctx := errgroup.WithContext(ctx)
	for i := range times {
		work.Go(func() (err error) {
			rest(time.Duration(i) * crossingEvery / crossingTasks) // one after the other
			times[i], err = b.crossingOf(ctx, writer, reader, each)
			return err
		})
	}
	err := work.Wait()
	t := timing{elapsed: time.Since(start)}
	for _, some := range times {
		t.each = append(t.each, some...)
	}
	return t, err
}

// crossingOf does so with one task.
func (b *bench) crossingOf(ctx context.Context, writer, reader *process, count int) ([]time.Duration, error) {
	answer, err := b.onceOn(ctx, writer, b.create("queue"))
	if err != nil {
		return nil, err
	}
	task, err := taskID(answer)
	if err != nil {
		return nil, err
	}
	in, err := dial(ctx, reader.address, 16<<10)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := in.open(b.post(eventsBody("queue", task))); err != nil {
		return nil, err
	}
	out, err := dial(ctx, writer.address, 16<<10)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	events := bufio.NewReader(httputil.NewChunkedReader(in.in))
	times := make([]time.Duration, count)
	for n := range times {
		begin := time.Now()
		text := fmt.Sprintf("message %d of %s", n, task)
		arrived := make(chan error, 1)
		go func() { arrived <- awaitText(events, text) }() // it ends with the connection at the latest
		sent := load{next: same(b.post(sendBody(task, text))), right: contains(`"success":true`)}.call(out, 0, n)
		if sent != nil {
			return nil, errors.Join(sent, in.Close(), <-arrived)
		}
		if err := in.SetReadDeadline(begin.Add(10 * time.Second)); err != nil {
			return nil, err
		}
		if err := <-arrived; err != nil {
			return nil, fmt.Errorf("waiting for event %d: %w", n, err)
		}
		times[n] = time.Since(begin)
		rest(crossingEvery - times[n])
	}
	return times, nil
}

// awaitText reads lines until one has the text in it.
func awaitText(in *bufio.Reader, text string) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.Contains(line, []byte(text)) {
			return nil
		}
	}
}

func sendBody(task, text string) []byte {
	return fmt.Appendf(nil, `{"arc":"1.0","id":"1","method":"task.send","requestAgent":"bench","targetAgent":"queue","params":{"taskId":%q,`+
		`"message":{"role":"user","parts":[{"type":"TextPart","content":%q}]}}}`, task, text)
}
