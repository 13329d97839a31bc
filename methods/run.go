package methods

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// Run has the agents work, and keeps leases, deadlines and retention, until ctx
// ends; it then drains as [Service.Drain] does, at once.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	s.dispatching = ctx
	s.mu.Unlock()
	stop := s.store.Watch(s.heard)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		s.lookAll(ctx)
		s.every(ctx, lookAgain, s.lookAll)
	})
	wg.Go(func() { s.every(ctx, s.cfg.Lease/3, s.renew) })
	wg.Go(func() { s.every(ctx, min(time.Second, s.cfg.Lease/3), s.sweep) })
	if s.shared() {
		wg.Go(func() { s.every(ctx, catchUpEvery, s.catchUp) })
	}
	wg.Go(func() { s.every(ctx, time.Minute, s.prune) })
	wg.Go(func() { s.every(ctx, followEvery, s.tellFollows) })
	if s.shared() {
		wg.Go(func() { s.meetReplicas(ctx) })
	}
	if s.cfg.Webhooks != nil {
		wg.Go(func() { s.sendWebhooks(ctx) })
	}
	<-ctx.Done()
	wg.Wait()
	s.stopDispatch()
	gone, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel()
	s.Drain(gone)
	return nil
}

// heard takes what the store says that happened, here or at another replica.
func (s *Service) heard(h store.Hint) {
	if h.Thread != "" {
		s.hub.notify(h.Thread, h.Seq)
		if h.Elsewhere && !h.Follow {
			s.lookAt(h.Thread, h.Seq+1) // a change that made no event may be news too
		}
	}
	if h.Wake {
		poke(s.webhooks.poke)
	}
	switch {
	case h.Ready == "" || s.readyChat(h):
	case h.Elsewhere:
		s.readyElsewhere(h.Ready)
	default:
		if s.shared() {
			s.made.add(h.Thread, s.now())
		}
		s.Wake(h.Ready)
	}
	s.hinted(h)
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
// does not heed its context is waited for no longer than [stopGrace], and a store that
// does not answer a second more: what could not be stored is done again when its lease
// has run out. Streams end at once, without a done event, so that their readers come
// back elsewhere.
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
		if s.leftBehind.Load() {
			return
		}
		timer := time.NewTimer(stopGrace + time.Second)
		defer timer.Stop()
		select {
		case <-finished:
		case <-timer.C:
			s.leftBehind.Store(true)
			s.log.Warn().Str("event", "left_behind").Msg("the store does not answer; work is left behind")
		}
	}
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
	defer s.takeOn(th)()
	if th.rec.Deadline != 0 {
		timer := time.AfterFunc(time.UnixMilli(th.rec.Deadline).Sub(s.now()), func() { w.cancel(errDeadline) })
		defer timer.Stop()
	}
	err := errVanished
	defer func() { end(err) }()
	var turn *Turn
	if turn, err = s.taskTurn(w, th); err == nil {
		err = errVanished
		err = w.run(turn)
	}
	// A runner that finished although the server is stopping has finished.
	if cause := context.Cause(w.ctx); cause != nil && (err != nil || !errors.Is(cause, errDraining)) {
		err = cause
	}
}

func (s *Service) taskTurn(w *work, th *thread) (*Turn, error) {
	items := w.history
	if w.history = nil; len(items) != th.Items {
		var err error
		if items, err = w.items(th.Thread); err != nil {
			return nil, err
		}
	}
	w.given.Store(int64(len(items)))
	w.mu.Lock()
	w.artifacts = th.rec.Made
	w.mu.Unlock()
	task := th.view().Task
	t := &Turn{
		Task: &task, Agent: th.Agent, From: th.From, TraceID: th.Trace, Attempt: th.rec.Attempt,
		TraceParent: th.rec.TraceParent, Hops: th.rec.Hops + 1, Binding: th.rec.Binding, Notice: th.rec.Notice, w: w,
	}
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
	return w.persist(ctx, func() error {
		_, err := w.edit(ctx, func(th *thread) (*change, error) {
			now := s.now()
			ch := th.collect(&b, now)
			if len(parts) > 0 {
				th.begin(ch, now)
				th.say(ch, arc.Message{Role: arc.RoleAgent, Parts: parts}, now)
			}
			return ch.and(s.outcome(th, w, outcome, now)), nil
		})
		return err
	})
}

// say adds a message of the agent.
func (th *thread) say(ch *change, m arc.Message, now time.Time) {
	m.AgentID = th.Agent
	th.saidBy(ch, storedMessage(&m, now), now)
}

