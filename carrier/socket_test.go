package carrier_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
)

// plug is a connection whose calls are answered when the test says so.
type plug struct {
	name  string
	calls chan *plugCall
}

type plugCall struct {
	carrier.Call
	answer  chan error // what Call gives
	settled func()
}

func newPlug(name string) *plug { return &plug{name, make(chan *plugCall, 100)} }

// Call waits for the test's answer, or for the end of ctx; it settles when the test
// answers.
func (p *plug) Call(ctx context.Context, c carrier.Call, _ func(string, json.RawMessage) error, settled func()) (json.RawMessage, error) {
	call := &plugCall{c, make(chan error, 1), settled}
	p.calls <- call
	select {
	case err := <-call.answer:
		settled()
		return json.RawMessage(`"` + p.name + `"`), err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// callEnd is how a call ended.
type callEnd struct {
	result string
	err    error
}

// calling makes a call and gives its end later.
func calling(ctx context.Context, t *testing.T, s *carrier.Sockets, id, method string) <-chan callEnd {
	t.Helper()
	line, ok := s.Line(id)
	if !ok {
		t.Fatalf("there is no line to %s", id)
	}
	ended := make(chan callEnd, 1)
	go func() {
		raw, err := line.Call(ctx, carrier.Call{Method: method})
		ended <- callEnd{string(raw), err}
	}()
	return ended
}

func TestSocketsShareTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var woken []string
		s := &carrier.Sockets{Wake: func(id string) {
			mu.Lock()
			defer mu.Unlock()
			woken = append(woken, id)
		}}
		if s.Room("a") != -1 || s.Seen("a") {
			t.Error("an agent is there that nobody serves")
		}
		one, two := newPlug("one"), newPlug("two")
		posts := []*carrier.Post{s.Join(one), s.Join(two)}
		posts[0].Serve([]string{"a"}, 1)
		posts[1].Serve([]string{"a", "b"}, 2)
		if s.Room("a") != 3 || s.Room("b") != 2 {
			t.Errorf("room for %d and %d", s.Room("a"), s.Room("b"))
		}
		var ends []<-chan callEnd
		for range 4 { // one more than there are places
			ends = append(ends, calling(t.Context(), t, s, "a", "task.create"))
			synctest.Wait()
		}
		if len(one.calls) != 1 || len(two.calls) != 2 || s.Room("a") != 0 || s.Room("b") != 0 {
			t.Errorf("%d and %d calls, room for %d and %d", len(one.calls), len(two.calls), s.Room("a"), s.Room("b"))
		}
		(<-one.calls).answer <- nil
		synctest.Wait()
		// The first went to the connection with more places, the second to the other.
		if got := <-ends[1]; got.result != `"one"` || got.err != nil {
			t.Errorf("the second call gave %+v", got)
		}
		synctest.Wait()
		if len(one.calls) != 1 { // the one that waited
			t.Error("the free place was not taken")
		}
		(<-one.calls).answer <- nil
		synctest.Wait()
		mu.Lock()
		seen := slices.Clone(woken)
		mu.Unlock()
		// Once for each Serve, and when there was room again for who had been told of none.
		if diff := cmp.Diff([]string{"a", "a", "b", "a"}, seen); diff != "" {
			t.Errorf("woken (-want +got):\n%s", diff)
		}
		for range 2 {
			(<-two.calls).answer <- nil
		}
		synctest.Wait()
	})
}

func TestSocketCallsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &carrier.Sockets{}
		p := newPlug("p")
		post := s.Join(p)
		post.Serve([]string{"a"}, 1)
		first := calling(t.Context(), t, s, "a", "chat.start")
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		gaveUp := calling(ctx, t, s, "a", "chat.start")
		late := calling(t.Context(), t, s, "a", "chat.start")
		synctest.Wait()
		why := errors.New("enough")
		cancel(why)
		if got := <-gaveUp; !errors.Is(got.err, why) {
			t.Errorf("who gave up got %+v", got)
		}
		if got := <-late; !errors.Is(got.err, arc.ErrUnavailable) { // after half a minute of the bubble's time
			t.Errorf("who waited got %+v", got)
		}
		next := calling(t.Context(), t, s, "a", "chat.message")
		synctest.Wait()
		post.Leave() // what it has in hand stays with it
		if got := <-next; !errors.Is(got.err, arc.ErrUnavailable) {
			t.Errorf("without a connection: %+v", got)
		}
		(<-p.calls).answer <- nil
		if got := <-first; got.err != nil {
			t.Errorf("the first call: %+v", got)
		}
		post.Serve([]string{"a"}, 1)
		if s.Room("a") != -1 {
			t.Error("who has left serves again")
		}
	})
}

// TestSocketPlaceOfACallThatIsCalledOff stays taken until the agent lets go of it.
func TestSocketPlaceOfACallThatIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &carrier.Sockets{}
		p := newPlug("p")
		s.Join(p).Serve([]string{"a"}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		end := calling(ctx, t, s, "a", "task.create")
		synctest.Wait()
		cancel()
		<-end
		if s.Room("a") != 0 {
			t.Error("the place is free before the agent has answered")
		}
		(<-p.calls).settled()
		if s.Room("a") != 1 {
			t.Error("the place is not free again")
		}
	})
}

func TestSocketLineStaysWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &carrier.Sockets{}
		one, two := newPlug("one"), newPlug("two")
		s.Join(one).Serve([]string{"a"}, 5)
		s.Join(two).Serve([]string{"a"}, 4)
		line, _ := s.Line("a")
		for _, method := range []string{"task.create", "task.send", "task.cancel"} {
			go func() { _, _ = line.Call(t.Context(), carrier.Call{Method: method}) }()
			synctest.Wait()
		}
		if len(one.calls) != 3 || len(two.calls) != 0 {
			t.Errorf("%d and %d calls", len(one.calls), len(two.calls))
		}
		if s.Room("a") != 8 {
			t.Errorf("room for %d: only work takes a place", s.Room("a"))
		}
		// Who has the work is not known: all are told.
		end := calling(t.Context(), t, s, "a", "chat.end")
		synctest.Wait()
		if len(one.calls) != 4 || len(two.calls) != 1 {
			t.Errorf("%d and %d calls", len(one.calls), len(two.calls))
		}
		for _, p := range []*plug{one, two} {
			for len(p.calls) > 0 {
				(<-p.calls).answer <- nil
			}
		}
		if got := <-end; got.err != nil {
			t.Errorf("chat.end gave %+v", got)
		}
	})
}

func TestSocketAgentsAreForgotten(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &carrier.Sockets{Now: func() time.Time { return now }, Taken: func(id string) bool { return id == "own" }}
	post := s.Join(newPlug("p"))
	post.Serve([]string{"b", "a"}, 1)
	post.Serve([]string{"b"}, 1)
	ids := func() (all []string) {
		for _, card := range s.Cards() {
			all = append(all, card.ID+" "+string(card.Status))
		}
		return all
	}
	if diff := cmp.Diff([]string{"a inactive", "b active"}, ids()); diff != "" {
		t.Errorf("cards (-want +got):\n%s", diff)
	}
	now = now.Add(24 * time.Hour)
	if s.Seen("a") || !s.Seen("b") || !slices.Equal(ids(), []string{"b active"}) {
		t.Errorf("after a day there are %v", ids())
	}
	if s.Refusal("own") == nil || s.Refusal("b") != nil {
		t.Error("the wrong ids are refused")
	}
}
