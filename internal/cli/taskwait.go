package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

const (
	// waitTimeout is how long commands that follow something wait by default.
	waitTimeout = 10 * time.Minute
	// usualHeartbeat is the default of --heartbeat-ms.
	usualHeartbeat = 10 * time.Second
	// progressTick is how often the progress line of a terminal is written anew.
	progressTick = 500 * time.Millisecond
)

// taskWait is "arcd task wait".
type taskWait struct {
	ofAgent
	Task         identifier    `arg:"" help:"Task id."`
	For          string        `enum:",completed,input_required" default:"" help:"What to wait for: completed, however long the task waits for an answer, or input_required too. Default: a task that waits for an answer ends the wait with exit code 3."`
	HeartbeatMS  int           `name:"heartbeat-ms" default:"10000" help:"How often a line on stderr tells that the wait goes on, in milliseconds; 0 never."`
	PollInterval time.Duration `default:"5s" help:"The longest time between two looks, for servers that cannot tell of events."`
}

// waitedTask is the result of "task wait". Of a wait that did not end well it is
// the state that was seen last.
type waitedTask struct {
	readTask
	job
	LastSeq       *int64  `json:"last_seq"`       // of the last event that was seen
	ResumeCommand *string `json:"resume_command"` // follows the task from there; null once it has ended
}

func (*taskWait) row() row {
	return row{
		danger: safe, method: "task.info", auth: true, data: waitedTask{}, timeout: waitTimeout,
		exits: []outcome.Exit{outcome.ExitPartial}, names: jobNames,
		long: "The exit code tells how it ended: 0 completed, 3 it waits for an answer, 4 failed or canceled, 7 the time was over and the task goes on. " +
			"On a terminal a progress line is shown; elsewhere stderr gets a JSON line at each heartbeat.",
		examples: []string{"arcd task wait task-0123", "arcd task wait task-0123 --for input_required --timeout 1h"},
	}
}

func (t *taskWait) check(p *problems) {
	if t.HeartbeatMS < 0 || t.HeartbeatMS > 3_600_000 {
		p.add("--heartbeat-ms", "must be 0 to 3600000")
	}
	if t.PollInterval < 100*time.Millisecond {
		p.add("--poll-interval", "must be at least 100ms")
	}
}

// run waits for the task.
func (t *taskWait) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	w := &waiter{
		console: c, client: call, of: t.ofAgent, id: string(t.Task), until: t.For,
		heartbeat: time.Duration(t.HeartbeatMS) * time.Millisecond, poll: t.PollInterval,
	}
	task, err := w.wait(ctx)
	if task == nil {
		return nil, err
	}
	data := waitedTask{readTask: newReadTask(string(t.Task), task), job: c.newJob(optional(string(t.Task)), t.ofAgent)}
	if seq := w.seq(); seq > 0 {
		data.LastSeq = &seq
		if !task.Status.Terminal() {
			data.ResumeCommand = optional(c.watchCommand(string(t.Task), t.ofAgent, seq))
		}
	}
	return data, err
}

func (w waitedTask) show(p *page) { w.readTask.show(p) }

// waiter waits for one task and tells meanwhile how it goes.
type waiter struct {
	console   *console
	client    *client.Client
	of        ofAgent
	id        string
	until     string        // completed, input_required or ""
	heartbeat time.Duration // 0: none
	poll      time.Duration

	mu   sync.Mutex // guards what follows
	last *arc.Task  // as it was seen last
	step int64      // number of the last event
}

// wait gives the task as it ended, with the error that its end is. With another
// error it gives the task as it was seen last, nil if it never was.
func (w *waiter) wait(ctx context.Context) (*arc.Task, error) {
	beating, stop := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { w.beat(beating) })
	task, err := w.client.WaitTask(ctx, string(w.of.Agent), client.WaitTaskParams{TaskID: w.id, Input: w.until != "completed", Poll: w.poll, Seen: w.saw})
	stop()
	beats.Wait()
	if err == nil {
		if w.until == "input_required" && task.Status == arc.TaskInputRequired {
			return task, nil
		}
		return task, w.console.jobError(task, w.of)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.failed(ctx, err)
}

// failed makes the error of a wait that did not come to its end.
func (w *waiter) failed(ctx context.Context, err error) error {
	e := w.console.classify(err)
	if errors.Is(err, context.DeadlineExceeded) && w.last != nil {
		e = outcome.Errorf(outcome.Timeout, "The task %s was %s when the time was over.", w.id, wireWord(string(w.last.Status))).Because(err)
		e.Retryable = true
		e.Suggest("%s waits on.", w.console.nextCommand("task wait "+w.id+w.of.words()))
	}
	if e == nil || w.step == 0 || w.console.form == "text" { // the number of an event says nothing to people
		return e
	}
	e.ResumeFrom = strconv.FormatInt(w.step, 10)
	return e
}

