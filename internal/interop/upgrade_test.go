package interop_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/pgtest"
)

const (
	upgradeRounds   = 2
	upgradeReplicas = 3
	upgradeCreators = 6
	upgradeReaders  = 3
	upgradeStreams  = 3
	upgradeChats    = 4
)

// fleet are replicas on one PostgreSQL behind a balancer.
type fleet struct {
	database *pgtest.Server
	replicas []*daemon
	front    *balancer
	token    string
}

// newFleet starts it, with signing keys in a file. extra is more YAML of each replica's
// configuration.
func newFleet(t *testing.T, extra string) *fleet {
	t.Helper()
	return newFleetOf(t, ownIssuer(t.TempDir())+extra)
}

// newFleetOf starts one with this YAML.
func newFleetOf(t *testing.T, extra string) *fleet {
	t.Helper()
	database, err := pgtest.New(pgtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Remove)
	f := &fleet{database: database}
	var addrs []string
	for range upgradeReplicas {
		addrs = append(addrs, freeAddress(t))
	}
	f.front = balance(t, addrs)
	for _, addr := range addrs {
		d := &daemon{dir: t.TempDir(), addr: addr, log: new(logBuffer)}
		config := fmt.Sprintf("listen: %s\npublic_url: %s\nstore: %s\nstore_unsafe: true\nlog: {format: json}\n%s"+
			"agents:\n  echo: {kind: demo}\n  slow: {kind: demo}\n  stream: {kind: demo}\n  input: {kind: demo}\n  live: {kind: websocket}\n",
			addr, f.front.url, database.URL("postgres"), extra)
		if err := os.WriteFile(filepath.Join(d.dir, "arcd.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		d.endWith(t)
		d.start(t)
		f.replicas = append(f.replicas, d)
	}
	f.token = f.replicas[0].run(t, "dev", "token", "--unmask", "-o", "plain", "--scope", allScopes)
	f.await(t)
	return f
}

// await waits until the balancer knows all to be ready.
func (f *fleet) await(t *testing.T) {
	t.Helper()
	for i := range f.replicas {
		eventually(t, "the balancer finds arcd ready", func() bool { return f.front.isReady(i) })
	}
}

// client gives one that repeats calls by its usual rule.
func (f *fleet) client(t *testing.T) *client.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &client.Client{URL: f.front.url, Token: client.StaticToken(f.token), HTTP: &http.Client{Transport: transport}}
}

// TestRollingUpgrade replaces three replicas one after the other, twice, while callers
// create tasks, read them, follow them and chat: no call fails that package client does
// not repeat by its rule, the balancer has not a single answer of 500 or above, and each
// task that was acknowledged is done, once.
func TestRollingUpgrade(t *testing.T) {
	f := newFleet(t, "drain_delay: 1s\ndrain_timeout: 3s\nlease: 3s\nmax_attempts: 20\n")
	l := &load{t: t, c: f.client(t), acked: map[string]string{}}
	ctx, stop := context.WithCancel(t.Context())
	slow := l.create(ctx, "slow", "75", "slow") // fifteen seconds: longer than any replica lasts
	l.start(ctx)
	eventually(t, "the load runs", func() bool { return l.longChats.Load() > 0 && l.streams.Load() > 0 && l.reads.Load() > 0 })
	for range upgradeRounds {
		for i, d := range f.replicas {
			began := time.Now()
			d.stop(t)
			stopped := time.Since(began)
			d.start(t)
			f.await(t)
			t.Logf("replica %d left within %v, was there again after %v", i+1, stopped.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		}
	}
	stop()
	l.work.Wait()
	book := &ledger{acked: l.acked}
	checkList(t, l.c, book)
	l.checkAll()
	checkDone(t, l.c, "slow", slow, "75")
	if n := l.begun(slow); n < 2 {
		t.Errorf("the slow task was begun %d times, want again after its replica left", n)
	}
	f.front.mu.Lock()
	defer f.front.mu.Unlock()
	if len(f.front.bad) > 0 {
		t.Errorf("answers by status: %v, want none of these", f.front.bad)
	}
	t.Logf("%d tasks, %d reads, %d streams, %d chats, %d of them taken up; calls by replica: %v",
		len(l.acked), l.reads.Load(), l.streams.Load(), l.chats.Load()+l.longChats.Load(), l.takenUp.Load(), f.front.came)
}

// checkAll checks of each acknowledged task that it was done, once.
func (l *load) checkAll() {
	keys := make(chan string, len(l.acked))
	for key := range l.acked {
		keys <- key
	}
	close(keys)
	for range 32 {
		l.work.Go(func() {
			for key := range keys {
				if err := l.doneOnce(l.acked[key], key); err != nil {
					l.t.Errorf("task %s (%s): %v", l.acked[key], key, err)
				}
			}
		})
	}
	l.work.Wait()
}

// begun tells how often a slow task was begun.
func (l *load) begun(id string) (n int) {
	for e, err := range l.c.TaskEvents(l.t.Context(), "slow", arc.TaskEventsParams{TaskID: id}) {
		if err != nil {
			l.t.Errorf("following %s: %v", id, err)
		}
		if strings.Contains(string(e.Data), `"step 1 of`) {
			n++
		}
	}
	return n
}

// doneOnce waits until a task of echo is completed and tells what is wrong with it.
func (l *load) doneOnce(id, text string) error {
	count := map[arc.EventType]int{}
	for e, err := range l.c.TaskEvents(l.t.Context(), "echo", arc.TaskEventsParams{TaskID: id}) {
		if err != nil {
			return err
		}
		var event arc.TaskEvent
		if e.Name == "stream" && e.Decode(&event) == nil {
			count[event.Type]++
		}
	}
	task, err := l.c.GetTask(l.t.Context(), "echo", arc.GetTaskParams{TaskID: id})
	if err != nil {
		return err
	}
	for _, once := range []arc.EventType{arc.TaskCreatedEvent, arc.NewArtifactEvent, arc.TaskCompletedEvent} {
		if count[once] != 1 {
			return fmt.Errorf("it has %d events %s, want 1", count[once], once)
		}
	}
	if task.Status != arc.TaskCompleted || len(task.Artifacts) != 1 || task.Artifacts[0].Parts[0].Text() != text {
		return fmt.Errorf("it is %s with artifacts %v, want COMPLETED with one", task.Status, task.Artifacts)
	}
	return nil
}

// load is what callers do during an upgrade.
type load struct {
	t    *testing.T
	c    *client.Client
	work sync.WaitGroup

	reads, streams, chats, longChats, takenUp atomic.Int64

	mu    sync.Mutex        // guards what follows
	acked map[string]string // key of a task to its id
	ids   []string
}

// start has the callers work until ctx ends; what is under way then comes to its end.
func (l *load) start(ctx context.Context) {
	for i := range upgradeCreators {
		l.again(ctx, 60*time.Millisecond, func(ctx context.Context, n int) {
			key := fmt.Sprintf("creator %d, task %d", i, n)
			if id := l.create(ctx, "echo", key, key); id != "" {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.acked[key] = id
				l.ids = append(l.ids, id)
			}
		})
	}
	for range upgradeReaders {
		l.again(ctx, 10*time.Millisecond, l.read)
	}
	for range upgradeStreams {
		l.again(ctx, 50*time.Millisecond, l.follow)
	}
	for range upgradeChats {
		l.again(ctx, 50*time.Millisecond, l.chat)
		l.again(ctx, 50*time.Millisecond, l.longChat)
	}
}

// again does something until ctx ends, with pauses.
func (l *load) again(ctx context.Context, pause time.Duration, f func(ctx context.Context, n int)) {
	l.work.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for n := 0; !l.t.Failed(); n++ {
			f(context.WithoutCancel(ctx), n)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// create makes a task with a key; "" if that failed.
func (l *load) create(ctx context.Context, agent, text, key string) string {
	params := arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, text)), IdempotencyKey: key}
	task, err := l.c.CreateTask(ctx, agent, params)
	if err != nil {
		l.t.Errorf("creating %s: %v", key, err)
		return ""
	}
	return task.ID
}

// any gives one of the tasks.
func (l *load) any() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ids) == 0 {
		return ""
	}
	return l.ids[rand.N(len(l.ids))]
}

