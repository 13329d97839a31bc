package methods

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// lookAgain is how often an agent's queue is looked at without a hint: hints may
// get lost.
const lookAgain = time.Second

// Run has the agents work, and keeps leases, deadlines and retention, until ctx
// ends; it then drains as [Service.Drain] does, at once.
func (s *Service) Run(ctx context.Context) error {
	stop := s.store.Watch(func(h store.Hint) {
		s.hub.notify(h.Thread)
		if a, ok := s.agents[h.Ready]; ok {
			poke(a.poke)
		}
	})
	defer stop()
	var wg sync.WaitGroup
	for _, a := range s.agents {
		if a.Runner != nil {
			wg.Go(func() { s.dispatch(ctx, a) })
		}
	}
	wg.Go(func() { s.every(ctx, s.cfg.Lease/3, s.renew) })
	wg.Go(func() { s.every(ctx, min(time.Second, s.cfg.Lease/3), s.sweep) })
	wg.Go(func() { s.every(ctx, time.Minute, s.prune) })
	<-ctx.Done()
	wg.Wait()
	gone, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel()
	s.Drain(gone)
	return nil
}

// every calls f now and then, until ctx ends.
func (s *Service) every(ctx context.Context, period time.Duration, f func(context.Context)) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f(ctx)
		}
	}
}

// Drain stops taking new work and lets running turns go on until ctx ends; it
// then interrupts them and gives their tasks back to the queue. A runner that
// does not heed its context is waited for no longer than [stopGrace]. Streams end
// at once, without a done event, so that their readers come back elsewhere.
func (s *Service) Drain(ctx context.Context) {
	s.drainOnce.Do(func() { close(s.draining) })
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	finished := make(chan struct{})
	go func() {
		s.runs.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		s.stop(errDraining)
		<-finished
	}
}

// dispatch claims an agent's ready tasks, best rank first, while it has free
// slots, and runs them.
func (s *Service) dispatch(ctx context.Context, a *agent) {
	slots := make(chan struct{}, a.Concurrency)
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.draining:
			return
		case <-a.poke:
		case <-ticker.C:
		}
		for s.claim(ctx, a, slots) {
		}
	}
}

// claim claims as many ready tasks as there are free slots and reports whether
// there may be more to claim now.
func (s *Service) claim(ctx context.Context, a *agent, slots chan struct{}) bool {
	free := cap(slots) - len(slots)
	if free == 0 || ctx.Err() != nil {
		return false
	}
	ready, err := s.store.Ready(ctx, a.id, free)
	if err != nil {
		s.logFailure(err, "reading an agent's queue", a.id)
		return false
	}
	var claims sync.WaitGroup
	var failed atomic.Bool
	for _, t := range ready {
		w := s.newWork(t.ID, a)
		w.inbox = make(chan delivery, inboxLength)
		if w.begin() != nil {
			w.cancel(errDraining)
			failed.Store(true)
			break
		}
		slots <- struct{}{}
		claims.Add(1)
		go func() {
			th, err := s.start(ctx, w)
			if err != nil && !errors.Is(err, errNotReady) {
				failed.Store(true) // so the queue is left alone for a while
				s.logFailure(err, "claiming a task", a.id)
			}
			claims.Done()
			if err != nil {
				w.release()
				<-slots
				return
			}
			defer func() {
				<-slots
				poke(a.poke)
			}()
			s.runTask(w, th)
		}()
	}
	claims.Wait()
	return len(ready) == free && !failed.Load()
}

var errNotReady = errors.New("the task is not ready")

// start claims a task: the commit that makes it WORKING under our lease.
func (s *Service) start(ctx context.Context, w *work) (*thread, error) {
	return s.edit(ctx, w.id, func(th *thread) (*change, error) {
		if !th.Ready || th.status().Terminal() {
			return nil, errNotReady
		}
		now := s.now()
		th.Ready = false
		th.rec.Lease, th.rec.LeaseEnd = w.lease, now.Add(s.cfg.Lease).UnixMilli()
		if th.rec.Attempt++; th.rec.Attempt > 1 {
			th.rec.Progress = nil // that was the attempt before
		}
		ch := &change{}
		if th.status() == arc.TaskSubmitted {
			th.Status = string(arc.TaskWorking)
			ch.event(now, arc.TaskStartedEvent, arc.EventData{
				Status: th.Status, Message: "the agent has started", StartedAt: arc.At(now),
			})
			ch.event(now, arc.StatusChangeEvent, arc.EventData{
				Status: th.Status, Message: "status is now WORKING",
				PreviousStatus: string(arc.TaskSubmitted), ChangedAt: arc.At(now),
			})
		}
		return ch, nil
	})
}

