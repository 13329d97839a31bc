package cli

import (
	"context"

	"github.com/arcd-io/arcd/arc"
)

// taskGet is "arcd task get".
type taskGet struct {
	ofAgent
	Task        identifier `arg:"" help:"Task id."`
	NoMessages  bool       `name:"no-messages" help:"Leave out the messages."`
	NoArtifacts bool       `name:"no-artifacts" help:"Leave out the artifacts."`
}

func (*taskGet) row() row {
	return row{
		danger: safe, method: "task.info", auth: true, data: readTask{},
		long:     "What the agent and the caller wrote stands below data.task, marked as external. data.waiting tells why a task makes no headway whose agent is away or cannot be reached.",
		examples: []string{"arcd task get task-0123", "arcd task get task-0123 --no-messages --fields status,task"},
	}
}

// run reads the task.
func (t *taskGet) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	p := arc.GetTaskParams{TaskID: string(t.Task)}
	yes, no := true, false
	p.IncludeMessages, p.IncludeArtifacts = &yes, &yes
	if t.NoMessages {
		p.IncludeMessages = &no
	}
	if t.NoArtifacts {
		p.IncludeArtifacts = &no
	}
	task, err := call.GetTask(ctx, string(t.Agent), p)
	if err != nil {
		return nil, err
	}
	return newReadTask(string(t.Task), task), nil
}
