package storetest

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// changes asks for what changed.
func changes(t testing.TB, r store.Registry, since int64) store.Changes {
	t.Helper()
	c, err := r.Changes(t.Context(), since)
	if err != nil {
		t.Fatalf("Changes(%d): %v", since, err)
	}
	return c
}

// testVersion: what holds for every engine, however many have it open. The version
// never falls, and nobody has to read all anew for nothing.
func testVersion(t *testing.T, r store.Registry) {
	first := changes(t, r, 0)
	same(t, "Changes(0)", first, store.Changes{Version: first.Version})
	if first.Version < 1 {
		t.Errorf("the first version is %d, and 0 has a meaning of its own", first.Version)
	}
	last := first.Version
	for i := range 5 {
		a := put(t, r, agent(fmt.Sprint("a-", i)))
		check(t, r.DeleteAgent(t.Context(), a.ID, a.Rev))
		c := changes(t, r, last)
		if c.Version < last || c.Whole {
			t.Fatalf("after version %d: %+v", last, c)
		}
		last = c.Version
	}
	same(t, "a version without changes", changes(t, r, last), store.Changes{Version: last})
}

// testChanges: what one replica writes, the other learns, once.
func testChanges(t *testing.T, a, b Shared) {
	version := changes(t, b, 0).Version
	next := func() store.Changes {
		t.Helper()
		c := changes(t, b, version)
		if version == c.Version {
			t.Fatal("there is no new version")
		}
		version = c.Version
		c.Version = 0
		same(t, "the same version again", changes(t, b, version), store.Changes{Version: version})
		return c
	}
	x := put(t, a, agent("x"))
	same(t, "a new agent", next(), store.Changes{Agents: []store.Agent{seen(x)}})
	x.Body = []byte("other")
	x, y := put(t, a, x), put(t, b, agent("y"))
	same(t, "two agents", next(), store.Changes{Agents: []store.Agent{seen(x), seen(y)}})

	mark := store.Mark{Kind: "k", Value: "v", Body: []byte("1"), Expires: never}
	check(t, a.SetMark(t.Context(), mark))
	once := store.Mark{Kind: "once", Value: "v"}
	same(t, "the first Mark", setMark(t, a, once, 0), nil)
	same(t, "two marks", next(), store.Changes{Marks: []store.Mark{mark, once}})
	same(t, "the second Mark", setMark(t, b, once, 0), &once)

	r := store.Revocation{Kind: "jti", Value: "v", Expires: at(50)}
	check(t, a.Revoke(t.Context(), r))
	same(t, "a revocation", next(), store.Changes{Revocations: []store.Revocation{r}})
	r.Expires = at(60)
	check(t, a.Revoke(t.Context(), r))
	same(t, "a revocation that was extended", next(), store.Changes{Revocations: []store.Revocation{r}})

	was := version
	if _, err := a.PutAgent(t.Context(), agent("x")); !errors.Is(err, store.ErrExists) {
		t.Fatalf("PutAgent: %v, want ErrExists", err)
	}
	if err := a.DeleteAgent(t.Context(), "x", 7); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("DeleteAgent: %v, want ErrConflict", err)
	}
	c := changes(t, b, was)
	c.Version = 0
	same(t, "after refusals", c, store.Changes{})

	version = changes(t, b, 0).Version
	check(t, a.Beat(t.Context(), []store.Beat{{ID: "x", Seen: at(90)}}))
	same(t, "the version after a beat", changes(t, b, 0).Version, version)
	x.Seen, x.Alive = at(90), false
	beats, err := b.Beats(t.Context(), at(80))
	check(t, err)
	same(t, "Beats", beats, []store.Beat{{ID: "x", Seen: at(90), Counts: x.Counts}})
	same(t, "SearchAgents", found(t, b, "", "name"), []string{"x", "y"})
}