func (l *load) read(ctx context.Context, _ int) {
	id := l.any()
	if id == "" {
		return
	}
	if _, err := l.c.GetTask(ctx, "echo", arc.GetTaskParams{TaskID: id}); err != nil {
		l.t.Errorf("reading %s: %v", id, err)
	}
	l.reads.Add(1)
}

// follow makes a task of a second and follows it to its end: each event once.
func (l *load) follow(ctx context.Context, n int) {
	id := l.create(ctx, "slow", "5", fmt.Sprintf("followed %d %d", n, rand.Uint64()))
	if id == "" {
		return
	}
	last, done := int64(0), false
	for e, err := range l.c.TaskEvents(ctx, "slow", arc.TaskEventsParams{TaskID: id}) {
		if err != nil {
			l.t.Errorf("following %s: %v", id, err)
			return
		}
		if e.Name == "stream" {
			if e.Seq != last+1 {
				l.t.Errorf("event %d of %s follows event %d", e.Seq, id, last)
			}
			last = e.Seq
		}
		done = e.Name == "done"
	}
	if !done {
		l.t.Errorf("the stream of %s has no end", id)
	}
	l.streams.Add(1)
}

// chat asks for an answer in many pieces and wants each of them once.
func (l *load) chat(ctx context.Context, _ int) {
	const pieces = 40
	var want strings.Builder
	for i := range pieces {
		fmt.Fprintf(&want, "piece %d ", i+1)
	}
	l.stream(ctx, "stream", fmt.Sprint(pieces), want.String())
}

