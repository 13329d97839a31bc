package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// checker reads everything back when the faults are over.
type checker struct {
	book    *ledger
	hooks   *receiver
	clients []*client.Client // by owner
}

// stored is a task as it is in the end.
type stored struct {
	task *arc.Task
	log  []seen
	kind []arc.EventType // of the events
}

// each calls f for all, many at once.
func each[T any](all []T, f func(T)) {
	queue := make(chan T)
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for one := range queue {
				f(one)
			}
		})
	}
	for _, one := range all {
		queue <- one
	}
	close(queue)
	work.Wait()
}

// settle has callers repeat what was not answered, and end what they began.
func (k *checker) settle(ctx context.Context) {
	each(k.book.jobs, func(j *job) {
		ctx, cancel := context.WithTimeout(ctx, patient)
		defer cancel()
		if err := k.settleOne(ctx, k.clients[j.owner], j); err != nil {
			k.book.wrong("settling %s: %v", j.key, err)
		}
	})
}

func (k *checker) settleOne(ctx context.Context, c *client.Client, j *job) error {
	if j.id == "" {
		task, err := c.CreateTask(ctx, j.agent, j.params())
		if err != nil {
			return err
		}
		j.id = task.ID
		k.book.count("repeated creates that had not been answered", 1)
	}
	if j.cancel == 1 {
		_, err := c.CancelTask(ctx, j.agent, arc.CancelTaskParams{TaskID: j.id})
		if err != nil && !errors.Is(err, arc.ErrConflict) {
			return err
		}
	}
	if j.agent == "input" && !j.answered {
		j.said = append(j.said, saying{text: "answer of " + j.key})
	}
	for i := range j.said {
		if s := &j.said[i]; !s.acked {
			p := arc.SendTaskParams{TaskID: j.id, Message: ask(s.text), IdempotencyKey: j.key + ": " + s.text}
			err := c.SendTask(ctx, j.agent, p)
			if err != nil && !errors.Is(err, arc.ErrConflict) {
				return err
			}
			s.acked = err == nil
		}
	}
	return nil
}

// check compares everything with what callers were told.
func (k *checker) check(ctx context.Context, listed []map[string]bool) {
	each(k.book.jobs, func(j *job) {
		ctx, cancel := context.WithTimeout(ctx, patient)
		defer cancel()
		s, err := k.fetch(ctx, k.clients[j.owner], j)
		if err != nil {
			k.book.wrong("reading task %s (%s): %v", j.id, j.key, err)
			return
		}
		k.report(j, s.check(j))
		if j.sub != nil {
			k.report(j, k.checkHook(ctx, j, s))
		}
		k.book.count("tasks checked", 1)
		k.book.count("events checked", len(s.log))
	})
	each(k.book.talks, func(t *talk) { k.checkTalk(ctx, t) })
	k.checkLists(ctx, listed)
}

func (k *checker) report(j *job, faults []string) {
	for _, fault := range faults {
		k.book.wrong("task %s of %s (%s): %s", j.id, j.agent, j.key, fault)
	}
}

// fetch reads a task and its whole log, once it has ended.
func (k *checker) fetch(ctx context.Context, c *client.Client, j *job) (*stored, error) {
	s := &stored{}
	for e, err := range c.TaskEvents(ctx, j.agent, arc.TaskEventsParams{TaskID: j.id}) {
		if err != nil {
			return nil, err
		}
		if e.Name != "stream" {
			continue
		}
		var event arc.TaskEvent
		if err := e.Decode(&event); err != nil {
			return nil, err
		}
		s.log = append(s.log, seen{e.Seq, string(e.Data)})
		s.kind = append(s.kind, event.Type)
	}
	var err error
	s.task, err = c.GetTask(ctx, j.agent, arc.GetTaskParams{TaskID: j.id})
	return s, err
}

