package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/arctest"
	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/postgres"
)

// startReplicas starts servers on one PostgreSQL, and waits until they know each
// other.
func startReplicas(t *testing.T, n int, config func(*server.Config)) []*world {
	t.Helper()
	url := pgtest.Database(t)
	issuer := arctest.NewIssuer(t)
	var all []*world
	for range n {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Unsafe: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Errorf("closing the store: %v", err)
			}
		})
		all = append(all, start(t, options{db: db, issuer: issuer, config: config}))
	}
	for _, w := range all {
		w.until("it is ready", func() bool { return w.do(ask{method: http.MethodGet, path: "/readyz"}).status == http.StatusOK })
	}
	return all
}

// until waits for something to become true that nobody tells.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	deadline := time.After(30 * time.Second)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !is() {
		select {
		case <-look.C:
		case <-deadline:
			w.t.Fatalf("in vain: %s\n%s", what, w.log)
		}
	}
}

// knows tells whether a server knows that an agent is connected somewhere.
func (w *world) knows(id string) bool {
	return w.sockets.Room(id) >= 0 || w.sockets.Elsewhere(id)
}

// crossing is one address in front of several servers, as a proxy is: new connections
// go to the one that is set.
type crossing struct {
	*httptest.Server
	to atomic.Pointer[url.URL]
}

func newCrossing(t *testing.T, to *world) *crossing {
	c := &crossing{}
	c.lead(to)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(c.to.Load()) }, Transport: &http.Transport{DisableKeepAlives: true}}
	c.Server = httptest.NewServer(proxy)
	t.Cleanup(c.Close)
	return c
}

func (c *crossing) lead(to *world) {
	u, _ := url.Parse(to.url) // that of a listener
	c.to.Store(u)
}

// TestSocketAgentBehindEveryReplica: an agent that dialled in to one server works for
// callers of every other one, over real sockets.
func TestSocketAgentBehindEveryReplica(t *testing.T) {
	all := startReplicas(t, 3, nil)
	all[0].running(all[0].agent("worker", func(ctx context.Context, work *client.Work) error {
		for _, word := range strings.Fields("you said " + work.Message.Text()) {
			if err := work.Write(ctx, word); err != nil {
				return err
			}
		}
		if work.TaskID == "" {
			return nil
		}
		return errors.Join(work.Progress(ctx, 50, "half"),
			work.Artifact(ctx, arc.Artifact{Name: "a", Parts: []arc.Part{arc.TextPart("made")}}))
	}))
	for i, w := range all {
		w.until("it knows the agent", func() bool { return w.knows("worker") })
		task := all[(i+1)%3].ended(w.create("worker", "hello"))
		if task.Status != arc.TaskCompleted || said(task) != "yousaidhello" || len(task.Artifacts) != 1 || task.Progress == nil {
			t.Errorf("a task at server %d: %+v", i, task)
		}
		thread := client.Thread{Client: w.client(), To: "worker"}
		for n := range 3 {
			got := ""
			for ev, err := range thread.Stream(t.Context(), arc.Text(arc.RoleUser, fmt.Sprint("hello", n))) {
				var piece arc.ChatChunk
				if err == nil && ev.Name == "stream" {
					err = ev.Decode(&piece)
					got += piece.Message.Text()
				}
				if err != nil {
					t.Fatalf("a chat at server %d: %v\n%s", i, err, w.log)
				}
			}
			if want := fmt.Sprintf("yousaidhello%d", n); got != want {
				t.Errorf("a chat at server %d: %q, want %q", i, got, want)
			}
		}
	}
}

// TestAgentMovesBeforeItsServerStops: while a server stops its agents go over to
// another one: what they have in hand ends where it is, and nobody is refused meanwhile.
func TestAgentMovesBeforeItsServerStops(t *testing.T) {
	all := startReplicas(t, 2, func(c *server.Config) { c.DrainDelay = 2 * time.Second })
	front := newCrossing(t, all[0])
	begun, finish := make(chan struct{}), make(chan struct{})
	agent := all[0].agent("worker", func(ctx context.Context, work *client.Work) error {
		if work.Message.Text() == "long" {
			close(begun)
			select {
			case <-finish:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return work.Write(ctx, "done")
	})
	agent.Client.URL = front.URL
	all[0].running(agent)
	all[1].until("it knows the agent", func() bool { return all[1].knows("worker") })
	long := all[1].create("worker", "long")
	<-begun
	front.lead(all[1])
	all[0].stop()
	all[1].until("the agent has moved", func() bool { return all[1].sockets.Room("worker") > 0 })
	hello := arc.Text(arc.RoleUser, "hello")
	for range 10 {
		if got := all[1].ended(all[1].create("worker", "short")); got.Status != arc.TaskCompleted {
			t.Errorf("a task: %+v", got)
		}
		if _, err := all[1].client().StartChat(t.Context(), "worker", arc.StartChatParams{InitialMessage: &hello}); err != nil {
			t.Errorf("a chat: %v", err)
		}
	}
	close(finish)
	if got := all[1].ended(long); got.Status != arc.TaskCompleted || got.Attempt != 1 {
		t.Errorf("what the agent had in hand: %+v\n%s", got, all[0].log)
	}
}
