package transfer_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// whole is what an engine is.
type whole interface {
	store.Store
	store.Registry
}

// epoch is when the tests happen.
var epoch = time.UnixMilli(1_800_000_000_000).UTC()

func at(second int) time.Time { return epoch.Add(time.Duration(second) * time.Second) }

// texts takes the body of an agent as its name.
func texts(body []byte) ([4]string, error) { return [4]string{string(body)}, nil }

// fill gives a store something of everything, n threads of it. Names hold what texts
// of engines have trouble with.
func fill(t testing.TB, s whole, n int) {
	t.Helper()
	for i := range n {
		fillThread(t, s, i)
	}
	for i := range 20 {
		a := store.Agent{
			ID: fmt.Sprintf("agent-%02d", i), Type: "worker", Registered: at(i), Updated: at(i + 1), Seen: at(i + 2),
			Alive: i%2 == 0, Texts: [4]string{fmt.Sprintf("name%02d Grüße", i)}, Body: fmt.Appendf(nil, "name%02d Grüße", i),
		}
		if i%3 == 0 {
			a.Counts = []byte(`{"n":1}`)
		}
		stored, err := s.PutAgent(t.Context(), a)
		if err == nil && i%4 == 0 {
			_, err = s.PutAgent(t.Context(), stored)
		}
		if err == nil && i == 19 {
			err = s.DeleteAgent(t.Context(), a.ID, stored.Rev)
		}
		must(t, err)
		must(t, s.SetMark(t.Context(), store.Mark{Kind: "signing-key", Value: fmt.Sprintf("k\x00%d", i), Body: []byte{0, 1, byte(i)}}))
		_, err = s.Mark(t.Context(), store.Mark{Kind: "used", Value: a.ID, Expires: at(1000 + i)}, at(0))
		must(t, err)
		must(t, s.Revoke(t.Context(), store.Revocation{Kind: "jti", Value: "issuer\n" + a.ID, Before: at(i), Expires: at(900 + i)}))
	}
	entries := auditEntries(60)
	must(t, s.AppendAudit(t.Context(), entries[:40]))
	must(t, s.AppendAudit(t.Context(), entries[40:]))
	if _, err := s.PruneRegistry(t.Context(), at(0), at(10), 1000); err != nil {
		t.Fatal(err)
	}
}

// fillThread makes a thread with a history, and with some who are told of it.
func fillThread(t testing.TB, s whole, i int) {
	t.Helper()
	owner := fmt.Sprintf("issuer\nclient-%d", i%5)
	if i%11 == 0 {
		owner += "\x00\x01"
	}
	c := store.Change{
		Thread: store.Thread{
			ID: fmt.Sprintf("task-%05d", (i*7919)%100000), Kind: store.Task, Owner: owner, From: "caller", Agent: fmt.Sprintf("agent-%d", i%3),
			Status: "SUBMITTED", Priority: arc.PriorityNormal, Created: at(i), Updated: at(i), Ready: true, Rank: int64(i), Body: []byte(`{"a":1}`),
		},
		Events: []arc.Event{
			{Type: arc.TaskCreatedEvent, At: arc.At(at(i)), Data: json.RawMessage(`{"x":"` + strings.Repeat("é", i%40) + `"}`)},
			{Type: arc.NewMessageEvent, At: arc.At(at(i))},
		},
		Items: []store.Item{{Kind: store.MessageItem, Body: fmt.Appendf(nil, `{"n":%d}`, i)}},
		Key:   &store.Key{Owner: owner, Name: fmt.Sprintf("key-%d", i), Hash: []byte{1, 2, 3}, Expires: at(5000)},
	}
	if i%2 == 0 {
		c.Thread.Trace, c.Thread.Due, c.Key.Reply = fmt.Sprintf("trace-%d", i), at(4000+i), []byte("reply")
	}
	th, err := s.Commit(t.Context(), c)
	must(t, err)
	if i%3 == 0 {
		must(t, s.Subscribe(t.Context(), store.Subscription{
			ID: fmt.Sprintf("sub-%05d", i), Thread: th.ID, Owner: owner, Created: at(i), Cursor: int64(i % 2), Body: []byte("{}"),
		}, at(i)))
	}
	next := store.Change{Thread: th, Events: []arc.Event{{Type: "STATUS_CHANGE", At: arc.At(at(i + 1))}}, Wake: true}
	next.Thread.Ready, next.Thread.Status = false, "WORKING"
	if i%4 == 0 {
		next.Thread.Status, next.Thread.Ended, next.Thread.Due = "COMPLETED", at(i+1), time.Time{}
		next.Items = []store.Item{{Kind: store.ArtifactItem, Body: []byte(strings.Repeat("artifact ", 20))}}
	}
	_, err = s.Commit(t.Context(), next)
	must(t, err)
	if i%6 == 0 {
		must(t, s.AddDeliveries(t.Context(), []store.Delivery{{
			ID: fmt.Sprintf("dlv-%05d", i), Subscription: fmt.Sprintf("sub-%05d", i), Seq: 1, At: at(i), State: store.DeliveryFailed, Body: []byte("x"),
		}}))
	}
	if i%9 == 0 {
		_, err := s.ClaimSubscriptions(t.Context(), at(i+10), at(i+40), "lease", 1)
		must(t, err)
	}
}

