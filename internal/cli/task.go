package cli

import (
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/outcome"
)

// taskCommand groups the commands about tasks.
type taskCommand struct {
	Create        taskCreate        `cmd:"" aliases:"new,add" help:"Give an agent a task."`
	Get           taskGet           `cmd:"" aliases:"info,show" help:"Read a task with its messages and artifacts."`
	Status        taskStatus        `cmd:"" help:"Tell by the exit code how far tasks are: 0 completed, 3 running, 4 failed or canceled."`
	Wait          taskWait          `cmd:"" help:"Wait until a task has ended."`
	Watch         taskWatch         `cmd:"" help:"Follow what happens to a task, as JSON lines."`
	Send          taskSend          `cmd:"" help:"Send a message to an open task, such as the answer that it waits for."`
	List          taskList          `cmd:"" aliases:"ls" help:"List your tasks, newest first."`
	Cancel        taskCancel        `cmd:"" aliases:"rm,delete" help:"Cancel tasks."`
	Subscribe     taskSubscribe     `cmd:"" help:"Have events of a task sent to a URL."`
	Subscriptions taskSubscriptions `cmd:"" help:"List your subscriptions, oldest first."`
	Unsubscribe   taskUnsubscribe   `cmd:"" help:"End a subscription."`
	Notify        taskNotify        `cmd:"" help:"Report on a task, as the agent that works on it."`
}

// ofAgent names the agent of a task or chat that exists.
type ofAgent struct {
	Agent identifier `placeholder:"ID" help:"The agent that it is with. Only servers that cannot find it by the id need it."`
}

// words are the flags that name the agent again in a command.
func (o ofAgent) words() string {
	if o.Agent == "" {
		return ""
	}
	return " --agent " + string(o.Agent)
}

// taskState is what arcd itself says about a task. Everything in it was checked,
// so that it can be acted upon.
type taskState struct {
	TaskID    *string       `json:"task_id"`
	Status    string        `json:"status"` // of the specification, such as WORKING
	Terminal  bool          `json:"terminal"`
	Agent     *string       `json:"agent"`
	Priority  *string       `json:"priority"`
	CreatedAt *string       `json:"created_at"` // RFC 3339, UTC, like all times
	UpdatedAt *string       `json:"updated_at"`
	EndedAt   *string       `json:"ended_at"`
	Deadline  *string       `json:"deadline"`
	Parent    *string       `json:"parent_task_id"`
	Waiting   *waitingState `json:"waiting"` // for its agent; null: it does not
}

// newTaskState takes over what the server says about a task.
func newTaskState(t *arc.Task) taskState {
	s := taskState{
		TaskID: wireID(t.ID), Status: wireWord(string(t.Status)), Terminal: t.Status.Terminal(), Agent: wireID(t.AssignedAgent),
		CreatedAt: wireTime(t.CreatedAt), UpdatedAt: wireTime(t.UpdatedAt), EndedAt: wireTime(endOf(t)), Deadline: wireTime(t.Deadline),
		Parent: wireID(t.ParentTaskID), Waiting: newWaitingState(t),
	}
	if t.Priority != "" {
		s.Priority = optional(wireWord(string(t.Priority)))
	}
	return s
}

// readTask is a task as it was read.
type readTask struct {
	taskState
	Task *externalTask `json:"task"` // all of it, as the server gave it
}

// newReadTask takes over a task. id is how the caller named it.
func newReadTask(id string, t *arc.Task) readTask {
	r := readTask{taskState: newTaskState(t), Task: &externalTask{external, *t}}
	if id != "" {
		r.TaskID = &id
	}
	return r
}

// job says how to go on with a task that was given (contract section 4.2).
type job struct {
	JobID          *string `json:"job_id"` // the task's id; null for none
	StatusCommand  *string `json:"status_command"`
	WaitCommand    *string `json:"wait_command"`
	CancelCommand  *string `json:"cancel_command"`
	PollIntervalMS int64   `json:"poll_interval_ms"`
}

// pollInterval is how often it makes sense to ask for a task.
const pollInterval = time.Second

// newJob makes the commands for a task. id is nil if it is none that arcd takes.
func (c *console) newJob(id *string, of ofAgent) job {
	j := job{JobID: id, PollIntervalMS: pollInterval.Milliseconds()}
	if id != nil {
		j.StatusCommand = optional(c.nextCommand("task status " + *id + of.words()))
		j.WaitCommand = optional(c.nextCommand("task wait " + *id + of.words()))
		j.CancelCommand = optional(c.nextCommand("task cancel " + *id + of.words() + " --confirm-destructive"))
	}
	return j
}

