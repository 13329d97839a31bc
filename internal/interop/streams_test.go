package interop_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

func ptr[T any](v T) *T { return &v }

// clientAt makes a client that ends with the test.
func clientAt(t *testing.T, url, token string) *client.Client {
	c := &client.Client{URL: url, Token: client.StaticToken(token)}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// streamCall is a method of the client that streams.
type streamCall[P any] func(ctx context.Context, to string, p P) iter.Seq2[client.Event, error]

// TestTaskStreamCut follows a running task's events through a proxy that breaks
// the connection again and again, in the middle of headers, events and lines:
// the client resumes, and sees what the log holds, each event once.
func TestTaskStreamCut(t *testing.T) {
	d := started(t, "")
	token := d.token(t, "--scope", allScopes)
	direct := clientAt(t, d.endpoint(), token)
	task, err := direct.CreateTask(t.Context(), "slow", arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "6"))})
	if err != nil {
		t.Fatal(err)
	}
	proxy := newCutter(t, d.addr, 100, 900, 1200, 1001, 1502, 2003)
	cut := clientAt(t, "http://"+proxy.addr+"/arc", token)
	got := followTask(t, cut, task.ID)
	want := followTask(t, direct, task.ID) // a replay without any cut
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the cut stream differs from the log:\n%s", diff)
	}
	for i, e := range got {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has number %d: %v", i+1, e.Seq, got)
		}
	}
	if n := proxy.connections(); n < 4 {
		t.Errorf("the stream took %d connections: it was hardly cut", n)
	}
}

// followTask gives a task's events up to its end.
func followTask(t *testing.T, c *client.Client, id string) []arc.Event {
	t.Helper()
	var events []arc.Event
	var last client.Event
	for e, err := range c.TaskEvents(t.Context(), "slow", arc.TaskEventsParams{TaskID: id}) {
		if err != nil {
			t.Fatalf("after %d events: %v", len(events), err)
		}
		if last = e; e.Name != "stream" {
			continue
		}
		var te arc.TaskEvent
		if err := e.Decode(&te); err != nil {
			t.Fatal(err)
		}
		if e.Seq != te.Seq {
			t.Errorf("the event's id is %d and its seq %d", e.Seq, te.Seq)
		}
		events = append(events, te.Event)
	}
	if last.Name != "done" {
		t.Errorf("the stream ends with %q, want done", last.Name)
	}
	return events
}

// TestChatStreamCut streams a chat's answer through the same kind of proxy: the
// pieces join to the whole answer, once. The cuts come while the agent speaks
// and after it has ended.
func TestChatStreamCut(t *testing.T) {
	const pieces = 400
	var answer strings.Builder
	for i := range pieces {
		fmt.Fprintf(&answer, "piece %d ", i+1)
	}
	d := started(t, "")
	token := d.token(t, "--scope", allScopes)
	for name, cuts := range map[string][]int64{
		"one cut":        {5000},
		"cuts of a line": {3001, 3002, 3003, 3004, 3005, 3006, 3007},
		"a late cut":     {40_000},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := newCutter(t, d.addr, cuts...)
			cut := clientAt(t, "http://"+proxy.addr+"/arc", token)
			chat := heard(t, cut.StreamChat, arc.StartChatParams{InitialMessage: ptr(arc.Text(arc.RoleUser, fmt.Sprint(pieces)))}, answer.String())
			if n := proxy.connections(); n <= len(cuts) {
				t.Errorf("the stream took %d connections for %d cuts", n, len(cuts))
			}
			// A second turn of the same chat, cut as well.
			proxy = newCutter(t, d.addr, cuts...)
			cut = clientAt(t, "http://"+proxy.addr+"/arc", token)
			again := heard(t, cut.StreamMessage, arc.SendChatParams{ChatID: chat, Message: ptr(arc.Text(arc.RoleUser, fmt.Sprint(pieces)))}, answer.String())
			if again != chat {
				t.Errorf("the second turn is of chat %q, want %q", again, chat)
			}
		})
	}
}

// heard streams an answer from the agent stream, compares the text, and gives
// the chat's id.
func heard[P any](t *testing.T, call streamCall[P], params P, want string) string {
	t.Helper()
	var text strings.Builder
	var names []string
	var seqs []int64
	var chat string
	for e, err := range call(t.Context(), "stream", params) {
		if err != nil {
			t.Fatalf("after %d bytes: %v", text.Len(), err)
		}
		names = append(names, e.Name)
		seqs = append(seqs, e.Seq)
		if e.Name != "stream" {
			continue
		}
		var chunk arc.ChatChunk
		if err := e.Decode(&chunk); err != nil {
			t.Fatal(err)
		}
		chat = chunk.ChatID
		text.WriteString(chunk.Message.Text())
	}
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("the pieces do not join to the answer:\n%s", diff)
	}
	if n := len(names); n == 0 || names[n-1] != "done" || slices.Index(names, "done") != n-1 {
		t.Errorf("the events are %v, want one done, at the end", names)
	}
	if !slices.IsSorted(seqs[:max(0, len(seqs)-1)]) {
		t.Errorf("the events' numbers go back: %v", seqs)
	}
	return chat
}
