package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/outcome"
)

// taskStatus is "arcd task status".
type taskStatus struct {
	ofAgent
	Tasks []string `arg:"" name:"task" help:"Task ids; - reads them from standard input."`
}

// statusResult is the state of one of several tasks.
type statusResult struct {
	ID       string         `json:"id"`
	OK       bool           `json:"ok"` // the task could be read
	Status   *string        `json:"status"`
	Terminal *bool          `json:"terminal"`
	Error    *outcome.Error `json:"error"`
}

// taskStatuses is the result of "task status". What stands at its top is that of
// the one task; of several it is null, besides terminal: all have ended.
type taskStatuses struct {
	TaskID         *string        `json:"task_id"`
	Status         *string        `json:"status"`
	Terminal       bool           `json:"terminal"`
	PollIntervalMS int64          `json:"poll_interval_ms"`
	Results        []statusResult `json:"results"`
	Summary        batchSummary   `json:"summary"`
	Task           *externalTask  `json:"task"` // of one task, without messages and artifacts
}

func (*taskStatus) row() row {
	return row{
		danger: safe, method: "task.info", auth: true, data: taskStatuses{}, stdin: maxStdin,
		exits: []outcome.Exit{outcome.ExitPartial}, names: jobNames,
		long:     "The exit code tells it: 0 completed, 3 still running, 4 failed or canceled, 5 unknown. arcd task get reads a task whatever its state.",
		examples: []string{"arcd task status task-0123", "arcd task list -o plain | arcd task status -"},
	}
}

func (t *taskStatus) check(p *problems) { checkIDs(p, t.Tasks) }

// run asks for each task.
func (t *taskStatus) run(ctx context.Context, c *console) (any, error) {
	ids, err := c.readIDs(ctx, t.Tasks)
	if err != nil {
		return nil, err
	}
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	var last *arc.Task
	tasks := []*arc.Task{}
	data := taskStatuses{PollIntervalMS: pollInterval.Milliseconds(), Terminal: true, Results: []statusResult{}}
	b := taskBatch{ids: ids}
	b.each(func(id string) error {
		task, err := look(ctx, call, t.Agent, id)
		if err != nil {
			e := c.nested(err)
			data.Results = append(data.Results, statusResult{ID: id, Error: e})
			return e
		}
		last, tasks = task, append(tasks, task)
		ended, status := task.Status.Terminal(), wireWord(string(task.Status))
		data.Terminal = data.Terminal && ended
		data.Results = append(data.Results, statusResult{ID: id, OK: true, Status: &status, Terminal: &ended})
		return nil
	})
	data.Summary = b.summary()
	if err := b.err(c); err != nil {
		data.Terminal = false
		return data, err
	}
	if len(ids) == 1 {
		status := wireWord(string(last.Status))
		data.TaskID, data.Status, data.Task = &ids[0], &status, &externalTask{external, *last}
	}
	return data, c.worst(tasks, t.ofAgent)
}

// worst gives the error of the task that is furthest from its end: one that runs,
// else one that failed, else one that was canceled.
func (c *console) worst(tasks []*arc.Task, of ofAgent) error {
	order := []arc.TaskStatus{arc.TaskFailed, arc.TaskCanceled, arc.TaskCompleted}
	worst := slices.MinFunc(tasks, func(a, b *arc.Task) int {
		return slices.Index(order, a.Status) - slices.Index(order, b.Status) // -1 for those that run
	})
	return c.jobError(worst, of)
}

func (s taskStatuses) show(p *page) {
	var rows [][]string
	for _, r := range s.Results {
		status := value(r.Status)
		if r.Error != nil {
			status = string(r.Error.Code)
		}
		rows = append(rows, []string{r.ID, status})
	}
	p.table([]string{"TASK", "STATUS"}, rows)
}

func (s taskStatuses) plain() []string {
	var all []string
	for _, r := range s.Results {
		all = append(all, value(r.Status))
	}
	return all
}