// runTask has the runner work on a claimed task and stores how it ended. It
// returns when the runner has, which is later than the end of the work if that
// was abandoned.
func (s *Service) runTask(w *work, th *thread) {
	ctx := context.WithoutCancel(w.ctx)
	end := w.endOnce(func(err error) {
		if err := s.finishTask(ctx, w, err); err != nil && !errors.Is(err, errLost) {
			s.logFailure(err, "ending a task", w.agent.id)
		}
	})
	if th.rec.Deadline != 0 {
		timer := time.AfterFunc(time.UnixMilli(th.rec.Deadline).Sub(s.now()), func() { w.cancel(errDeadline) })
		defer timer.Stop()
	}
	err := errVanished
	defer func() { end(err) }()
	var turn *Turn
	if turn, err = s.taskTurn(ctx, w, th); err == nil {
		err = errVanished
		err = w.run(turn)
	}
	// A runner that finished although the server is stopping has finished.
	if cause := context.Cause(w.ctx); cause != nil && (err != nil || !errors.Is(cause, errDraining)) {
		err = cause
	}
}

func (s *Service) taskTurn(ctx context.Context, w *work, th *thread) (*Turn, error) {
	items, err := s.store.Items(ctx, th.ID)
	if err != nil {
		return nil, err
	}
	w.given.Store(int64(len(items)))
	w.mu.Lock()
	w.artifacts = th.rec.Made
	w.mu.Unlock()
	task := th.view().Task
	t := &Turn{Task: &task, Agent: th.Agent, From: th.From, TraceID: th.Trace, Attempt: th.rec.Attempt, w: w}
	for _, item := range items {
		if item.Kind == store.MessageItem {
			var m arc.Message
			if err := json.Unmarshal(item.Body, &m); err != nil {
				return nil, err
			}
			t.History = append(t.History, m)
			continue
		}
		var a arc.Artifact
		if err := json.Unmarshal(item.Body, &a); err != nil {
			return nil, err
		}
		task.Artifacts = append(task.Artifacts, a)
	}
	task.Messages = t.History
	return t, nil
}

// finishTask stores what is left in the buffer and how the turn ended, in one
// commit.
func (s *Service) finishTask(ctx context.Context, w *work, outcome error) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	b := w.take(true)
	w.mu.Lock()
	parts := w.parts
	w.mu.Unlock()
	_, err := s.edit(ctx, w.id, w.fenced(func(th *thread) (*change, error) {
		now := s.now()
		ch := th.collect(&b, now)
		if len(parts) > 0 {
			th.say(ch, arc.Message{Role: arc.RoleAgent, Parts: parts}, now)
		}
		end := s.outcome(th, w, outcome, now)
		ch.events = append(ch.events, end.events...)
		ch.items = append(ch.items, end.items...)
		return ch, nil
	}))
	return err
}

// say adds a message of the agent.
func (th *thread) say(ch *change, m arc.Message, now time.Time) {
	m.AgentID = th.Agent
	body := storedMessage(&m, now)
	th.rec.Messages++
	ch.item(store.MessageItem, body)
	ch.event(now, arc.NewMessageEvent, arc.EventData{
		Status: th.Status, Message: "the agent says", MessageContent: body,
	})
}

