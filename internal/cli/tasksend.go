package cli

import (
	"context"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// taskSend is "arcd task send".
type taskSend struct {
	ofAgent
	messageFlags
	payloadFlag
	changing
	keyed
	Task identifier `arg:"" help:"Task id."`
}

// sentTask is the result of "task send".
type sentTask struct {
	Effect         string  `json:"effect"` // updated, noop (the key was used before), would_update
	TaskID         string  `json:"task_id"`
	IdempotencyKey *string `json:"idempotency_key"`
	job
}

func (*taskSend) row() row {
	return row{
		groups: wholeParams,
		danger: mutating, method: "task.send", auth: true, data: sentTask{}, stdin: maxStdin,
		long: "A task that waits for input goes on with it. With --dry-run the task is only looked at.",
		examples: []string{
			"arcd task send task-0123 --message Yes", `arcd task send task-0123 --part data='{"approved":true}' --idempotency-key answer-1`,
		},
	}
}

// lacking reports that nothing is to be said.
func (t *taskSend) lacking() (field, help string) {
	if t.given() || t.RawPayload != "" {
		return "", ""
	}
	return "--message", "Say what to send with --message, --part, --input-file or --raw-payload."
}

func (t *taskSend) check(p *problems) {
	t.messageFlags.check(p)
	t.checkKey(p)
	t.conflicts(p, map[string]bool{"--message": t.Message != "", "--part": len(t.Part) > 0, "--input-file": t.InputFile != ""})
}

// run sends the message.
func (t *taskSend) run(ctx context.Context, c *console) (any, error) {
	params, err := t.params(ctx, c)
	if err != nil {
		return nil, err
	}
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	id := string(t.Task)
	sent := sentTask{Effect: "updated", TaskID: id, IdempotencyKey: optional(params.text("idempotencyKey")), job: c.newJob(&id, t.ofAgent)}
	if t.DryRun {
		sent.Effect = "would_update"
		return sent, t.takes(ctx, call)
	}
	header, err := call.CallHeader(ctx, "task.send", string(t.Agent), params, nil)
	if err != nil {
		return nil, err
	}
	if header.Get(client.ReplayedHeader) == "true" {
		sent.Effect = "noop"
	}
	return sent, nil
}

// takes tells whether the task would take a message.
func (t *taskSend) takes(ctx context.Context, call *client.Client) error {
	task, err := look(ctx, call, t.Agent, string(t.Task))
	if err != nil {
		return err
	}
	if closed := task.Status.Closed(string(t.Task)); closed != nil {
		return closed
	}
	return nil
}

// params makes the params of the call.
func (t *taskSend) params(ctx context.Context, c *console) (payload, error) {
	params, err := t.readWith(ctx, c, "message", &t.messageFlags)
	if err != nil {
		return nil, err
	}
	if id := params.text("taskId"); id != "" && id != string(t.Task) {
		return nil, outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: "--raw-payload", Input: shorten(id), Message: "names another task than the argument"})
	}
	params.set("taskId", string(t.Task))
	t.addKey(params)
	return params, nil
}

func (s sentTask) show(p *page) {
	p.field("task", s.TaskID)
	p.field("effect", s.Effect)
	if s.WaitCommand != nil {
		p.command("wait with", *s.WaitCommand)
	}
}

func (s sentTask) plain() []string { return []string{s.TaskID} }
