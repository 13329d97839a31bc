package methods_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/arcd-io/arcd/methods"
)

// BenchmarkWebhooks is an event that is stored, and told to one subscriber: what it
// costs from task.cancel to the record of the delivery, without a network.
func BenchmarkWebhooks(b *testing.B) {
	var told atomic.Int64
	done := make(chan struct{}, 1)
	goal := int64(-1)
	r := taking(func() {
		if told.Add(1) == atomic.LoadInt64(&goal) {
			done <- struct{}{}
		}
	})
	w := start(b, methods.Config{Webhooks: r})
	ids := make([]string, b.N)
	for n := range ids {
		ids[n] = w.create("idle", "x")
		w.must(alice(), "task.subscribe", "", m{"taskId": ids[n], "callbackUrl": fmt.Sprintf("https://hooks-%d.example/", n%10), "events": []string{"TASK_CANCELED"}})
	}
	atomic.StoreInt64(&goal, int64(b.N))
	bench(b, w, "task.cancel", "", func(n int64) string { return `{"taskId":"` + ids[n-1] + `"}` })
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

// taking is a methods.Webhooks that takes everything.
type taking func()

func (taking) Check(context.Context, string) error { return nil }

func (c taking) Post(context.Context, methods.Webhook) (methods.WebhookAnswer, error) {
	c()
	return methods.WebhookAnswer{Status: 200}, nil
}
