package interop_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/pgtest"
)

// crossing is one address in front of replicas: connections go to the one that is set.
type crossing struct {
	*httptest.Server
	to atomic.Pointer[url.URL]
}

func newCrossing(t *testing.T, to *daemon) *crossing {
	t.Helper()
	c := &crossing{}
	c.lead(to)
	onward := &http.Transport{DisableKeepAlives: true}
	c.Server = httptest.NewServer(&httputil.ReverseProxy{
		Transport:     onward,
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(c.to.Load()) },
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(func() {
		c.CloseClientConnections()
		c.Close()
	})
	return c
}

func (c *crossing) lead(to *daemon) {
	c.to.Store(&url.URL{Scheme: "http", Host: to.addr})
}

// sighting is what a reader saw of a task's or chat's log, and when.
type sighting struct {
	seq  int64
	text string // of the message or piece; "" for other events
	at   time.Time
}

// sightings are those of one reader, as they come. over is closed at the end of its stream.
type sightings struct {
	come chan sighting
	over chan struct{}
	last client.Event
	err  error
}

// readTask follows a task's events over c until their end.
func readTask(ctx context.Context, c *client.Client, agent, id string) *sightings {
	s := &sightings{come: make(chan sighting, 10_000), over: make(chan struct{})}
	go func() {
		defer close(s.over)
		for e, err := range c.TaskEvents(ctx, agent, arc.TaskEventsParams{TaskID: id}) {
			if s.last, s.err = e, err; err != nil || e.Name != "stream" {
				continue
			}
			s.come <- sighting{e.Seq, messageOf(e), time.Now()}
		}
	}()
	return s
}

// messageOf gives the text of a NEW_MESSAGE event.
func messageOf(e client.Event) string {
	var event struct {
		Type arc.EventType `json:"type"`
		Data struct {
			Said arc.Message `json:"messageContent"`
		} `json:"data"`
	}
	if e.Decode(&event) != nil || event.Type != arc.NewMessageEvent {
		return ""
	}
	return event.Data.Said.Text()
}

// until gives what came until the text did, which it must.
func (s *sightings) until(t *testing.T, text string) []sighting {
	t.Helper()
	patience := time.After(30 * time.Second)
	var all []sighting
	for {
		select {
		case got := <-s.come:
			if all = append(all, got); got.text == text {
				return all
			}
		case <-patience:
			t.Fatalf("%q does not come; before it %d others did", text, len(all))
		}
	}
}

// rest gives what came until the stream's end, which must be a good one.
func (s *sightings) rest(t *testing.T) []sighting {
	t.Helper()
	select {
	case <-s.over:
	case <-time.After(time.Minute):
		t.Fatal("the stream does not end")
	}
	if s.err != nil || s.last.Name != "done" {
		t.Errorf("the stream ends with %q, %v, want done", s.last.Name, s.err)
	}
	close(s.come)
	var all []sighting
	for got := range s.come {
		all = append(all, got)
	}
	return all
}

// checkWhole checks that the events have all numbers from 1 on, and each text once, in
// order.
func checkWhole(t *testing.T, all []sighting, texts []string) {
	t.Helper()
	var got []string
	for i, s := range all {
		if s.seq != int64(i+1) {
			t.Errorf("event %d has the number %d", i+1, s.seq)
		}
		if s.text != "" {
			got = append(got, s.text)
		}
	}
	if !slices.Equal(got, texts) {
		t.Errorf("the texts are %q, want %q", got, texts)
	}
}

// tell reports how long things took.
func tell(t *testing.T, what string, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	at := func(percent int) time.Duration {
		return took[(len(took)-1)*percent/100].Round(10 * time.Microsecond)
	}
	t.Logf("%s: p50 %v, p99 %v, longest %v of %d", what, at(50), at(99), at(100), len(took))
}

// TestStreamAcrossReplicas follows a task at one replica while another is told things,
// kills the first with the stream on it, and goes on at the third: the reader sees each
// event once, without a hole.
func TestStreamAcrossReplicas(t *testing.T) {
	const messages = 300
	f := newFleet(t, "")
	front := newCrossing(t, f.replicas[0])
	reads, writes := f.client(t), f.at(t, 1)
	reads.URL = front.URL
	task, err := writes.CreateTask(t.Context(), "live", arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "wait"))})
	if err != nil {
		t.Fatal(err)
	}
	reader := readTask(t.Context(), reads, "live", task.ID)
	var all []sighting
	var texts []string
	var took []time.Duration
	for i := range messages {
		if i == messages/2 {
			front.lead(f.replicas[2])
			f.replicas[0].kill()
			tell(t, "from the call at replica 2 until seen at replica 1", took)
			took = nil
		}
		texts = append(texts, fmt.Sprint("message ", i))
		sent := time.Now()
		err := writes.SendTask(t.Context(), "live", arc.SendTaskParams{TaskID: task.ID, Message: ptr(arc.Text(arc.RoleUser, texts[i]))})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, reader.until(t, texts[i])...)
		if i != messages/2 { // the reader is between two replicas
			took = append(took, all[len(all)-1].at.Sub(sent))
		}
	}
	tell(t, "from the call at replica 2 until seen at replica 3", took)
	if half := took[len(took)/2]; half > time.Second {
		t.Errorf("the way across takes %v, want less than a look each second", half)
	}
	if _, err := writes.CancelTask(t.Context(), "live", arc.CancelTaskParams{TaskID: task.ID}); err != nil {
		t.Fatal(err)
	}
	checkWhole(t, append(all, reader.rest(t)...), texts)
}