// seq gives the number of the last event that was seen.
func (w *waiter) seq() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.step
}

// saw takes over what the wait sees of the task.
func (w *waiter) saw(s client.WaitSight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Task != nil {
		w.last = s.Task
		return
	}
	var said arc.TaskEvent
	if w.last == nil || s.Event == nil || s.Event.Decode(&said) != nil || said.Seq <= w.step {
		return
	}
	w.step = said.Seq
	task := *w.last
	switch said.Type {
	case arc.StatusChangeEvent:
		var data arc.EventData
		if json.Unmarshal(said.Data, &data) == nil && !said.At.Before(task.UpdatedAt.Time) {
			if task.Status != arc.TaskStatus(data.Status) {
				task.Waiting = nil // that was in the other state
			}
			task.Status, task.UpdatedAt = arc.TaskStatus(data.Status), said.At
		}
	case arc.ProgressEvent:
		progress := &arc.Progress{}
		if json.Unmarshal(said.Data, progress) == nil {
			task.Progress = progress
		}
	}
	w.last = &task
}

// beat tells at each heartbeat that the wait goes on: a JSON line on stderr, or on
// a terminal one line that is written anew.
func (w *waiter) beat(ctx context.Context) {
	c := w.console
	if c.globals.Quiet || w.heartbeat <= 0 {
		return
	}
	terminal := isTerminal(c.stderr)
	every := w.heartbeat
	if terminal {
		every = progressTick
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	began := time.Now()
	asked := began
	for {
		select {
		case <-ctx.Done():
			if terminal {
				_, _ = c.stderr.Write([]byte("\r\x1b[K"))
			}
			return
		case <-ticks.C:
			if time.Since(asked) >= max(w.heartbeat, time.Second) {
				w.askWaiting(ctx)
				asked = time.Now()
			}
			w.mu.Lock()
			task, step := w.last, w.step
			w.mu.Unlock()
			if terminal {
				c.showProgress(task, time.Since(began))
			} else {
				c.noteHeartbeat(w.id, task, step, time.Since(began))
			}
		}
	}
}

// askWaiting asks why the task makes no headway: no event tells that. What goes wrong
// is for the wait itself to find.
func (w *waiter) askWaiting(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	task, err := look(ctx, w.client, w.of.Agent, w.id)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != nil && w.last.Status == task.Status {
		now := *w.last
		now.Waiting = task.Waiting
		w.last = &now
	}
}

// heartbeatLine is a line on stderr while a command waits.
type heartbeatLine struct {
	Event     string  `json:"event"` // heartbeat
	TaskID    string  `json:"task_id"`
	Status    *string `json:"status"`
	Percent   *int    `json:"percent"`
	Waiting   *string `json:"waiting"` // why its agent does nothing: agent_away, agent_unreachable
	Step      int64   `json:"step"`    // number of the last event
	ElapsedMS int64   `json:"elapsed_ms"`
}

// noteHeartbeat writes a heartbeat.
func (c *console) noteHeartbeat(id string, task *arc.Task, step int64, elapsed time.Duration) {
	line := heartbeatLine{Event: "heartbeat", TaskID: id, Step: step, ElapsedMS: elapsed.Milliseconds()}
	if task != nil {
		line.Status = optional(wireWord(string(task.Status)))
		if task.Progress != nil {
			line.Percent = &task.Progress.Percent
		}
		if waits := newWaitingState(task); waits != nil {
			line.Waiting = &waits.Reason
		}
	}
	if text, err := encode(line); err == nil {
		c.note("%s", strings.TrimSpace(string(text)))
	}
}

// showProgress writes the progress line of a terminal anew.
func (c *console) showProgress(task *arc.Task, elapsed time.Duration) {
	status, rest := "…", ""
	if task != nil {
		status = wireWord(string(task.Status))
		if waits := newWaitingState(task); waits != nil {
			rest = "  " + waits.brief(task.Waiting, c.now())
		} else if task.Progress != nil {
			rest = "  " + strconv.Itoa(task.Progress.Percent) + " %"
			if note := strings.Join(strings.Fields(outcome.Clean(task.Progress.Note)), " "); note != "" {
				rest += "  " + quoteSign + note
			}
		}
	}
	p := newPage(c.stderr, terminalWidth(c.stderr), c.coloured(c.stderr))
	head := "waiting " + short(elapsed.Round(time.Second)) + "  "
	rest = clip(rest, max(10, p.width-len(head)-len(status)-1))
	_, _ = c.stderr.Write([]byte("\r\x1b[K" + p.paint(dim, head) + p.paint(statusColour(status), status) + rest))
}
