package postgres_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
)

// durable opens an engine on a server that flushes, as in production.
func durable(b *testing.B) *postgres.Engine {
	b.Helper()
	server, err := pgtest.New(pgtest.Config{Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Remove)
	s, err := postgres.Open(b.Context(), postgres.Config{URL: server.URL("postgres")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// creation is a change of the size that task.create makes.
func creation(n int64, now time.Time) store.Change {
	body := []byte(`{"deadline":"","metadata":{"k":"` + strings.Repeat("x", 80) + `"},"attempt":0}`)
	message := []byte(`{"role":"user","parts":[{"type":"TextPart","content":"` + strings.Repeat("y", 180) + `"}]}`)
	submitted := json.RawMessage(`{"taskId":"task-0123456789","status":"SUBMITTED","assignedAgent":"echo"}`)
	return store.Change{
		Thread: store.Thread{
			ID: fmt.Sprintf("task-%013d%08d", now.UnixMilli(), n), Kind: store.Task,
			Owner: fmt.Sprintf("https://issuer.example/oauth2/default\nclient-%d", n%8),
			From:  "caller", Agent: "echo", Status: "SUBMITTED", Priority: arc.PriorityNormal,
			Created: now, Updated: now, Ready: true, Rank: now.UnixMilli(), Body: body,
		},
		Events: []arc.Event{
			{Type: arc.TaskCreatedEvent, At: arc.At(now), Data: submitted},
			{Type: arc.NewMessageEvent, At: arc.At(now), Data: message},
		},
		Items: []store.Item{{Kind: store.MessageItem, Body: message}},
	}
}

// BenchmarkLife commits what a task of a demo agent commits: created, claimed,
// completed. 32 callers.
func BenchmarkLife(b *testing.B) {
	s := durable(b)
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c := creation(n.Add(1), time.Now())
			for step := range 3 {
				t, err := s.Commit(b.Context(), c)
				if err != nil {
					b.Fatal(err)
				}
				t.Ready, t.Status, t.Updated = false, "WORKING", time.Now()
				t.Due = time.Now().Add(15 * time.Second)
				if step == 1 {
					t.Status, t.Ended, t.Due = "COMPLETED", t.Updated, time.Time{}
				}
				c = store.Change{Thread: t, Events: c.Events}
			}
		}
	})
}

// BenchmarkCreate commits what task.create commits. 32 callers.
func BenchmarkCreate(b *testing.B) {
	s := durable(b)
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Commit(b.Context(), creation(n.Add(1), time.Now())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
