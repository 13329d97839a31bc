package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// caller is one of those who use the place, one call after the other.
type caller struct {
	place  *place
	book   *ledger
	hooks  *receiver
	owner  int
	name   string
	c      *client.Client
	rng    *rand.Rand
	made   int
	listed map[string]bool // ids that lists of its owner had
}

// patient is how long one thing that a caller does may take, faults included.
const patient = 3 * time.Minute

// acts are what callers do, and how often.
var acts = []struct {
	weight int
	do     func(*caller, context.Context)
}{
	{30, (*caller).echo}, {25, (*caller).read}, {8, (*caller).follow}, {6, (*caller).question}, {6, (*caller).chat},
	{6, (*caller).live}, {5, (*caller).twice}, {5, (*caller).cancel}, {5, (*caller).list}, {4, (*caller).hook},
}

// work does one thing after the other until ctx ends; what it is at then it ends.
func (c *caller) work(ctx context.Context, pause time.Duration) {
	all := 0
	for _, a := range acts {
		all += a.weight
	}
	for ctx.Err() == nil {
		n := c.rng.IntN(all)
		for _, a := range acts {
			if n -= a.weight; n < 0 {
				within, cancel := context.WithTimeout(context.WithoutCancel(ctx), patient)
				a.do(c, within)
				cancel()
				break
			}
		}
		rest(ctx, time.Duration(c.rng.Int64N(int64(pause)+1)))
	}
}

// rest waits, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// mayRepeat tells whether an error says that the same call may be made again.
func mayRepeat(err error) bool {
	if e, ok := errors.AsType[*arc.Error](err); ok {
		if again, said := e.Details["retryable"].(bool); said {
			return again
		}
	}
	return errors.Is(err, arc.ErrUnavailable) || errors.Is(err, arc.ErrTimeout) || errors.Is(err, arc.ErrRateLimited) ||
		errors.Is(err, context.DeadlineExceeded)
}

// failed tells whether a call failed. What its caller is not told to repeat is a
// violation, unless it is one of the fine ones.
func (c *caller) failed(what string, began time.Time, err error, fine ...error) bool {
	took := time.Since(began)
	if err == nil {
		c.book.count(what, 1)
		c.book.mu.Lock()
		c.book.slowest = max(c.book.slowest, took)
		c.book.mu.Unlock()
		return false
	}
	for _, f := range fine {
		if errors.Is(err, f) {
			return true
		}
	}
	if !mayRepeat(err) && !(c.book.excused.Load() && errors.Is(err, arc.ErrInternal)) {
		c.book.wrong("%s: %s by %s: answered with what must not be repeated: %v", what, owners[c.owner], c.name, err)
		return true
	}
	how := err.Error()
	if e, ok := errors.AsType[*arc.Error](err); ok {
		how = fmt.Sprintf("%d %s", e.Code, e.Reason())
	} else if len(how) > 60 {
		how = "…" + how[len(how)-60:]
	}
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	c.book.retries[what+": "+how]++
	return true
}

// create gives an agent a task. text "": the key.
func (c *caller) create(ctx context.Context, agent, text string) *job {
	c.made++
	j := &job{owner: c.owner, agent: agent, key: fmt.Sprintf("%s, %s, task %d", owners[c.owner], c.name, c.made), text: text}
	if text == "" {
		j.text = j.key
	}
	began := time.Now()
	task, err := c.c.CreateTask(ctx, agent, j.params())
	if !c.failed("task.create", began, err) {
		j.id = task.ID
	}
	return j
}

func (j *job) params() arc.CreateTaskParams {
	return arc.CreateTaskParams{InitialMessage: ask(j.text), IdempotencyKey: j.key}
}

func (c *caller) echo(ctx context.Context) { c.book.enter(c.create(ctx, "echo", "")) }

func (c *caller) live(ctx context.Context) { c.book.enter(c.create(ctx, "live", "")) }

// twice makes the same task three times at once, most likely at three replicas.
func (c *caller) twice(ctx context.Context) {
	c.made++
	j := &job{owner: c.owner, agent: "echo", key: fmt.Sprintf("%s, %s, task %d at once", owners[c.owner], c.name, c.made)}
	j.text = j.key
	var calls sync.WaitGroup
	var ids [3]string
	for i := range ids {
		calls.Go(func() {
			began := time.Now()
			if task, err := c.c.CreateTask(ctx, "echo", j.params()); !c.failed("task.create at once", began, err) {
				ids[i] = task.ID
			}
		})
	}
	calls.Wait()
	for _, id := range ids {
		if id != "" && j.id != "" && id != j.id {
			c.book.wrong("one key, two tasks: %s is %s and %s", j.key, j.id, id)
		}
		j.id = max(j.id, id)
	}
	c.book.enter(j)
}