// nested makes an error that stands within the result, with the name of its exit
// code.
func (c *console) nested(err error) *outcome.Error {
	e := c.classify(err)
	e.ExitName = e.Exit.Name()
	return e
}

// jobError tells by its exit code how far a task is (contract section 1.5): nil
// completed, 3 running, 4 failed or canceled.
func (c *console) jobError(t *arc.Task, of ofAgent) error {
	id := value(wireID(t.ID))
	var e *outcome.Error
	switch {
	case t.Status == arc.TaskCompleted:
		return nil
	case t.Status == arc.TaskFailed:
		e = outcome.Errorf(outcome.TaskFailed, "The task %s has failed.", id).Suggest("Read data.task.error, or run %s.", c.nextCommand("explain "+id+of.words()))
		if t.Error != nil {
			e.RPCCode = int(t.Error.Code)
		}
	case t.Status == arc.TaskCanceled:
		e = outcome.Errorf(outcome.TaskCanceled, "The task %s was canceled.", id)
	case t.Status == arc.TaskInputRequired:
		answer := c.nextCommand("task send " + id + of.words())
		if c.form == "text" {
			answer += " --message '…'"
		} else {
			answer += " --input-file -"
		}
		e = outcome.Errorf(outcome.TaskAsks, "The task %s waits for an answer of its caller.", id).Suggest("Answer with %s.", answer)
	default:
		e = outcome.Errorf(outcome.TaskRunning, "The task %s is not finished: it is %s.", id, wireWord(string(t.Status))).After(pollInterval)
	}
	return e
}

// jobNames are the names of the exit codes of commands that tell how far a task
// is.
var jobNames = map[outcome.Exit]string{outcome.ExitPartial: "JOB_RUNNING", outcome.ExitPrecondition: "JOB_FAILED"}

// statusColour gives the colour of a status.
func statusColour(status string) string {
	switch arc.TaskStatus(status) {
	case arc.TaskCompleted:
		return green
	case arc.TaskFailed:
		return red
	case arc.TaskCanceled:
		return yellow
	case arc.TaskInputRequired:
		return cyan
	}
	return bold
}

// show writes the state for people.
func (s taskState) show(p *page) {
	p.field("task", value(s.TaskID))
	p.line("%s %s", p.paint(dim, pad("status:", 12)), p.paint(statusColour(s.Status), s.Status))
	p.field("agent", value(s.Agent))
	p.field("priority", value(s.Priority))
	p.field("created", value(s.CreatedAt))
	p.field("ended", value(s.EndedAt))
	p.field("deadline", value(s.Deadline))
	p.field("made for", value(s.Parent))
	if s.Waiting != nil {
		p.hang(p.paint(dim, pad("waits:", 12)), s.Waiting.text())
	}
}

// show writes the task for people, what others wrote in quotes.
func (r readTask) show(p *page) {
	r.taskState.show(p)
	showTaskWords(p, &r.Task.Task)
}

// showTaskWords writes what a task holds of other people's words.
func showTaskWords(p *page, t *arc.Task) {
	if t.Progress != nil && !t.Status.Terminal() {
		p.field("progress", decimal(float64(t.Progress.Percent))+" %")
		if t.Progress.Note != "" {
			p.quote("note of the agent", t.Progress.Note)
		}
	}
	if t.Error != nil {
		p.quote("error of the agent", t.Error.Message)
	}
	if t.Reason != "" {
		p.quote("reason", t.Reason)
	}
	for _, m := range t.Messages {
		p.quote("message of the "+wireWord(string(m.Role)), partsText(m.Parts))
	}
	for _, a := range t.Artifacts {
		p.quote("artifact "+strings.Join(strings.Fields(a.Name), " "), partsText(a.Parts))
	}
}

// question is what the agent asks, nil if it asks nothing.
func (r readTask) question() *string {
	if r.Task == nil || r.Task.Status != arc.TaskInputRequired {
		return nil
	}
	return lastOfAgent(&r.Task.Task)
}

// plain gives what the task brought: its artifacts, else what the agent said
// last, else its status.
func (r readTask) plain() []string {
	var texts []string
	for _, a := range r.Task.Artifacts {
		texts = append(texts, partsText(a.Parts))
	}
	if len(texts) > 0 {
		return texts
	}
	for i := len(r.Task.Messages) - 1; i >= 0; i-- {
		if m := r.Task.Messages[i]; m.Role == arc.RoleAgent {
			return []string{partsText(m.Parts)}
		}
	}
	return []string{r.Status}
}
