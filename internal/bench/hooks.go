package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// The names of the workloads with webhooks in the results.
const (
	hookPlain = "plain http.Client, 8 at once"
	hookArcd  = "webhook deliveries"
)

// perReceiver is how many webhooks arcd sends to one host at once.
const perReceiver = 8

// measureWebhooks has arcd deliver an event of each of many tasks, and then has a
// plain HTTP client post the same bytes as often. The receiver is shut until all
// events are stored, so that nothing else goes on while they are delivered.
func (b *bench) measureWebhooks(ctx context.Context, round map[string]measured, question func(string) string) error {
	hook := "http://" + b.receiver.address
	if err := visit(ctx, hook+"/shut"); err != nil {
		return err
	}
	received, err := b.receiver.ask(counting)
	if err != nil {
		return err
	}
	if err := b.causeEvents(ctx, hook+"/hook"); err != nil {
		return err
	}
	before, err := b.relay.ask(question(hookArcd))
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := visit(ctx, hook+"/open"); err != nil {
		return err
	}
	if err := b.receiver.await(ctx, received.Done+int64(b.hooks)); err != nil {
		return fmt.Errorf("waiting for deliveries: %w", err)
	}
	elapsed := time.Since(begin)
	after, err := b.relay.ask(plain)
	if err != nil {
		return err
	}
	round[hookArcd] = measured{
		requests: b.hooks, perSecond: float64(b.hooks) / elapsed.Seconds(), cpu: (after.CPU - before.CPU) / time.Duration(b.hooks),
	}
	round[hookPlain], err = b.postPlainly(ctx, hook)
	return err
}

// causeEvents creates tasks that wait, subscribes a URL to each, and cancels them.
func (b *bench) causeEvents(ctx context.Context, url string) error {
	var next atomic.Int64
	calls, ctx := errgroup.WithContext(ctx)
	for range b.connections {
		calls.Go(func() error {
			c, err := dial(ctx, b.relay.address, 16<<10)
			if err != nil {
				return err
			}
			defer c.Close()
			for next.Add(1) <= int64(b.hooks) && ctx.Err() == nil {
				if err := b.causeEvent(c, url); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return calls.Wait()
}

// causeEvent has one event for the URL.
func (b *bench) causeEvent(c *conn, url string) error {
	if err := c.call(b.post(createBody("queue"))); err != nil {
		return err
	}
	task, err := taskID(c.body)
	if err != nil {
		return err
	}
	for _, body := range [][]byte{subscribeBody(task, url), cancelBody(task)} {
		if err := c.call(b.post(body)); err != nil {
			return err
		}
		if !bytes.Contains(c.body, []byte(task)) {
			return fmt.Errorf("wrong answer: %s", c.body)
		}
	}
	return nil
}

func subscribeBody(task, url string) []byte {
	return []byte(`{"arc":"1.0","id":"1","method":"task.subscribe","requestAgent":"bench","targetAgent":"queue",` +
		`"params":{"taskId":"` + task + `","callbackUrl":"` + url + `","events":["TASK_CANCELED"]}}`)
}

func cancelBody(task string) []byte {
	return []byte(`{"arc":"1.0","id":"1","method":"task.cancel","requestAgent":"bench","targetAgent":"queue","params":{"taskId":"` + task + `"}}`)
}

// postPlainly posts what the receiver got last as often as arcd did, in the same way
// but without arcd: net/http, as many at once, kept connections.
func (b *bench) postPlainly(ctx context.Context, base string) (measured, error) {
	body, err := fetch(ctx, base+"/last")
	if err != nil {
		return measured{}, err
	}
	transport := &http.Transport{MaxConnsPerHost: perReceiver, MaxIdleConnsPerHost: perReceiver}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	begin := time.Now()
	posting, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range perReceiver {
		posting.Go(func() error {
			for n := next.Add(1); n <= int64(b.hooks); n = next.Add(1) {
				if err := postOne(ctx, client, base+"/hook", body); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = posting.Wait()
	return measured{requests: b.hooks, perSecond: float64(b.hooks) / time.Since(begin).Seconds()}, err
}

// postOne posts a body as a webhook.
func postOne(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/arc+json")
	req.Header.Set("Webhook-Id", "plain")
	req.Header.Set("Webhook-Timestamp", "1900000000")
	req.Header.Set("Webhook-Signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// visit makes a POST that says all by its path.
func visit(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	_, err = answerTo(req)
	return err
}

// fetch makes a GET.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return answerTo(req)
}

// answerTo gives the body of the answer to a request.
func answerTo(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, resp.Status)
	}
	return body, err
}