// seen is what callers can read of a store.
type seen struct {
	Threads []store.Thread
	Events  map[string][]arc.Event
	Items   map[string][]store.Item
	Keys    map[string]*store.ReplayError
	Subs    []store.Subscription
	Sent    []store.Delivery
	Ready   []store.Thread
	Due     []store.Thread
	Agents  []store.Agent
	Hits    map[string][]string
	Marks   []store.Mark
	Revoked []store.Revocation
	Audit   []store.AuditEntry
}

// look reads all that fill has made.
func look(t testing.TB, s whole, n int) seen {
	t.Helper()
	ctx := t.Context()
	v := seen{Events: map[string][]arc.Event{}, Items: map[string][]store.Item{}, Keys: map[string]*store.ReplayError{}, Hits: map[string][]string{}}
	for i := range n {
		id := fmt.Sprintf("task-%05d", (i*7919)%100000)
		th, err := s.Thread(ctx, id)
		must(t, err)
		v.Threads = append(v.Threads, th)
		evs, gap, err := s.Events(ctx, id, 0, 100)
		must(t, err)
		if gap {
			t.Errorf("%s has a gap", id)
		}
		v.Events[id] = evs
		v.Items[id] = ok(s.Items(ctx, th))(t)
		name := fmt.Sprintf("key-%d", i)
		v.Keys[name] = ok(s.Replay(ctx, th.Owner, name, at(0)))(t)
	}
	owners := map[string]bool{}
	for _, th := range v.Threads {
		if owners[th.Owner] {
			continue
		}
		owners[th.Owner] = true
		v.Subs = append(v.Subs, ok(s.Subscriptions(ctx, store.SubscriptionQuery{Owner: th.Owner, Limit: 1000}))(t)...)
		v.Sent = append(v.Sent, ok(s.Deliveries(ctx, store.DeliveryQuery{Owner: th.Owner, Limit: 1000}))(t)...)
	}
	v.Ready = ok(s.Ready(ctx, store.ReadyQuery{Agent: "agent-1", Owners: 10, Each: 100}))(t)
	v.Due = ok(s.Due(ctx, at(10000), 1000))(t)
	v.Agents = ok(s.Agents(ctx, "", 1000))(t)
	for _, word := range []string{"name0", "grüß", "name13", "name19"} {
		for _, hit := range ok(s.SearchAgents(ctx, store.Search{Prefixes: []string{word}, Limit: 100}))(t) {
			v.Hits[word] = append(v.Hits[word], hit.ID)
		}
	}
	for _, kind := range []string{"signing-key", "used"} {
		v.Marks = append(v.Marks, ok(s.Marks(ctx, kind, at(0)))(t)...)
	}
	v.Revoked = ok(s.Revocations(ctx, at(0)))(t)
	v.Audit = ok(s.Audit(ctx, store.AuditQuery{Limit: 1000}))(t)
	v.Audit = append(v.Audit, ok(s.Audit(ctx, store.AuditQuery{Actor: "ann", From: at(20), To: at(40), Limit: 1000}))(t)...)
	return v
}

// ok gives what was read.
func ok[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, c interface{ Close() error }) {
	t.Helper()
	must(t, c.Close())
}

// auditEntries makes lines of an audit log, some of which are late.
func auditEntries(n int) []store.AuditEntry {
	entries := make([]store.AuditEntry, n)
	for i := range entries {
		entries[i] = store.AuditEntry{At: at(i - i%7), Event: "login", Outcome: "ok", Body: []byte(`{}`)}
		if i%2 == 0 {
			entries[i].Actor, entries[i].Agent = "ann", fmt.Sprintf("agent-%02d", i)
		}
	}
	return entries
}

func auditQuery(limit int) store.AuditQuery { return store.AuditQuery{Limit: limit} }
