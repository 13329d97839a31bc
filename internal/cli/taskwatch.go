package cli

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strconv"
	"syscall"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// taskWatch is "arcd task watch".
type taskWatch struct {
	ofAgent
	Task       identifier `arg:"" help:"Task id."`
	ResumeFrom int64      `placeholder:"SEQ" help:"Begin behind the event with this number. 0 begins with the first."`
	NoStream   bool       `name:"no-stream" help:"Give the events until now in one result, and do not wait for more."`
}

// eventLine is an event of a task.
type eventLine struct {
	Event   string         `json:"event"` // as TASK_COMPLETED, or progress
	Seq     int64          `json:"seq"`
	TaskID  string         `json:"task_id"`
	At      *string        `json:"at"`
	Status  *string        `json:"status"` // that the task has from then on; null if the event does not say
	Content *externalValue `json:"external"`
}

// watchedTask is the result of "task watch".
type watchedTask struct {
	TaskID        string      `json:"task_id"`
	Status        *string     `json:"status"` // null: no event told it
	Terminal      bool        `json:"terminal"`
	Count         int         `json:"count"` // of events
	LastSeq       int64       `json:"last_seq"`
	ResumeCommand *string     `json:"resume_command"` // goes on from here; null once the task has ended
	Events        []eventLine `json:"events"`         // with --no-stream; else empty: they were lines
}

func (*taskWatch) row() row {
	return row{
		danger: safe, method: "task.events", auth: true, data: watchedTask{}, streams: true, timeout: waitTimeout,
		long: "Each event is one JSON line; the last line is the result. A stream that breaks is taken up again by itself. " +
			"When the credential runs out meanwhile, the error has resume_from for --resume-from.",
		examples: []string{"arcd task watch task-0123", "arcd task watch task-0123 --resume-from 7", "arcd task watch task-0123 --no-stream"},
	}
}

func (t *taskWatch) check(p *problems) {
	if t.ResumeFrom < 0 {
		p.add("--resume-from", "must not be negative")
	}
}

// watchCommand is the command that goes on with the events of a task.
func (c *console) watchCommand(id string, of ofAgent, seq int64) string {
	return c.nextCommand("task watch " + id + of.words() + " --resume-from " + strconv.FormatInt(seq, 10))
}

// run follows the events.
func (t *taskWatch) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	follow := !t.NoStream
	p := arc.TaskEventsParams{TaskID: string(t.Task), After: t.ResumeFrom, Follow: &follow}
	data := watchedTask{TaskID: string(t.Task), LastSeq: t.ResumeFrom, Events: []eventLine{}}
	failed := t.follow(c, call.TaskEvents(ctx, string(t.Agent), p), &data)
	if !data.Terminal {
		data.ResumeCommand = optional(c.watchCommand(data.TaskID, t.ofAgent, data.LastSeq))
	}
	if failed == nil || gone(failed) {
		return data, nil
	}
	e := c.classify(failed)
	if data.Count == 0 && t.ResumeFrom == 0 {
		return nil, e
	}
	e.ResumeFrom = strconv.FormatInt(data.LastSeq, 10)
	return data, e
}

// follow writes each event as it comes.
func (t *taskWatch) follow(c *console, events iter.Seq2[client.Event, error], data *watchedTask) error {
	for event, err := range events {
		if err != nil {
			return err
		}
		if event.Name != "stream" {
			data.end(event)
			continue
		}
		var said arc.TaskEvent
		if err := event.Decode(&said); err != nil {
			return err
		}
		line := data.add(event, said)
		if t.NoStream {
			data.Events = append(data.Events, line)
			continue
		}
		if err := c.line(line, line.show); err != nil {
			return err
		}
	}
	return nil
}

// add takes over an event.
func (w *watchedTask) add(event client.Event, said arc.TaskEvent) eventLine {
	line := eventLine{
		Event: wireWord(string(said.Type)), Seq: max(said.Seq, event.Seq), TaskID: w.TaskID, At: wireTime(said.At), Content: newExternalValue(said.Data),
	}
	var change struct {
		Status arc.TaskStatus `json:"status"`
	}
	if said.Type != arc.ProgressEvent && json.Unmarshal(said.Data, &change) == nil && known(change.Status) {
		line.Status = optional(string(change.Status))
		w.Status, w.Terminal = line.Status, change.Status.Terminal()
	}
	w.Count++
	w.LastSeq = max(w.LastSeq, line.Seq)
	return line
}

// end takes over the done event.
func (w *watchedTask) end(event client.Event) {
	var done arc.StreamDone
	if event.Name == "done" && event.Decode(&done) == nil && known(arc.TaskStatus(done.Status)) {
		w.Status, w.Terminal = optional(done.Status), arc.TaskStatus(done.Status).Terminal()
	}
}

// show writes an event for people.
func (l eventLine) show(p *page) {
	status := value(l.Status)
	p.line("%s  %s  %s", p.paint(dim, pad(strconv.FormatInt(l.Seq, 10), 4)+value(l.At)), pad(l.Event, 15), p.paint(statusColour(status), status))
	var said struct {
		Note     string         `json:"note"`
		Message  *arc.Message   `json:"messageContent"`
		Artifact *arc.Artifact  `json:"artifact"`
		Error    *arc.TaskError `json:"error"`
	}
	if l.Content == nil || json.Unmarshal(l.Content.Content, &said) != nil {
		return
	}
	switch {
	case said.Note != "":
		p.quote("note of the agent", said.Note)
	case said.Message != nil:
		p.quote("message of the "+wireWord(string(said.Message.Role)), partsText(said.Message.Parts))
	case said.Artifact != nil:
		p.quote("artifact", said.Artifact.Name+"\n"+partsText(said.Artifact.Parts))
	case said.Error != nil:
		p.quote("error of the agent", said.Error.Message)
	}
}

func (w watchedTask) show(p *page) {
	for _, line := range w.Events {
		line.show(p)
	}
	if w.ResumeCommand != nil {
		p.command("go on with", *w.ResumeCommand)
	}
}

func (w watchedTask) plain() []string {
	var all []string
	for _, line := range w.Events {
		all = append(all, line.Event)
	}
	return all
}

// gone tells whether nobody reads the result any more, which is no failure: the
// reader had enough.
func gone(err error) bool { return errors.Is(err, syscall.EPIPE) || errors.Is(err, errClosed) }
