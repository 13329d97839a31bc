package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// agent gives a new agent with all fields of its own. Its texts hold the words
// name, skill, about and rest, and the letters and digits of its id.
func agent(id string) store.Agent {
	return store.Agent{
		ID: id, Type: "worker", Registered: at(1), Updated: at(2), Seen: at(3), Alive: true,
		Counts: []byte("counts of " + id), Body: []byte("body of " + id),
		Texts: [4]string{id + " name", "skill", "about", "rest"},
	}
}

// put writes an agent, which must be accepted.
func put(t testing.TB, r store.Registry, a store.Agent) store.Agent {
	t.Helper()
	got, err := r.PutAgent(t.Context(), a)
	if err != nil {
		t.Fatalf("PutAgent of %s at rev %d: %v", a.ID, a.Rev, err)
	}
	return got
}

// seen gives an agent as it is read back.
func seen(a store.Agent) store.Agent {
	a.Texts = [4]string{}
	return a
}

// allAgents reads all agents, two at a time.
func allAgents(t testing.TB, r store.Registry) []store.Agent {
	t.Helper()
	var all []store.Agent
	for after := ""; ; after = all[len(all)-1].ID {
		page, err := r.Agents(t.Context(), after, 2)
		check(t, err)
		all = append(all, page...)
		if len(page) < 2 {
			return all
		}
	}
}

func testPutAgent(t *testing.T, r store.Registry) {
	a := agent("a")
	a.Seen = a.Seen.Add(300 * time.Microsecond).In(time.FixedZone("east", 3600))
	got := put(t, r, a)
	want := agent("a")
	want.Rev = 1
	same(t, "PutAgent", got, want)
	same(t, "Agents", allAgents(t, r), []store.Agent{seen(want)})

	want.Type, want.Registered, want.Updated = "other", at(11), at(12)
	want.Seen, want.Alive, want.Counts, want.Body = at(13), false, []byte("c"), []byte("b")
	got = put(t, r, want)
	want.Rev = 2
	same(t, "PutAgent of a change", got, want)
	same(t, "Agents after a change", allAgents(t, r), []store.Agent{seen(want)})

	bare := put(t, r, store.Agent{ID: "bare"})
	same(t, "an agent of zero values", bare, store.Agent{ID: "bare", Rev: 1})
	same(t, "Agents", allAgents(t, r), []store.Agent{seen(want), bare})

	// What is there becomes zero again.
	blank := put(t, r, store.Agent{ID: "a", Rev: 2})
	same(t, "Agents", allAgents(t, r), []store.Agent{blank, bare})
	same(t, "what a search finds", found(t, r, "", "name"), nil)
}

func testPutRefused(t *testing.T, r store.Registry) {
	first := put(t, r, agent("a"))
	a := put(t, r, first)
	put(t, r, agent("b"))
	wrong := agent("a")
	wrong.Body, wrong.Texts[0] = []byte("wrong"), "wrong"
	for rev, want := range map[int64]error{0: store.ErrExists, 1: store.ErrConflict, 3: store.ErrConflict, -1: store.ErrConflict} {
		wrong.Rev = rev
		if got, err := r.PutAgent(t.Context(), wrong); !errors.Is(err, want) {
			t.Errorf("PutAgent at rev %d: %+v, %v, want %v", wrong.Rev, got, err, want)
		}
	}
	absent := agent("absent")
	absent.Rev = 1
	if _, err := r.PutAgent(t.Context(), absent); !errors.Is(err, store.ErrConflict) {
		t.Errorf("update of an agent that is not there: %v, want ErrConflict", err)
	}
	upper := put(t, r, agent("A")) // ids differ in case
	same(t, "Agents", allAgents(t, r)[:2], []store.Agent{seen(upper), seen(a)})
	same(t, "what a search finds", found(t, r, "", "wrong"), nil)
}