// longChat waits for an answer that takes longer than a replica goes on as before, so
// that readers are sent away from it, and then for one that comes as a whole.
func (l *load) longChat(ctx context.Context, _ int) {
	l.stream(ctx, "slow", "8", "8")
	chat, err := l.c.StartChat(ctx, "slow", arc.StartChatParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "8"))})
	if err != nil {
		l.t.Errorf("a chat without a stream: %v", err)
		return
	}
	if got := chat.Message; got == nil || got.Text() != "8" {
		l.t.Errorf("chat %s answers %v", chat.ID, got)
	}
	l.longChats.Add(1)
}

// stream starts a chat and compares the answer. Package client takes up a stream by
// itself that breaks behind its first piece. One of which nothing came yet it leaves to
// its caller, who chose the chat's id: the message is not said again.
func (l *load) stream(ctx context.Context, agent, text, want string) {
	var got strings.Builder
	params := arc.StartChatParams{ChatID: fmt.Sprintf("chat-%d", rand.Uint64()), InitialMessage: ptr(arc.Text(arc.RoleUser, text))}
	done, err := l.answer(l.c.StreamChat(ctx, agent, params), &got)
	for tries := 0; errors.Is(err, arc.ErrUnavailable) && got.Len() == 0 && tries < 3; tries++ {
		l.takenUp.Add(1)
		done, err = l.answer(l.c.ResumeChat(ctx, agent, params.ChatID, 0), &got)
	}
	if got.String() != want || !done || err != nil {
		l.t.Errorf("chat %s: %q (done: %v), %v; want %q", params.ChatID, got.String(), done, err, want)
	}
	l.chats.Add(1)
}

// answer reads a stream to its end.
func (l *load) answer(events iter.Seq2[client.Event, error], got *strings.Builder) (done bool, err error) {
	for e, err := range events {
		if err != nil {
			return false, err
		}
		var chunk arc.ChatChunk
		if e.Name == "stream" && e.Decode(&chunk) == nil {
			got.WriteString(chunk.Message.Text())
		}
		done = e.Name == "done"
	}
	return done, nil
}

// TestLeavesWithoutDatabase ends a replica whose database is gone, in the midst of
// work: it does not wait for it for ever.
func TestLeavesWithoutDatabase(t *testing.T) {
	database, err := pgtest.New(pgtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Remove)
	d := &daemon{dir: t.TempDir(), addr: freeAddress(t), log: new(logBuffer)}
	config := fmt.Sprintf("listen: %s\nstore: %s\nstore_unsafe: true\nlog: {format: json}\n%sdrain_timeout: 1s\nagents: {slow: {kind: demo}}\n",
		d.addr, database.URL("postgres"), ownIssuer(d.dir))
	if err := os.WriteFile(filepath.Join(d.dir, "arcd.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d.endWith(t)
	d.start(t)
	l := &load{t: t, c: &client.Client{URL: d.url(), Token: client.StaticToken(d.token(t, "--scope", allScopes))}}
	t.Cleanup(l.c.CloseIdleConnections)
	for i := range 20 {
		l.create(t.Context(), "slow", "100", fmt.Sprint(i))
	}
	database.Kill()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.done:
	case <-time.After(40 * time.Second):
		_ = d.cmd.Process.Signal(syscall.SIGQUIT) // shows where it waits
		<-d.done
		t.Fatal("it goes on without its database after SIGTERM")
	}
}