// teller is an agent that dials in and says in a chat what it is told to say.
type teller struct {
	say chan string // closed: the turn is over
}

// tells has it say something, which there must be a turn for.
func (l *teller) tells(t *testing.T, text string) {
	t.Helper()
	select {
	case l.say <- text:
	case <-time.After(30 * time.Second):
		t.Fatalf("the agent has no turn in which to say %q", text)
	}
}

// dialIn has an agent of this test's process serve id over c until the test ends.
func (f *fleet) dialIn(t *testing.T, at *daemon, id string, handle func(ctx context.Context, w *client.Work) error) {
	t.Helper()
	served := make(chan struct{})
	c := clientAt(t, at.url(), f.replicas[0].run(t, "dev", "token", "--unmask", "-o", "plain",
		"--sub", id, "--agent", id, "--scope", "arc.agent.receiver,arc.task.notify"))
	agent := &client.Agent{Client: c, IDs: []string{id}, Handle: handle, Grace: -1, Served: sync.OnceFunc(func() { close(served) })}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("agent %s: %v", id, err)
		}
	})
	select {
	case <-served:
	case <-time.After(30 * time.Second):
		t.Fatalf("agent %s does not get to serve", id)
	}
	for _, d := range f.replicas {
		others := clientAt(t, d.url(), f.token)
		eventually(t, "all replicas know the agent", func() bool {
			card, err := others.GetAgentCard(t.Context(), id)
			return err == nil && card.Status == arc.AgentActive
		})
	}
}