// check tells what is wrong with a task.
func (s *stored) check(j *job) (faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	count := map[arc.EventType]int{}
	for i, e := range s.log {
		if e.seq != int64(i+1) {
			wrong("event %d has the number %d", i+1, e.seq)
		}
		count[s.kind[i]]++
	}
	if n := count[arc.TaskCreatedEvent]; n != 1 {
		wrong("it was created %d times", n)
	}
	if n := count[arc.TaskCompletedEvent] + count[arc.TaskFailedEvent] + count[arc.TaskCanceledEvent]; n != 1 {
		wrong("it ended %d times: %v", n, count)
	}
	want := arc.TaskCompleted
	if j.cancel > 0 && (j.cancel == 2 || s.task.Status == arc.TaskCanceled) {
		want = arc.TaskCanceled
	}
	if s.task.Status != want {
		wrong("it is %s, want %s: %+v", s.task.Status, want, s.task.Error)
	}
	artifacts := 0
	if want == arc.TaskCompleted {
		artifacts = 1
	}
	if len(s.task.Artifacts) != artifacts || count[arc.NewArtifactEvent] != artifacts {
		wrong("it has %d artifacts and %d events of one, want %d", len(s.task.Artifacts), count[arc.NewArtifactEvent], artifacts)
	} else if artifacts == 1 && !slices.Contains(j.results(), s.task.Artifacts[0].Parts[0].Text()) {
		wrong("its artifact is %q, want %q", s.task.Artifacts[0].Parts[0].Text(), j.results())
	}
	for _, fault := range s.checkMessages(j) {
		wrong("%s", fault)
	}
	for _, view := range j.views {
		for _, e := range view {
			if e.seq < 1 || e.seq > int64(len(s.log)) || s.log[e.seq-1].text != e.text {
				wrong("a reader was shown event %d as %s, which is not in the log", e.seq, e.text)
				break
			}
		}
	}
	return faults
}

// results are the texts that a task's artifact may have: what it was last told.
func (j *job) results() []string {
	all := []string{j.text}
	for _, s := range j.said {
		all = append(all, s.text)
	}
	if j.agent == "input" {
		return all[1:]
	}
	return all
}

// checkMessages counts what the caller said.
func (s *stored) checkMessages(j *job) (faults []string) {
	times := map[string]int{}
	for _, m := range s.task.Messages {
		if m.Role == arc.RoleUser {
			times[m.Text()]++
		}
	}
	if n := times[j.text]; n != 1 {
		faults = append(faults, fmt.Sprintf("its first message is there %d times", n))
	}
	for _, said := range j.said {
		if n := times[said.text]; n > 1 || said.acked && n != 1 {
			faults = append(faults, fmt.Sprintf("%q is there %d times (acknowledged: %v)", said.text, n, said.acked))
		}
		delete(times, said.text)
	}
	delete(times, j.text)
	if len(times) > 0 {
		faults = append(faults, fmt.Sprintf("nobody said %v", times))
	}
	return faults
}

// checkTalk reads a chat's answer again. One that came to a good end is in the log as it
// was read; of one that did not, the log may lack what only its reader saw.
func (k *checker) checkTalk(ctx context.Context, t *talk) {
	if t.id == "" {
		return // nothing of it was acknowledged
	}
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	text := ""
	for e, err := range k.clients[t.owner].ResumeChat(ctx, t.agent, t.id, 0) {
		if err != nil && (t.whole || !mayRepeat(err)) {
			k.book.wrong("reading chat %s again: %v", t.id, err)
		}
		var chunk arc.ChatChunk
		if err == nil && e.Name == "stream" && e.Decode(&chunk) == nil {
			text += chunk.Message.Text()
		}
	}
	if t.whole && text != t.want {
		k.book.wrong("chat %s is %q when it is read again, want %q", t.id, text, t.want)
	} else if !t.whole && !strings.HasPrefix(t.want, text) {
		k.book.wrong("chat %s is %q when it is read again, which is no beginning of %q", t.id, text, t.want)
	}
	stranger := (t.owner + 1) % len(owners)
	for _, err := range k.clients[stranger].ResumeChat(ctx, t.agent, t.id, 0) {
		if !errors.Is(err, arc.ErrNotFound) {
			k.book.wrong("ownership: %s read chat %s of %s: %v", owners[stranger], t.id, owners[t.owner], err)
		}
		break
	}
	k.book.count("chats checked", 1)
}

