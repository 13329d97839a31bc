package methods

import (
	"context"
	"errors"
	"slices"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// adopt finds out for whose work a task or chat is made, and refuses what was
// passed on too often. The parent is the one that the call names, if the caller is
// its agent or its owner; else the one that the calling agent works on in this
// process within the same trace, or for which it is in a chat.
//
// Errors: -42001 (parentTaskId), -42003 (the parent was canceled), -45006.
func (s *Service) adopt(ctx context.Context, c *rpc.Call, th *thread, parentID string) error {
	th.rec.Hops = max(c.Hops, 0)
	if parentID == "" && c.TraceID != "" && namesAgent(c.Principal, c.From) == nil {
		e := s.errand(c.From, c.TraceID)
		th.rec.Hops = max(th.rec.Hops, e.hops)
		if parentID = e.task; parentID == "" {
			th.Parent = s.stillOpen(ctx, e.parent)
		}
	}
	if parentID != "" {
		parent, err := s.parent(ctx, c, parentID)
		if err != nil {
			return err
		}
		th.Parent = parent.ID
		th.rec.Hops = max(th.rec.Hops, parent.rec.Hops+1)
	}
	if th.rec.Hops > s.cfg.MaxHops {
		return arc.Errorf(arc.CodeLoop, "the work was passed on through %d agents: they seem to call each other in a circle", th.rec.Hops).
			With("reason", "hop_limit").With("hops", th.rec.Hops).With("max_hops", s.cfg.MaxHops).
			With("traceId", c.TraceID).With("retryable", false)
	}
	return nil
}

// errand is for whose work an agent works on something, within a trace.
type errand struct {
	task   string // the task that it works on; "" in a chat
	parent string // of a chat: the task that it was made for
	owner  string
	hops   int
}

// takeOn lets work be found by its agent and trace, and gives the function that ends
// that: who calls as the agent, in the trace, calls for this work.
func (s *Service) takeOn(th *thread) (end func()) {
	if th.Trace == "" {
		return func() {}
	}
	e := &errand{task: th.ID, owner: th.Owner, hops: th.rec.Hops}
	if th.Kind == store.Chat {
		e.task, e.parent = "", th.Parent
	}
	key := th.Agent + "\n" + th.Trace
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errands[key] = append(s.errands[key], e)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errands[key] = slices.DeleteFunc(s.errands[key], func(other *errand) bool { return other == e })
		if len(s.errands[key]) == 0 {
			delete(s.errands, key)
		}
	}
}

// errand gives what an agent works on in a trace: of several what it took on last, but
// with the hops of the longest way, as nobody can tell which of them it calls for. If
// they belong to several owners it is nobody's: who only knows a trace must not become
// the parent of what is done for others.
func (s *Service) errand(agent, trace string) (last errand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.errands[agent+"\n"+trace]
	for _, e := range all {
		last = errand{e.task, e.parent, e.owner, max(last.hops, e.hops+1)}
	}
	if slices.ContainsFunc(all, func(e *errand) bool { return e.owner != last.owner }) {
		last.task, last.parent = "", ""
	}
	return last
}

// stillOpen gives the id of a task if that is open, else "": a chat that was made for
// it may go on without it.
func (s *Service) stillOpen(ctx context.Context, id string) string {
	if id == "" {
		return ""
	}
	if t, err := s.store.Thread(ctx, id); err != nil || !t.Ended.IsZero() {
		return ""
	}
	return id
}

// parent reads the task that a call is made for.
func (s *Service) parent(ctx context.Context, c *rpc.Call, id string) (*thread, error) {
	t, _, err := s.store.Recent(ctx, id) // if it is canceled meanwhile, orphan finds out
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	mine := err == nil && (t.Owner == c.Principal.Owner() || t.Agent == c.From && namesAgent(c.Principal, c.From) == nil)
	if !mine || t.Kind != store.Task {
		return nil, arc.Errorf(arc.CodeTaskNotFound, "there is no such task as parentTaskId names").
			With("taskId", id).With("field", "parentTaskId").With("retryable", false)
	}
	if t.Status == string(arc.TaskCanceled) {
		return nil, parentCanceled(id)
	}
	return decode(t)
}

// maxDescendants bounds how much one cascade ends.
const maxDescendants = 10_000

// cancelChildren cancels the open tasks, and closes the chats, that were made for a
// task, those made for them, and so on, up to left. The task itself must have ended:
// what is made for it from now on finds that out by itself ([Service.orphan]), so
// nothing slips through, and a cascade that was cut short can be made whole.
func (s *Service) cancelChildren(ctx context.Context, id, by string, left *int) error {
	const page = 100
	for after := ""; ; {
		children, err := s.store.Children(ctx, id, after, page)
		if err != nil {
			return err
		}
		for _, t := range children {
			if t.Ended.IsZero() {
				if *left--; *left < 0 {
					return arc.Errorf(arc.CodeInternal, "too much was made for the task to end it in one go; cancel it again with cascade for the rest").
						With("taskId", id).With("reason", "cascade_limit").With("retryable", true)
				}
				if err := s.cancelChild(ctx, t, by); err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
			if err := s.cancelChildren(ctx, t.ID, by, left); err != nil {
				return err
			}
		}
		if len(children) < page {
			return nil
		}
		after = children[page-1].ID
	}
}

// orphan ends a new task or chat whose parent was canceled while it was made: the
// cascade may not have seen it. -42003.
func (s *Service) orphan(ctx context.Context, c *rpc.Call, t store.Thread) error {
	if t.Parent == "" {
		return nil
	}
	parent, err := s.store.Thread(ctx, t.Parent)
	if err != nil || parent.Status != string(arc.TaskCanceled) {
		return nil // nor if nobody can tell
	}
	if err := s.cancelChild(context.WithoutCancel(ctx), t, c.From); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return parentCanceled(t.Parent)
}

func parentCanceled(id string) error {
	return arc.Errorf(arc.CodeTaskCanceled, "the task that this is for was canceled").
		With("taskId", id).With("field", "parentTaskId").With("retryable", false)
}

// orphaned says why what was made for a canceled task ended.
const orphaned = "the task that it was made for was canceled"

// cancelChild ends one task or chat, if it is still open.
func (s *Service) cancelChild(ctx context.Context, t store.Thread, by string) error {
	open, lease := false, ""
	th, err := s.edit(ctx, t.ID, func(th *thread) (*change, error) {
		lease = th.rec.Lease
		if open = th.Ended.IsZero(); !open {
			return nil, nil
		}
		if t.Kind == store.Chat {
			ch := &change{}
			s.closeChat(th, ch, s.now(), orphaned)
			return ch, nil
		}
		return th.cancel(s.now(), by, orphaned), nil
	})
	switch {
	case err != nil || !open:
		return err
	case t.Kind == store.Chat:
		s.interrupt(t.ID, errClosed)
		s.endElsewhere(th, orphaned)
	default:
		s.callOff(th, lease, &canceledError{orphaned})
	}
	return nil
}
