package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store"
)

// hookedStore lets tests come between the registry and its store.
type hookedStore struct {
	store.Registry
	putAgent func() error     // before each PutAgent; nil: nothing
	setMark  func(store.Mark) // before each SetMark; nil: nothing

	deleteAgent func() // before each DeleteAgent; nil: nothing
	beat        func() // before each Beat; nil: nothing

	appendAudit func() error // before each AppendAudit; nil: nothing
	changes     func() error // before each Changes; nil: nothing
}

func (h *hookedStore) Changes(ctx context.Context, since int64) (store.Changes, error) {
	if h.changes != nil {
		if err := h.changes(); err != nil {
			return store.Changes{}, err
		}
	}
	return h.Registry.Changes(ctx, since)
}

func (h *hookedStore) PutAgent(ctx context.Context, a store.Agent) (store.Agent, error) {
	if h.putAgent != nil {
		if err := h.putAgent(); err != nil {
			return a, err
		}
	}
	return h.Registry.PutAgent(ctx, a)
}

func (h *hookedStore) SetMark(ctx context.Context, m store.Mark) error {
	if h.setMark != nil {
		h.setMark(m)
	}
	return h.Registry.SetMark(ctx, m)
}

// asks tells how a request for a temp token ends.
func (w *world) asks(id, key string) error {
	_, err := w.reg.RequestTempToken(w.t.Context(), nobody(), arc.TempTokenParams{AgentID: id, AgentType: "testing", AgentKey: key})
	return err
}

// validated gets a validated token for the holder of a temp token.
func (w *world) validated(temp *registry.Caller, id string) *registry.Caller {
	w.t.Helper()
	passed, err := w.reg.ValidateCompliance(w.t.Context(), temp, arc.ComplianceParams{
		AgentID: id, AgentType: "testing", Endpoint: "http://127.0.0.1:9/agent", Capabilities: []string{"data-processing"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.caller(*passed.ValidatedToken)
}

// A temp token from before its agent was unregistered brings no second agent onto
// the key, which is another's by then (flaw W4).
func TestW4OldTempTokenTakesNoKeyBack(t *testing.T) {
	w := start(t, nil)
	old := w.caller(w.temp("agent-1", "key-1"))
	if _, err := w.reg.Unregister(t.Context(), w.register("agent-1", "key-1"), "agent-1"); err != nil {
		t.Fatal(err)
	}
	w.register("agent-2", "key-1")
	_, err := w.reg.Register(t.Context(), old, form("agent-1"))
	wantProblem(t, err, arc.ProblemRegistration, "AGENT_KEY_IN_USE")
	if err := w.asks("agent-2", "key-1"); err != nil {
		t.Errorf("the key's owner: %v", err)
	}
}

// A registration holds its key, however late it comes: within the leeway of a temp
// token, and with a validated one that outlives it (flaw W4).
func TestW4LateRegistrationHoldsItsKey(t *testing.T) {
	for name, late := range map[string]func(*world) *registry.Caller{
		"leeway": func(w *world) *registry.Caller {
			c := w.caller(w.temp("agent-1", "key-1"))
			w.clock.pass(15*time.Minute + 10*time.Second)
			return c
		},
		"validated": func(w *world) *registry.Caller {
			temp := w.caller(w.temp("agent-1", "key-1"))
			w.clock.pass(14 * time.Minute)
			c := w.validated(temp, "agent-1")
			w.clock.pass(4 * time.Minute)
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, nil)
			if _, err := w.reg.Register(t.Context(), late(w), form("agent-1")); err != nil {
				t.Fatal(err)
			}
			wantProblem(t, w.asks("agent-2", "key-1"), arc.ProblemRegistration, "AGENT_KEY_IN_USE")
		})
		t.Run(name+", too late", func(t *testing.T) {
			w := start(t, nil)
			c := late(w)
			w.register("agent-2", "key-1")
			_, err := w.reg.Register(t.Context(), c, form("agent-1"))
			wantProblem(t, err, arc.ProblemRegistration, "AGENT_KEY_IN_USE")
		})
	}
}

// Another temp token for an agent that is registered leaves its hold on the key
// without an end.
func TestPinOfARegistrationStays(t *testing.T) {
	w := start(t, nil)
	w.register("agent-1", "key-1")
	w.temp("agent-1", "key-1")
	w.clock.pass(time.Hour)
	wantProblem(t, w.asks("agent-2", "key-1"), arc.ProblemRegistration, "AGENT_KEY_IN_USE")
}

// A registration that could not be stored keeps nobody else off the key.
func TestFailedRegistrationLeavesNoPin(t *testing.T) {
	w := start(t, func(c *registry.Config) { c.Alone = true })
	w.hooks = &hookedStore{putAgent: func() error { return errors.New("disk full") }}
	w.restart()
	if _, err := w.reg.Register(t.Context(), w.caller(w.temp("agent-1", "key-1")), form("agent-1")); err == nil {
		t.Fatal("registered")
	}
	w.hooks.putAgent = nil
	w.register("agent-2", "key-1")
	wantProblem(t, w.asks("agent-1", "key-1"), arc.ProblemRegistration, "AGENT_KEY_IN_USE")
}