// checkLists reads all tasks of each owner: they are those that it made, each once.
func (k *checker) checkLists(ctx context.Context, listed []map[string]bool) {
	owner := map[string]int{}
	for _, j := range k.book.jobs {
		if other, twice := owner[j.id]; twice {
			k.book.wrong("task %s stands for two keys, of %s and %s", j.id, owners[other], owners[j.owner])
		}
		owner[j.id] = j.owner
	}
	for n, c := range k.clients {
		there := map[string]bool{}
		for p := (arc.ListTasksParams{Limit: 200}); ; {
			page, err := c.ListTasks(ctx, "echo", p)
			if err != nil {
				k.book.wrong("listing the tasks of %s: %v", owners[n], err)
				return
			}
			for _, t := range page.Tasks {
				if there[t.ID] {
					k.book.wrong("task %s is listed twice", t.ID)
				}
				there[t.ID] = true
			}
			if p.Cursor = page.NextCursor; p.Cursor == "" {
				break
			}
		}
		for _, shown := range []map[string]bool{there, listed[n]} {
			for id := range shown {
				if by, known := owner[id]; !known || by != n {
					k.book.wrong("ownership: %s was shown task %s, which it did not make", owners[n], id)
				}
			}
		}
		for id, by := range owner {
			if by == n && !there[id] {
				k.book.wrong("lost: task %s of %s is not listed", id, owners[n])
			}
		}
	}
}

// delivers is how long the last webhooks may take: what a killed replica had claimed is
// claimed again after 30 s, and then there may be a pause between two attempts.
const delivers = 2 * time.Minute

// checkHook waits until the receiver has everything, and tells what is wrong with what
// came.
func (k *checker) checkHook(ctx context.Context, j *job, s *stored) []string {
	var faults []string
	for end := time.Now().Add(delivers); ; {
		var complete bool
		if complete, faults = j.sub.compare(s, k.hooks.messages(j.sub.path)); complete || time.Now().After(end) || ctx.Err() != nil {
			break
		}
		rest(ctx, 50*time.Millisecond)
	}
	return faults
}

// compare tells whether everything has come, and what is wrong.
func (h *hook) compare(s *stored, came []told) (complete bool, faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, "webhook: "+fmt.Sprintf(format, args...)) }
	bodies := map[string]string{}
	var order []string // in which they were taken
	for _, m := range came {
		if body, again := bodies[m.id]; again && body != m.body {
			wrong("%s came again with another body", m.id)
		}
		bodies[m.id] = m.body
		if m.fault != "" {
			wrong("%s: %s", m.id, m.fault)
		}
		if m.taken && !slices.Contains(order, m.id) {
			order = append(order, m.id)
		}
	}
	var want []string
	for i, kind := range s.kind {
		if slices.Contains(hookEvents, kind) {
			want = append(want, fmt.Sprintf("%s.%d", h.id, i+1))
		}
	}
	// It begins with an event before or at head, which is later than the subscription.
	least := len(want)
	for least > 0 && (least == len(want) || h.head >= 0 && number(want[least-1]) > h.head) {
		least--
	}
	complete = len(order) >= len(want)-least && len(order) <= len(want) && slices.Equal(order, want[len(want)-len(order):])
	if !complete {
		wrong("%q were taken, want these or more at the beginning: %q, of %q", order, want[least:], want)
	}
	return complete, faults
}

// number gives the number of the event that a message is about.
func number(id string) (n int64) {
	_, text, _ := strings.Cut(id, ".")
	_, _ = fmt.Sscan(text, &n)
	return n
}