// read reads a task, which must be there if it is of the same owner.
func (c *caller) read(ctx context.Context) {
	j := c.book.pick(c.rng.Int())
	switch {
	case j == nil:
		return
	case j.owner != c.owner:
		c.trespass(ctx, j)
		return
	}
	began := time.Now()
	task, err := c.c.GetTask(ctx, j.agent, arc.GetTaskParams{TaskID: j.id})
	if errors.Is(err, arc.ErrNotFound) {
		c.book.wrong("lost: task %s (%s) was acknowledged and is not there", j.id, j.key)
	} else if !c.failed("task.info", began, err) && (task.ID != j.id || len(task.Messages) == 0 || task.Messages[0].Text() != j.text) {
		c.book.wrong("task %s (%s) is read as %s with %v", j.id, j.key, task.ID, task.Messages)
	}
}

// trespass tries what only the owner of a task may do. For others it is not there.
func (c *caller) trespass(ctx context.Context, j *job) {
	const what = "calls about tasks of somebody else, in vain"
	began := time.Now()
	var err error
	switch c.rng.IntN(4) {
	case 0:
		_, err = c.c.GetTask(ctx, j.agent, arc.GetTaskParams{TaskID: j.id})
	case 1:
		err = c.c.SendTask(ctx, j.agent, arc.SendTaskParams{TaskID: j.id, Message: ask("of " + c.name), IdempotencyKey: fmt.Sprint(c.name, c.rng.Uint64())})
	case 2:
		_, err = c.c.CancelTask(ctx, j.agent, arc.CancelTaskParams{TaskID: j.id})
	case 3:
		for _, e := range c.c.TaskEvents(ctx, j.agent, arc.TaskEventsParams{TaskID: j.id}) {
			if err = e; err == nil {
				break
			}
		}
	}
	switch {
	case err == nil:
		c.book.wrong("ownership: %s reached task %s of %s", owners[c.owner], j.id, owners[j.owner])
	case errors.Is(err, arc.ErrNotFound):
		c.book.count(what, 1)
	default:
		c.failed(what, began, err)
	}
}

// list reads some pages, and keeps what was on them.
func (c *caller) list(ctx context.Context) {
	p := arc.ListTasksParams{Limit: 1 + c.rng.IntN(100)}
	for range 1 + c.rng.IntN(3) {
		began := time.Now()
		page, err := c.c.ListTasks(ctx, "echo", p)
		if c.failed("task.list", began, err) {
			return
		}
		for _, t := range page.Tasks {
			c.listed[t.ID] = true
		}
		if p.Cursor = page.NextCursor; p.Cursor == "" {
			return
		}
	}
}

// cancel makes a task of ten seconds and cancels it.
func (c *caller) cancel(ctx context.Context) {
	j := c.create(ctx, "slow", "50")
	if j.id != "" {
		rest(ctx, time.Duration(c.rng.IntN(500))*time.Millisecond)
		j.cancel = 1
		began := time.Now()
		if _, err := c.c.CancelTask(ctx, j.agent, arc.CancelTaskParams{TaskID: j.id}); !c.failed("task.cancel", began, err, arc.ErrConflict) {
			j.cancel = 2
		}
	}
	c.book.enter(j)
}

// send says something to a task, with a key.
func (c *caller) send(ctx context.Context, j *job, text string) {
	began := time.Now()
	p := arc.SendTaskParams{TaskID: j.id, Message: ask(text), IdempotencyKey: j.key + ": " + text}
	err := c.c.SendTask(ctx, j.agent, p)
	j.said = append(j.said, saying{text, !c.failed("task.send", began, err, arc.ErrConflict)})
}

// follow makes a task of half a second or more, says something to it, and reads its
// events to the end.
func (c *caller) follow(ctx context.Context) {
	j := c.create(ctx, "slow", fmt.Sprint(2+c.rng.IntN(8)))
	if j.id != "" {
		for n := range c.rng.IntN(3) {
			c.send(ctx, j, fmt.Sprintf("word %d for %s", n, j.key))
		}
		c.stream(ctx, j, func(string) {})
	}
	c.book.enter(j)
}

// question makes a task that asks something, and answers when it does.
func (c *caller) question(ctx context.Context) {
	j := c.create(ctx, "input", "")
	if j.id != "" {
		c.stream(ctx, j, func(event string) {
			if !j.answered && strings.Contains(event, string(arc.TaskInputRequired)) {
				j.answered = true
				c.send(ctx, j, "answer of "+j.key)
			}
		})
	}
	c.book.enter(j)
}