// outcome moves a task to where the end of its turn leads.
func (s *Service) outcome(th *thread, w *work, err error, now time.Time) *change {
	question, asks := errors.AsType[*inputError](err)
	retry, retries := errors.AsType[*retryError](err)
	unsaved, again := errors.AsType[*unsavedError](err)
	switch {
	case err == nil:
		return th.end(now, arc.TaskCompleted, arc.TaskCompletedEvent, arc.EventData{
			Message: "task completed", CompletedAt: arc.At(now),
			ArtifactCount: len(th.rec.Artifacts), MessageCount: th.rec.Messages,
		})
	case asks:
		return th.pause(question.question, int(w.given.Load()), now)
	case errors.Is(err, errDraining), errors.Is(err, errLost):
		th.rec.Attempt-- // it is not the task's fault
		return th.requeue(now, time.Time{}, "the server is stopping")
	case errors.Is(err, errDeadline):
		return th.fail(now, timeout())
	case retries && th.rec.Attempt < s.cfg.MaxAttempts:
		s.logAttempt(th, retry.err)
		return th.requeue(now, now.Add(max(retry.after, 0)), "the agent asks for another attempt")
	case again && th.rec.Attempt < s.cfg.MaxAttempts:
		s.logAttempt(th, unsaved)
		return th.requeue(now, now.Add(lookAgain), "what the agent made could not be stored")
	case retries, again:
		s.logAttempt(th, err)
		return th.fail(now, attemptsExhausted(th.rec.Attempt))
	}
	s.logAttempt(th, err)
	return th.fail(now, agentError(err))
}

// pause has the task wait for its caller, unless that has already said more than
// the items that the runner was given.
func (th *thread) pause(question arc.Message, given int, now time.Time) *change {
	ch := &change{}
	th.say(ch, question, now)
	th.rec.Lease, th.rec.LeaseEnd = "", 0
	th.rec.Attempt = 0 // attempts count from one answer to the next
	th.rec.Made = len(th.rec.Artifacts)
	if th.rec.LastInput > given {
		th.Ready = true
		return ch
	}
	th.Status = string(arc.TaskInputRequired)
	th.rec.Paused = now.UnixMilli()
	ch.event(now, arc.TaskPausedEvent, arc.EventData{
		Status: th.Status, Message: "the agent needs input", PausedAt: arc.At(now), RequiredInput: encode(question),
	})
	ch.event(now, arc.StatusChangeEvent, arc.EventData{
		Status: th.Status, Message: "status is now INPUT_REQUIRED",
		PreviousStatus: string(arc.TaskWorking), ChangedAt: arc.At(now),
	})
	return ch
}

// requeue has the task run again, not before at if that is set.
func (th *thread) requeue(now, at time.Time, why string) *change {
	th.rec.Lease, th.rec.LeaseEnd, th.rec.RetryAt = "", 0, 0
	if th.Ready = !at.After(now); !th.Ready {
		th.rec.RetryAt = at.UnixMilli()
	}
	progress := arc.Progress{Note: why + "; queued again", At: arc.At(now)}
	if th.rec.Progress != nil {
		progress.Percent = th.rec.Progress.Percent
	}
	th.rec.Progress = &progress
	ch := &change{}
	ch.event(now, arc.ProgressEvent, progress)
	return ch
}

func (th *thread) fail(now time.Time, e *arc.TaskError) *change {
	return th.end(now, arc.TaskFailed, arc.TaskFailedEvent, arc.EventData{
		Message: "task failed", FailedAt: arc.At(now), Error: e,
	})
}

// agentError is what the caller may read of a runner's error.
func agentError(err error) *arc.TaskError {
	if e, ok := errors.AsType[*arc.Error](err); ok {
		return &arc.TaskError{Code: e.Code, Message: valid(e.Message), Reason: valid(e.Reason())}
	}
	return &arc.TaskError{Code: arc.CodeTaskFailed, Message: "the agent failed", Reason: "agent_error"}
}

func timeout() *arc.TaskError {
	return &arc.TaskError{Code: arc.CodeTaskTimeout, Message: "the task's deadline has passed", Reason: "deadline"}
}

func attemptsExhausted(n int) *arc.TaskError {
	e := &arc.TaskError{Code: arc.CodeTaskFailed, Reason: "attempts_exhausted"}
	e.Message = "the task was begun as often as it may be, and never came to an end"
	return e
}

func (s *Service) logAttempt(th *thread, err error) {
	s.log.Warn().Str("task", th.ID).Str("agent", th.Agent).Int("attempt", th.rec.Attempt).Err(err).Msg("an agent failed")
}

func (s *Service) logFailure(err error, doing, agent string) {
	if errors.Is(err, context.Canceled) {
		return
	}
	s.log.Error().Err(err).Str("agent", agent).Msg("failed at " + doing)
}
