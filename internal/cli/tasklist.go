package cli

import (
	"context"
	"strings"
	"time"

	"github.com/clipperhouse/displaywidth"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/outcome"
)

// taskList is "arcd task list".
type taskList struct {
	Status  []string   `placeholder:"STATUS" help:"Only tasks in this state, such as WORKING; several with commas or by repeating."`
	Agent   identifier `placeholder:"ID" help:"Only tasks given to this agent."`
	TraceOf string     `name:"trace" placeholder:"TEXT" help:"Only tasks with this trace id."`
	paged
}

// listedTasks is the result of "task list".
type listedTasks struct {
	Items []readTask `json:"items"`

	now time.Time // for people: how old a task is
}

func (*taskList) row() row {
	return row{
		danger: safe, method: "task.list", auth: true, data: listedTasks{},
		long:     "The list is an extension of arcd; other servers may not have it.",
		examples: []string{"arcd task list --status WORKING,INPUT_REQUIRED", "arcd task list --limit 0 -o plain"},
	}
}

func (t *taskList) check(p *problems) {
	t.paged.check(p)
	for _, status := range t.Status {
		if upper := strings.ToUpper(status); !known(arc.TaskStatus(upper)) {
			var all []string
			for _, s := range arc.TaskStatuses {
				all = append(all, string(s))
			}
			p.report(outcome.Problem{
				Code: outcome.Validation, Field: "--status", Input: shorten(status), Message: "must be one of " + strings.Join(all, ", "), Corrected: nearest(upper, all),
			})
		}
	}
}

// run reads pages until there are enough.
func (t *taskList) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	p := arc.ListTasksParams{Agent: string(t.Agent), TraceID: t.TraceOf}
	for _, status := range t.Status {
		p.Status = append(p.Status, arc.TaskStatus(strings.ToUpper(status)))
	}
	list := listedTasks{Items: []readTask{}, now: c.now()}
	err = t.collect(c, "task.list", func(limit int, cursor string) (int, string, error) {
		p.Limit, p.Cursor = limit, cursor
		page, err := call.ListTasks(ctx, "", p)
		if err != nil {
			return 0, "", err
		}
		for i := range page.Tasks {
			list.Items = append(list.Items, newReadTask("", &page.Tasks[i]))
		}
		return len(page.Tasks), page.NextCursor, nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (l listedTasks) show(p *page) {
	if len(l.Items) == 0 {
		p.line("no tasks")
		return
	}
	var rows [][]string
	for _, t := range l.Items {
		agent := displaywidth.TruncateString(value(t.Agent), 14, "…") // the id must stay whole
		rows = append(rows, []string{value(t.TaskID), t.Status, agent, age(l.now, t.Task.CreatedAt)})
	}
	p.table([]string{"TASK", "STATUS", "AGENT", "AGE"}, rows)
}

func (l listedTasks) plain() []string {
	var ids []string
	for _, t := range l.Items {
		if t.TaskID != nil {
			ids = append(ids, *t.TaskID)
		}
	}
	return ids
}