// saidBy adds an encoded message of the agent.
func (th *thread) saidBy(ch *change, body []byte, now time.Time) {
	th.rec.Messages++
	ch.item(store.MessageItem, body)
	ch.event(now, arc.NewMessageEvent, arc.EventData{
		Status: th.Status, Message: "the agent says", MessageContent: body,
	})
}

// outcome moves a task to where the end of its turn leads.
func (s *Service) outcome(th *thread, w *work, err error, now time.Time) *change {
	if w.reached.Load() {
		th.rec.Away, th.rec.Tries = 0, 0
	}
	question, asks := errors.AsType[*inputError](err)
	retry, retries := errors.AsType[*retryError](err)
	unsaved, again := errors.AsType[*unsavedError](err)
	away, unreachable := errors.AsType[*unreachableError](err)
	givenUp, gave := errors.AsType[*givenUpError](err)
	switch {
	case err == nil:
		return th.complete(now)
	case asks:
		return th.pause(question.question, int(w.given.Load()), now)
	case errors.Is(err, errDraining), errors.Is(err, errLost):
		th.rec.Attempt-- // it is not the task's fault
		return th.requeue(now, time.Time{}, "the server is stopping")
	case errors.Is(err, errDeadline):
		return th.fail(now, timeout())
	case unreachable:
		s.logAttempt(th, away.err)
		return s.wait(th, now, away.after)
	case gave:
		return th.givenUp(now, givenUp.reason)
	case retries && th.rec.Attempt < s.cfg.MaxAttempts:
		s.logAttempt(th, retry.err)
		return th.requeue(now, now.Add(max(retry.after, 0)), "another attempt is needed")
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

// complete ends a task well.
func (th *thread) complete(now time.Time) *change {
	ch := &change{}
	th.begin(ch, now)
	return ch.and(th.end(now, arc.TaskCompleted, arc.TaskCompletedEvent, arc.EventData{
		Message: "task completed", CompletedAt: arc.At(now),
		ArtifactCount: len(th.rec.Artifacts), MessageCount: th.rec.Messages,
	}))
}

// givenUp ends a task that its agent does not want to finish.
func (th *thread) givenUp(now time.Time, reason string) *change {
	return th.end(now, arc.TaskCanceled, arc.TaskCanceledEvent, arc.EventData{
		Message: "task canceled", CanceledAt: arc.At(now), CanceledBy: th.Agent, Reason: brief(reason),
	})
}

// wait has a task whose agent cannot be reached tried again, or ends it when that
// has gone on for long enough. The attempt does not count.
func (s *Service) wait(th *thread, now time.Time, after time.Duration) *change {
	th.rec.Attempt--
	if th.rec.Away == 0 {
		th.rec.Away = now.UnixMilli()
	}
	th.rec.Tries++
	end := time.UnixMilli(th.rec.Away).Add(s.cfg.Patience)
	if !now.Before(end) {
		return th.unreachable(now, "agent_unreachable")
	}
	// The last try is when patience ends, and never all at once.
	pause := max(min(time.Second<<min(th.rec.Tries-1, 6), time.Minute), after)
	pause += rand.N(pause/4 + 1)
	return th.requeue(now, earlier(now.Add(pause), end), "the agent cannot be reached")
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// pause has the task wait for its caller, unless that has already said more than
// the items that the runner was given. The question may have come as a message before,
// by notice, or come as one yet.
func (th *thread) pause(question arc.Message, given int, now time.Time) *change {
	ch := &change{}
	th.begin(ch, now)
	if !paired(&th.rec.Found, &th.rec.Noted, &question) {
		th.say(ch, question, now)
	}
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
	ch := &change{} // those who follow hear of it; what the task shows is the agent's own word
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
		return taskError(e.Code, e.Message, e.Reason())
	}
	return &arc.TaskError{Code: arc.CodeTaskFailed, Message: "the agent failed", Reason: "agent_error"}
}

// taskError is what an agent said of its failure, as it is kept.
func taskError(code arc.Code, message, reason string) *arc.TaskError {
	if code == 0 {
		code = arc.CodeTaskFailed
	}
	return &arc.TaskError{Code: code, Message: brief(message), Reason: brief(reason)}
}

// maxBrief is the longest sentence of an agent that is kept with a task, in bytes.
const maxBrief = 4 << 10

// brief gives an agent's sentence as it can be kept.
func brief(text string) string {
	if len(text) > maxBrief {
		text = text[:maxBrief]
	}
	return valid(text)
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
	switch {
	case errors.Is(err, context.Canceled):
		return
	case errors.Is(err, ErrOutage) && !s.sayOutage():
		return
	}
	s.log.Error().Err(err).Str("agent", agent).Msg("failed at " + doing)
}