// testPutRace lets 32 writers change one agent by compare-and-set.
func testPutRace(t *testing.T, r store.Registry) {
	const writers, each = 32, 4
	put(t, r, agent("a"))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; i < each; {
				as, err := r.Agents(t.Context(), "", 1)
				if err != nil || len(as) != 1 {
					t.Errorf("Agents: %v, %v", as, err)
					return
				}
				a := as[0]
				a.Body = append(slices.Clip(a.Body), byte(w))
				switch _, err = r.PutAgent(t.Context(), a); {
				case err == nil:
					i++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	a := allAgents(t, r)[0]
	same(t, "Rev", a.Rev, int64(writers*each+1))
	same(t, "number of changes kept", len(a.Body)-len(agent("a").Body), writers*each)
}

// testPutNewRace lets 32 callers register one id at once.
func testPutNewRace(t *testing.T, r store.Registry) {
	var wg sync.WaitGroup
	won := make(chan store.Agent, 32)
	for i := range 32 {
		wg.Go(func() {
			a := agent("a")
			a.Texts[0] = fmt.Sprintf("caller%02d", i)
			got, err := r.PutAgent(t.Context(), a)
			if err == nil {
				won <- got
			} else if !errors.Is(err, store.ErrExists) {
				t.Errorf("PutAgent: %v, want ErrExists", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d callers registered the id", len(won))
	}
	a := <-won
	same(t, "Agents", allAgents(t, r), []store.Agent{seen(a)})
	for i := range 32 {
		word := fmt.Sprintf("caller%02d", i)
		same(t, "whether "+word+" is found", len(found(t, r, "", word)) == 1, a.Texts[0] == word)
	}
}

func testDeleteAgent(t *testing.T, r store.Registry) {
	a := put(t, r, put(t, r, agent("a")))
	b := put(t, r, agent("b"))
	for _, rev := range []int64{0, 1, 3} {
		if err := r.DeleteAgent(t.Context(), "a", rev); !errors.Is(err, store.ErrConflict) {
			t.Errorf("DeleteAgent at rev %d: %v, want ErrConflict", rev, err)
		}
	}
	if err := r.DeleteAgent(t.Context(), "absent", 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("DeleteAgent of nothing: %v, want ErrNotFound", err)
	}
	same(t, "Agents after refusals", len(allAgents(t, r)), 2)
	check(t, r.DeleteAgent(t.Context(), "a", a.Rev))
	same(t, "Agents", allAgents(t, r), []store.Agent{seen(b)})
	same(t, "what a search finds", found(t, r, "", "name"), []string{"b"})
	if err := r.DeleteAgent(t.Context(), "a", a.Rev); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("second DeleteAgent: %v, want ErrNotFound", err)
	}
	if _, err := r.PutAgent(t.Context(), a); !errors.Is(err, store.ErrConflict) {
		t.Errorf("update of a deleted agent: %v, want ErrConflict", err)
	}
	check(t, r.Beat(t.Context(), []store.Beat{{ID: "a", Seen: at(50), Alive: true}}))
	same(t, "Agents after a late beat", allAgents(t, r), []store.Agent{seen(b)})

	again := agent("a")
	again.Seen, again.Counts = time.Time{}, nil
	again = put(t, r, again)
	same(t, "Rev of a new agent with a deleted id", again.Rev, int64(1))
	same(t, "Agents", allAgents(t, r), []store.Agent{seen(again), seen(b)})
}

// testDeleteRace lets writers and deleters meet: what a search finds is what is
// listed.
func testDeleteRace(t *testing.T, r store.Registry) {
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			a := agent(fmt.Sprint("a-", i%4))
			for range 4 {
				got, err := r.PutAgent(t.Context(), a)
				if errors.Is(err, store.ErrExists) {
					continue
				}
				if err == nil {
					err = r.DeleteAgent(t.Context(), got.ID, got.Rev)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	same(t, "Agents", allAgents(t, r), nil)
	same(t, "what a search finds", found(t, r, "", "name"), nil)
}

func testAgentPages(t *testing.T, r store.Registry) {
	var want []string
	for _, id := range []string{"m", "B", "a-2", "a-10", "a_1", "z", "é", "a"} {
		put(t, r, agent(id))
		want = append(want, id)
	}
	slices.Sort(want)
	for limit := 1; limit <= len(want)+1; limit++ {
		for i := range len(want) + 1 {
			after := ""
			if i > 0 {
				after = want[i-1]
			}
			page, err := r.Agents(t.Context(), after, limit)
			check(t, err)
			same(t, fmt.Sprintf("Agents(%q, %d)", after, limit), agentIDs(page), want[i:min(i+limit, len(want))])
		}
	}
	page, err := r.Agents(t.Context(), "b", 1) // between two ids
	check(t, err)
	same(t, "Agents after an id that is not there", agentIDs(page), []string{"m"})
}

func agentIDs(as []store.Agent) []string {
	var ids []string
	for i := range as {
		ids = append(ids, as[i].ID)
	}
	return ids
}

func testBeat(t *testing.T, r store.Registry) {
	a, b := put(t, r, agent("a")), put(t, r, agent("b"))
	check(t, r.Beat(t.Context(), nil))
	check(t, r.Beat(t.Context(), []store.Beat{
		{ID: "b", Seen: at(20), Alive: false, Counts: []byte("new")},
		{ID: "nobody", Seen: at(20), Alive: true},
		{ID: "a", Seen: at(20).Add(time.Microsecond), Alive: true},
	}))
	a.Seen = at(20)
	b.Seen, b.Alive, b.Counts = at(20), false, []byte("new")
	same(t, "Agents", allAgents(t, r), []store.Agent{seen(a), seen(b)})

	check(t, r.Beat(t.Context(), []store.Beat{
		{ID: "a", Seen: at(30), Counts: []byte("first")}, {ID: "a", Seen: at(40), Alive: true},
	}))
	a.Seen, a.Counts = at(40), []byte("first")
	same(t, "two beats of one agent", allAgents(t, r), []store.Agent{seen(a), seen(b)})
	same(t, "what a search finds", found(t, r, "", "name"), []string{"a", "b"})
	same(t, "Rev after beats", put(t, r, a).Rev, int64(2))
}

// testLateBeat: a beat that is older than what is stored changes the counts only.
func testLateBeat(t *testing.T, r store.Registry) {
	a := agent("a")
	a.Seen, a.Alive = at(20), false
	a = put(t, r, a)
	never := put(t, r, store.Agent{ID: "never"})
	beat := func(beats ...store.Beat) []store.Agent {
		check(t, r.Beat(t.Context(), beats))
		return allAgents(t, r)
	}
	same(t, "an older beat", beat(store.Beat{ID: "a", Seen: at(19), Alive: true}), []store.Agent{seen(a), never})
	a.Counts = []byte("late")
	same(t, "an older beat with counts", beat(store.Beat{ID: "a", Seen: at(19), Alive: true, Counts: a.Counts}),
		[]store.Agent{seen(a), never})
	same(t, "a beat without a time", beat(store.Beat{ID: "a", Alive: true}), []store.Agent{seen(a), never})
	a.Alive = true
	same(t, "a beat of the same time", beat(store.Beat{ID: "a", Seen: at(20), Alive: true}), []store.Agent{seen(a), never})

	a.Seen, a.Alive, a.Counts = at(30), false, []byte("third")
	same(t, "beats in disorder", beat(
		store.Beat{ID: "a", Seen: at(25), Alive: true, Counts: []byte("first")},
		store.Beat{ID: "a", Seen: at(30), Alive: true},
		store.Beat{ID: "a", Seen: at(30)},
		store.Beat{ID: "a", Seen: at(29), Alive: true, Counts: []byte("second")},
		store.Beat{ID: "a", Seen: at(1), Alive: true, Counts: []byte("third")},
	), []store.Agent{seen(a), never})

	never.Alive = true
	same(t, "no time after no time", beat(store.Beat{ID: "never", Alive: true}), []store.Agent{seen(a), never})
	never.Seen = at(1)
	same(t, "the first time", beat(store.Beat{ID: "never", Seen: at(1), Alive: true}), []store.Agent{seen(a), never})
}

func testBeats(t *testing.T, r store.Registry) {
	var want []store.Beat
	for i, id := range []string{"c", "a", "B", "d"} {
		a := agent(id)
		a.Seen, a.Alive = at(10*i), i%2 == 0
		put(t, r, a)
	}
	gone := put(t, r, agent("gone"))
	check(t, r.DeleteAgent(t.Context(), "gone", gone.Rev))
	put(t, r, store.Agent{ID: "never seen"})
	beats := func(since int) []store.Beat {
		bs, err := r.Beats(t.Context(), at(since))
		check(t, err)
		return bs
	}
	want = []store.Beat{
		{ID: "B", Seen: at(20), Alive: true, Counts: []byte("counts of B")},
		{ID: "a", Seen: at(10), Counts: []byte("counts of a")},
		{ID: "c", Seen: at(0), Alive: true, Counts: []byte("counts of c")},
		{ID: "d", Seen: at(30), Counts: []byte("counts of d")},
	}
	same(t, "Beats", beats(-1), want)
	same(t, "Beats of 10 and after", beats(10), []store.Beat{want[0], want[1], want[3]})
	same(t, "Beats after 30", beats(31), nil)
	check(t, r.Beat(t.Context(), []store.Beat{{ID: "c", Seen: at(50), Counts: []byte("new")}}))
	same(t, "Beats after a beat", beats(31), []store.Beat{{ID: "c", Seen: at(50), Counts: []byte("new")}})
}

// testBeatsRace lets many write beats of the same agents, each in an order of its own.
func testBeatsRace(t *testing.T, r store.Registry) {
	const agents, callers = 40, 8
	for i := range agents {
		put(t, r, agent(fmt.Sprintf("a-%02d", i)))
	}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for round := range 5 {
				beats := make([]store.Beat, agents)
				for i := range beats {
					n := (i*[]int{1, 3, 7, 9}[c%4] + 5*c) % agents
					beats[i] = store.Beat{ID: fmt.Sprintf("a-%02d", n), Seen: at(100 + 10*round + c), Alive: true}
				}
				if err := r.Beat(t.Context(), beats); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, a := range allAgents(t, r) {
		same(t, "Seen of "+a.ID, a.Seen, at(100+10*4+callers-1))
	}
}

// testBeatRace: beats and writes of one agent do not undo each other's fields,
// and no beat makes a write fail.
func testBeatRace(t *testing.T, r store.Registry) {
	a := put(t, r, agent("a"))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if err := r.Beat(t.Context(), []store.Beat{{ID: "a", Seen: at(100 + i), Alive: true}}); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 16 {
		a.Body = fmt.Append(nil, i)
		a = put(t, r, a)
	}
	wg.Wait()
	check(t, r.Beat(t.Context(), []store.Beat{{ID: "a", Seen: at(500)}}))
	a.Seen, a.Alive = at(500), false
	same(t, "Agents", allAgents(t, r), []store.Agent{seen(a)})
}