// testChangesGone: what was deleted is gone, unless it has come back.
func testChangesGone(t *testing.T, a, b Shared) {
	first := changes(t, b, 0).Version
	for _, id := range []string{"x", "y"} {
		put(t, a, agent(id))
		check(t, a.SetMark(t.Context(), store.Mark{Kind: "k", Value: id}))
	}
	made := changes(t, b, first).Version
	check(t, a.DeleteAgent(t.Context(), "x", 1))
	_, err := a.Unmark(t.Context(), "k", "x")
	check(t, err)
	gone := store.Changes{Gone: []string{"x"}, Unmarked: []store.Mark{{Kind: "k", Value: "x"}}}
	c := changes(t, b, made)
	c.Version, gone.Version = 0, 0
	same(t, "after deletions", c, gone)

	y := store.Agent{ID: "y", Rev: 1}
	c = changes(t, b, first)
	same(t, "for who knew neither", agentRevs(c.Agents), agentRevs([]store.Agent{y}))
	same(t, "what is gone for them", c.Gone, gone.Gone)

	x := put(t, b, agent("x"))
	check(t, b.SetMark(t.Context(), store.Mark{Kind: "k", Value: "x", Body: []byte("2")}))
	c = changes(t, a, made)
	same(t, "after it came back", c, store.Changes{
		Version: c.Version, Agents: []store.Agent{seen(x)}, Marks: []store.Mark{{Kind: "k", Value: "x", Body: []byte("2")}},
	})
	if was, err := a.Unmark(t.Context(), "k", "none"); was || err != nil {
		t.Errorf("Unmark of nothing: %v, %v", was, err)
	}

	same(t, "a version that never was", changes(t, b, c.Version+1000).Whole, true)
	check(t, a.DeleteAgent(t.Context(), "y", 1))
	last := changes(t, b, 0).Version
	for _, hours := range []time.Duration{23, 26} {
		_, err = a.PruneRegistry(t.Context(), a.Now().Add(hours*time.Hour), time.Time{}, 1000)
		check(t, err)
		same(t, fmt.Sprintf("whether all must be read anew after %d hours", hours), changes(t, b, c.Version).Whole, hours > 24)
	}
	same(t, "whether those must who knew", changes(t, b, last).Whole, false)
}

func agentRevs(as []store.Agent) map[string]int64 {
	revs := make(map[string]int64)
	for i := range as {
		revs[as[i].ID] = as[i].Rev
	}
	return revs
}

// follower keeps agents and marks as Changes tells them.
type follower struct {
	version int64
	agents  map[string]int64
	marks   map[string]string
}

// follow takes over what is new. The registry was empty when it began.
func (f *follower) follow(t *testing.T, r store.Registry) error {
	c, err := r.Changes(t.Context(), f.version)
	if err != nil {
		return err
	}
	if c.Whole {
		return fmt.Errorf("after version %d all has to be read", f.version)
	}
	f.version = c.Version
	for _, id := range c.Gone {
		delete(f.agents, id)
	}
	for _, m := range c.Unmarked {
		delete(f.marks, m.Value)
	}
	maps.Copy(f.agents, agentRevs(c.Agents))
	for _, m := range c.Marks {
		f.marks[m.Value] = string(m.Body)
	}
	return nil
}

// testChangesRace: whoever follows the changes while all replicas write ends up with
// what is there.
func testChangesRace(t *testing.T, a, b Shared) {
	first := changes(t, a, 0).Version
	var writers, followers sync.WaitGroup
	done := make(chan struct{})
	all := make([]*follower, 2)
	for i, r := range []Shared{a, b} {
		f := &follower{version: first, agents: map[string]int64{}, marks: map[string]string{}}
		all[i] = f
		followers.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true
				default:
				}
				if err := f.follow(t, r); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for w := range 8 {
		r := []Shared{a, b}[w%2]
		writers.Go(func() { churn(t, r, w) })
	}
	writers.Wait()
	close(done)
	followers.Wait()
	want := agentRevs(allAgents(t, a))
	marked := make(map[string]string)
	for _, m := range marks(t, b, "k", 0) {
		marked[m.Value] = string(m.Body)
	}
	for i, f := range all {
		same(t, fmt.Sprint("agents of follower ", i), f.agents, want)
		same(t, fmt.Sprint("marks of follower ", i), f.marks, marked)
	}
}

// churn makes changes, some of which are refused because others were faster.
func churn(t *testing.T, r store.Registry, w int) {
	for i := range 25 {
		a := agent(fmt.Sprint("a-", (w+i)%6))
		got, err := r.PutAgent(t.Context(), a)
		if err == nil && i%3 > 0 {
			got, err = r.PutAgent(t.Context(), got)
		}
		if err == nil && i%3 == 2 {
			err = r.DeleteAgent(t.Context(), got.ID, got.Rev)
		}
		if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
			if i%4 == 0 {
				err = r.DeleteAgent(t.Context(), a.ID, 1)
			}
		}
		if err != nil && !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
			return
		}
		value := fmt.Sprint((w + i) % 5)
		if i%3 == 0 {
			_, err = r.Unmark(t.Context(), "k", value)
		} else {
			err = r.SetMark(t.Context(), store.Mark{Kind: "k", Value: value, Body: fmt.Append(nil, w, i)})
		}
		if err != nil {
			t.Error(err)
		}
	}
}
