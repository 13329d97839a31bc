package cli

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// taskCancel is "arcd task cancel".
type taskCancel struct {
	ofAgent
	destroying
	Tasks   []string `arg:"" name:"task" help:"Task ids; - reads them from standard input."`
	Cascade bool     `help:"Cancel as well what agents made for these tasks, and so on."`
	Reason  string   `placeholder:"TEXT" help:"Why, for the agent; at most 2000 bytes."`
}

// canceledTask is what became of one task.
type canceledTask struct {
	ID     string         `json:"id"`
	OK     bool           `json:"ok"`
	Effect string         `json:"effect"` // deleted, would_delete; noop where it failed
	Status *string        `json:"status"` // of the task afterwards; null: unknown
	Error  *outcome.Error `json:"error"`
}

// canceledTasks is the result of "task cancel".
type canceledTasks struct {
	Effect  string         `json:"effect"` // deleted, noop (nothing was), would_delete
	Results []canceledTask `json:"results"`
	Summary batchSummary   `json:"summary"`
	Audit   *audit         `json:"audit"`
}

// maxReason is the longest reason that arcd takes, in bytes.
const maxReason = 2000

func (*taskCancel) row() row {
	return row{
		danger: destructive, method: "task.cancel", auth: true, data: canceledTasks{}, stdin: maxStdin, exits: []outcome.Exit{outcome.ExitPartial},
		long: "A canceled task does not go on; it can still be read. Of several tasks those that can be canceled are; exit code 3 tells that some could not. " +
			"A credential that runs out ends the batch, and error.resume_from names the task to go on with.",
		examples: []string{"arcd task cancel task-0123 --confirm-destructive", "arcd task cancel task-0123 task-0124 --dry-run", "arcd task cancel task-0123 --cascade --confirm-destructive"},
	}
}

func (t *taskCancel) check(p *problems) {
	checkIDs(p, t.Tasks)
	if len(t.Reason) > maxReason || !utf8.ValidString(t.Reason) {
		p.add("--reason", "must be at most %d bytes of text", maxReason)
	}
}

// run cancels the tasks one by one.
func (t *taskCancel) run(ctx context.Context, c *console) (any, error) {
	ids, err := c.readIDs(ctx, t.Tasks)
	if err != nil {
		return nil, err
	}
	affected := slices.Clone(ids)
	if t.Cascade {
		affected = append(affected, "what was made for these tasks")
	}
	if err := t.gate(c, "cancel", affected...); err != nil {
		return nil, err
	}
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	data := canceledTasks{Effect: "noop", Results: []canceledTask{}, Audit: c.auditOf()}
	b := taskBatch{ids: ids}
	b.each(func(id string) error {
		result := t.one(ctx, c, call, id)
		data.Results = append(data.Results, result)
		if !result.OK {
			return result.Error
		}
		data.Effect = result.Effect
		if !t.DryRun {
			data.Audit.Target = append(data.Audit.Target, id)
		}
		return nil
	})
	data.Summary = b.summary()
	return data, b.err(c)
}

// one cancels a task, or tells whether that would work.
func (t *taskCancel) one(ctx context.Context, c *console, call *client.Client, id string) canceledTask {
	result := canceledTask{ID: id, Effect: "noop"}
	var task *arc.Task
	var err error
	if t.DryRun {
		if task, err = look(ctx, call, t.Agent, id); err == nil {
			result.Effect = "would_delete"
			if closed := task.Status.Closed(id); closed != nil {
				err = closed
			}
		}
	} else if task, err = call.CancelTask(ctx, string(t.Agent), arc.CancelTaskParams{TaskID: id, Reason: t.Reason, Cascade: t.Cascade}); err == nil {
		result.Effect = "deleted"
	}
	if err != nil {
		result.Effect, result.Error = "noop", c.nested(err)
		if closed(err) {
			result.Error = finished(id, result.Error)
			if task == nil {
				task, _ = look(ctx, call, t.Agent, id) // without it the state stays unknown
			}
		}
	}
	if task != nil {
		result.Status = optional(wireWord(string(task.Status)))
	}
	result.OK = result.Error == nil
	return result
}

// look reads a task without its messages and artifacts.
func look(ctx context.Context, call *client.Client, agent identifier, id string) (*arc.Task, error) {
	no := false
	return call.GetTask(ctx, string(agent), arc.GetTaskParams{TaskID: id, IncludeMessages: &no, IncludeArtifacts: &no})
}

// closed tells whether an error says that a task has ended already.
func closed(err error) bool {
	switch arc.CodeOf(err) {
	case arc.CodeTaskCompleted, arc.CodeTaskCanceled, arc.CodeInvalidTransition:
		return true
	}
	return false
}

// finished is the error of a task that has ended already. A failed one is no other
// case than a completed one, though the protocol has another code for it.
func finished(id string, told *outcome.Error) *outcome.Error {
	e := outcome.Errorf(outcome.TaskCompleted, "The task %s has ended already.", id).Because(told)
	e.RPCCode, e.RPCMethod, e.HTTPStatus, e.ServerReason, e.ServerRequestID = told.RPCCode, told.RPCMethod, told.HTTPStatus, told.ServerReason, told.ServerRequestID
	e.ExitName = e.Exit.Name()
	return e
}

func (t canceledTasks) show(p *page) {
	var rows [][]string
	for _, r := range t.Results {
		word := ""
		if r.Error != nil {
			word = r.Error.Message
		}
		rows = append(rows, []string{r.ID, r.Effect, value(r.Status), word})
	}
	p.table([]string{"TASK", "EFFECT", "STATUS", ""}, rows)
}

func (t canceledTasks) plain() []string {
	var ids []string
	for _, r := range t.Results {
		if r.OK {
			ids = append(ids, r.ID)
		}
	}
	return ids
}