func (l *teller) handle(ctx context.Context, w *client.Work) error {
	for {
		select {
		case text, more := <-l.say:
			if !more {
				return nil
			}
			if err := w.Write(ctx, text); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// readChat gives the pieces of a chat's answer.
func readChat(events func(func(client.Event, error) bool), began func(chatID string)) *sightings {
	s := &sightings{come: make(chan sighting, 10_000), over: make(chan struct{})}
	go func() {
		defer close(s.over)
		for e, err := range events {
			s.last, s.err = e, err
			var chunk arc.ChatChunk
			if err == nil && e.Name == "stream" && e.Decode(&chunk) == nil {
				began(chunk.ChatID)
				s.come <- sighting{e.Seq, chunk.Message.Text(), time.Now()}
			}
		}
	}()
	return s
}

// TestChatAcrossReplicas has an agent at replica 2 answer a caller at replica 1, while
// replica 3 shows the same answer to somebody else. Replica 1 is killed in the midst of it;
// the caller goes on at replica 3. Both read each piece once.
func TestChatAcrossReplicas(t *testing.T) {
	const pieces = 200
	f := newFleet(t, "")
	agent := &teller{say: make(chan string)}
	f.dialIn(t, f.replicas[1], "live", agent.handle)
	front := newCrossing(t, f.replicas[0])
	caller, other := f.client(t), f.at(t, 2)
	caller.URL = front.URL

	chatID := make(chan string, 1)
	var once sync.Once
	asks := readChat(caller.StreamChat(t.Context(), "live", arc.StartChatParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "tell me"))}),
		func(id string) { once.Do(func() { chatID <- id }) })
	agent.tells(t, "piece 0")
	first := asks.until(t, "piece 0")
	watches := readChat(other.ResumeChat(t.Context(), "live", <-chatID, 0), func(string) {})
	readers := []*sightings{asks, watches}
	all := [][]sighting{first, watches.until(t, "piece 0")}
	took := make([][]time.Duration, 2)
	texts := []string{"piece 0"}
	for i := 1; i < pieces; i++ {
		if i == pieces/2 {
			front.lead(f.replicas[2])
			f.replicas[0].kill()
		}
		texts = append(texts, fmt.Sprint("piece ", i))
		said := time.Now()
		agent.tells(t, texts[i])
		for r, reader := range readers {
			all[r] = append(all[r], reader.until(t, texts[i])...)
			if i < pieces/2 {
				took[r] = append(took[r], all[r][len(all[r])-1].at.Sub(said))
			}
		}
	}
	close(agent.say)
	tell(t, "from a piece of an agent at replica 2 until its caller at replica 1 has it", took[0])
	tell(t, "until a reader at replica 3 has it", took[1])
	for r, reader := range readers {
		var got []string
		for _, s := range append(all[r], reader.rest(t)...) {
			got = append(got, s.text)
		}
		if !slices.Equal(got, texts) {
			t.Errorf("reader %d got %q, want each piece once", r, got)
		}
	}
}

// deaf ends the connections on which replicas listen, and those that they tell over.
func (f *fleet) deaf(t *testing.T) {
	t.Helper()
	pgtest.Exec(t, f.database.URL("postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'arcd hints'")
}

// TestListenersTerminated cuts off the replicas' hints in the midst of a stream, again and
// again: what happens at one still reaches the other, first by its look each second, then as
// soon as before.
func TestListenersTerminated(t *testing.T) {
	f := newFleet(t, "")
	writes, reads := f.at(t, 0), f.at(t, 1)
	task, err := writes.CreateTask(t.Context(), "live", arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "wait"))})
	if err != nil {
		t.Fatal(err)
	}
	reader := readTask(t.Context(), reads, "live", task.ID)
	var all []sighting
	var texts []string
	send := func() time.Duration {
		text := fmt.Sprint("message ", len(texts))
		texts = append(texts, text)
		sent := time.Now()
		if err := writes.SendTask(t.Context(), "live", arc.SendTaskParams{TaskID: task.ID, Message: ptr(arc.Text(arc.RoleUser, text))}); err != nil {
			t.Fatal(err)
		}
		all = append(all, reader.until(t, text)...)
		return all[len(all)-1].at.Sub(sent)
	}
	for round := range 3 {
		eventually(t, "hints carry", func() bool { return send() < 200*time.Millisecond })
		f.deaf(t)
		first := send()
		cut := time.Now()
		eventually(t, "hints carry again", func() bool { return send() < 200*time.Millisecond })
		t.Logf("round %d: without hints after %v; hints carry again after %v", round, first.Round(time.Millisecond), time.Since(cut).Round(time.Millisecond))
		if first > 5*time.Second {
			t.Errorf("without hints it took %v, want about a second at most", first)
		}
	}
	if _, err := writes.CancelTask(t.Context(), "live", arc.CancelTaskParams{TaskID: task.ID}); err != nil {
		t.Fatal(err)
	}
	checkWhole(t, append(all, reader.rest(t)...), texts)
}