// checkIDs finds what are no ids. - stands for standard input, and alone.
func checkIDs(p *problems, ids []string) {
	for _, id := range ids {
		if id == "-" && len(ids) == 1 {
			continue
		}
		if problem, ok := checkIdentifier("<task>", id); !ok {
			p.report(problem)
		}
	}
}

// readIDs gives the ids; those of standard input for -. None is given twice.
func (c *console) readIDs(ctx context.Context, ids []string) ([]string, error) {
	if len(ids) == 1 && ids[0] == "-" {
		text, err := c.readStdin(ctx, "<task>")
		if err != nil {
			return nil, err
		}
		ids = strings.Fields(string(text))
		var wrong []outcome.Problem
		checkIDs(&problems{all: &wrong}, append(ids, "a"))
		if len(wrong) > 0 {
			return nil, outcome.Invalid(wrong...)
		}
	}
	var once []string
	for _, id := range ids {
		if !slices.Contains(once, id) {
			once = append(once, id)
		}
	}
	return once, nil
}

// taskBatch does one thing to several ids, in order. What would fail for the rest too
// ends it.
type taskBatch struct {
	ids    []string
	done   []string       // went well
	failed []string       // went wrong, without ending the batch
	first  *outcome.Error // of those
	fatal  *outcome.Error // ended the batch, at at
	at     string
	rest   []string // were not tried
}

// batchSummary counts what became of a batch: of tasks, or of the lines of "exec".
type batchSummary struct {
	Total     int `json:"total"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Skipped   int `json:"skipped"`
}

// each does it. do gives an [*outcome.Error] for what failed.
func (b *taskBatch) each(do func(id string) error) {
	for i, id := range b.ids {
		err := do(id)
		e, _ := errors.AsType[*outcome.Error](err)
		switch {
		case err == nil:
			b.done = append(b.done, id)
		case fatal(e):
			b.fatal, b.at, b.rest = e, id, b.ids[i+1:]
			return
		default:
			if b.first == nil {
				b.first = e
			}
			b.failed = append(b.failed, id)
		}
	}
}

// fatal tells whether an error would meet all the rest of a batch.
func fatal(e *outcome.Error) bool {
	switch e.Exit {
	case outcome.ExitUnavailable:
		return e.Code != outcome.AgentUnavailable // the others may be with another agent
	case outcome.ExitTimeout, outcome.ExitExpired, outcome.ExitRateLimited, outcome.ExitInterrupted:
		return true
	case outcome.ExitGeneral:
		return interrupted(e)
	}
	return e.Code == outcome.AuthRequired || e.Code == outcome.TokenInvalid
}

func (b *taskBatch) summary() batchSummary {
	failed := len(b.failed)
	if b.fatal != nil {
		failed++
	}
	return batchSummary{len(b.ids), len(b.done), failed, len(b.rest)}
}

// err is the error of the whole: none, that of the one, or PARTIAL_FAILURE once
// something was done (contract section 2.7).
func (b *taskBatch) err(c *console) error {
	cause, failed := b.first, append(slices.Clone(b.failed), b.at)[0]
	if b.fatal != nil {
		cause, failed = b.fatal, b.at
	}
	if cause == nil {
		return nil
	}
	if len(b.done) == 0 {
		if len(b.ids) > 1 {
			cause.FailedStep, cause.SkippedSteps, cause.ResumeFrom = failed, b.rest, failed
		}
		return cause
	}
	e := outcome.Errorf(outcome.PartialFailure, "%d of %d were done; %s failed: %s", len(b.done), len(b.ids), failed, cause.Message).Because(cause)
	e.Cause, e.Partial = cause.Code, true
	e.CompletedSteps, e.FailedStep, e.SkippedSteps, e.ResumeFrom = b.done, failed, b.rest, failed
	e.Auth, e.RetryAfterMS, e.FixCommand, e.FixRequired = cause.Auth, cause.RetryAfterMS, cause.FixCommand, cause.FixRequired
	if cause.Auth != nil {
		e.Suggestion = cause.Suggestion
	}
	return e
}