// stream reads a task's events to the end.
func (c *caller) stream(ctx context.Context, j *job, look func(event string)) {
	began := time.Now()
	var view []seen
	defer func() { j.views = append(j.views, view) }()
	for e, err := range c.c.TaskEvents(ctx, j.agent, arc.TaskEventsParams{TaskID: j.id}) {
		if err != nil {
			c.failed("task.events", began, err)
			return
		}
		if e.Name != "stream" {
			continue
		}
		if e.Seq != int64(len(view)+1) {
			c.book.wrong("a reader of task %s (%s) got event %d behind %d others", j.id, j.key, e.Seq, len(view))
		}
		view = append(view, seen{e.Seq, string(e.Data)})
		look(string(e.Data))
	}
	c.book.count("task.events to the end", 1)
}

// chat asks for an answer in pieces.
func (c *caller) chat(ctx context.Context) {
	pieces := 3 + c.rng.IntN(60)
	t := &talk{owner: c.owner, agent: []string{"stream", "live"}[c.rng.IntN(2)]}
	for i := range pieces {
		t.want += fmt.Sprintf("piece %d ", i+1)
	}
	began, got, last := time.Now(), "", int64(0)
	var failure error
	for e, err := range c.c.StreamChat(ctx, t.agent, arc.StartChatParams{InitialMessage: ask(fmt.Sprint(pieces))}) {
		if err != nil {
			failure = err
			continue
		}
		var chunk arc.ChatChunk
		if e.Name == "stream" && e.Decode(&chunk) == nil {
			if e.Seq <= last { // pieces that were stored together have the number of the last
				c.book.wrong("a reader of chat %s got piece %d behind %d", chunk.ChatID, e.Seq, last)
			}
			t.id, last = chunk.ChatID, e.Seq
			got += chunk.Message.Text()
		}
	}
	if !strings.HasPrefix(t.want, got) {
		c.book.wrong("chat %s said %q, which is no beginning of %q", t.id, got, t.want)
	}
	if e, ok := errors.AsType[*arc.Error](failure); ok && e.Reason() == "gap" {
		// The replica was killed before it had stored the last pieces that this reader saw.
		c.book.count("chats whose last pieces were lost with a replica, as their readers were told", 1)
	} else if t.whole = !c.failed("chat.start", began, failure); t.whole && got != t.want {
		c.book.wrong("chat %s is done after %q, want %q", t.id, got, t.want)
	}
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	c.book.talks = append(c.book.talks, t)
}

// hook has the receiver told of a task.
func (c *caller) hook(ctx context.Context) {
	j := c.create(ctx, "slow", fmt.Sprint(2+c.rng.IntN(6)))
	defer func() { c.book.enter(j) }()
	if j.id == "" {
		return
	}
	path := fmt.Sprintf("/%d/%s/%d", c.owner, c.name, c.made)
	began := time.Now()
	sub, err := c.c.SubscribeTask(ctx, j.agent, arc.SubscribeTaskParams{TaskID: j.id, CallbackURL: c.hooks.URL + path, Events: hookEvents})
	if c.failed("task.subscribe", began, err, arc.ErrConflict) {
		return
	}
	h := &hook{id: sub.ID, path: path, secret: sub.Secret, head: -1}
	c.hooks.expect(path, sub.Secret)
	j.sub = h
	follow := false
	for e, err := range c.c.TaskEvents(ctx, j.agent, arc.TaskEventsParams{TaskID: j.id, Follow: &follow}) {
		if c.failed("task.events without following", began, err) {
			return // all that is known is that the last event must come
		}
		if e.Name == "stream" {
			h.head = e.Seq
		}
	}
}

// serve has an agent dial in that does the work of live, until ctx ends: in a task what the
// demo agent echo does, in a chat what stream does, but slower.
func (p *place) serve(ctx context.Context, book *ledger) error {
	agent := &client.Agent{
		Client: p.client(p.agent, false), IDs: []string{"live"}, Connections: 3, Capacity: 32, Grace: 5 * time.Second,
		Handle: func(ctx context.Context, w *client.Work) error {
			rest(ctx, rand.N(30*time.Millisecond))
			book.count("work of the agent that dials in", 1)
			if w.ChatID != "" {
				return tell(ctx, w)
			}
			return w.Artifact(ctx, arc.Artifact{Name: "live", Parts: []arc.Part{arc.TextPart(w.Message.Text())}})
		},
	}
	return agent.Run(ctx)
}

// tell answers in as many pieces as the message says.
func tell(ctx context.Context, w *client.Work) error {
	pieces, err := strconv.Atoi(w.Message.Text())
	if err != nil {
		return err
	}
	for i := range pieces {
		rest(ctx, 5*time.Millisecond)
		if err := w.Write(ctx, fmt.Sprintf("piece %d ", i+1)); err != nil {
			return err
		}
	}
	return nil
}
