package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// keyed is the idempotency key of a command.
type keyed struct {
	IdempotencyKey string `placeholder:"TEXT" help:"The same call with the same key is done once, however often it is sent. At most 255 characters."`
}

// checkKey finds what is wrong with the key.
func (k *keyed) checkKey(p *problems) {
	if len(k.IdempotencyKey) > 255 || strings.ContainsFunc(k.IdempotencyKey, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }) {
		p.add("--idempotency-key", "must be at most 255 bytes of visible text")
	}
}

// addKey puts the key into the params of a call.
func (k *keyed) addKey(p payload) {
	if k.IdempotencyKey != "" {
		p.set("idempotencyKey", k.IdempotencyKey)
	}
}

// parented says which task something is made for.
type parented struct {
	ParentTask identifier `placeholder:"ID" from:"ARCD_PARENT_TASK" help:"The task that this is made for: your own work, or that of the agent that you are. Canceling that one with --cascade ends this as well."`
}

// addParent puts the parent into the params of a call.
func (f *parented) addParent(p payload) {
	if f.ParentTask != "" {
		p.set("parentTaskId", string(f.ParentTask))
	}
}

// taskCreate is "arcd task create".
type taskCreate struct {
	messageFlags
	payloadFlag
	changing
	keyed
	parented
	Agent    identifier `required:"" placeholder:"ID" help:"The agent that gets the task."`
	Priority string     `enum:",LOW,NORMAL,HIGH,URGENT" default:"" help:"How urgent it is. Default: NORMAL."`
	Metadata []string   `sep:"none" placeholder:"NAME=TEXT" help:"Metadata of the task. May be repeated."`
	Deadline string     `placeholder:"TIME" help:"When the task is given up (RFC 3339, like 2026-01-31T12:00:00Z); goes as metadata.deadline."`
	Wait     bool       `help:"Wait until the task has ended, as arcd task wait does; at most 10 minutes unless --timeout says otherwise."`
}

// createdTask is the result of "task create".
type createdTask struct {
	Effect         string  `json:"effect"` // created, noop (the key was used before), would_create
	IdempotencyKey *string `json:"idempotency_key"`
	CheckedBy      string  `json:"checked_by"` // server; client: of a dry run, if the server knows none
	TimeoutMS      int64   `json:"timeout_ms"` // of this command
	job
	readTask
}

func (t *taskCreate) row() row {
	r := row{
		danger: mutating, method: "task.create", auth: true, data: createdTask{}, stdin: maxStdin, groups: wholeParams,
		exits: []outcome.Exit{outcome.ExitPartial}, // with --wait
		long: "The result has the commands that ask for the task, wait for it and cancel it. With --dry-run nothing is created: " +
			"the server checks the call if it can, else only the arguments are checked.",
		examples: []string{
			"arcd task create --agent echo --message Hello", "arcd task create --agent echo --message Hello --wait -o plain",
			"arcd task create --agent echo --input-file - --idempotency-key order-17",
		},
	}
	if t.Wait {
		r.timeout, r.names = waitTimeout, jobNames
	}
	return r
}

// lacking reports that nothing is to be said.
func (t *taskCreate) lacking() (field, help string) {
	if t.given() || t.RawPayload != "" {
		return "", ""
	}
	return "--message", "Say what is to be done with --message, --part, --input-file or --raw-payload."
}

func (t *taskCreate) check(p *problems) {
	t.messageFlags.check(p)
	t.checkKey(p)
	t.conflicts(p, map[string]bool{
		"--message": t.Message != "", "--part": len(t.Part) > 0, "--input-file": t.InputFile != "",
		"--priority": t.Priority != "", "--metadata": len(t.Metadata) > 0, "--deadline": t.Deadline != "",
	})
	checkPairs(p, "--metadata", t.Metadata)
	if t.Deadline != "" {
		if _, err := time.Parse(time.RFC3339, t.Deadline); err != nil {
			p.report(outcome.Problem{Code: outcome.Validation, Field: "--deadline", Input: shorten(t.Deadline), Message: "must be a time like 2026-01-31T12:00:00Z"})
		}
	}
	if t.Wait && t.DryRun {
		p.add("--wait", "makes no sense with --dry-run")
	}
}

// run reads the input, then finds the credential, then calls.
func (t *taskCreate) run(ctx context.Context, c *console) (any, error) {
	params, err := t.params(ctx, c)
	if err != nil {
		return nil, err
	}
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	made := createdTask{Effect: "created", CheckedBy: "server", IdempotencyKey: optional(params.text("idempotencyKey")), TimeoutMS: c.timeout.Milliseconds()}
	if t.DryRun {
		return t.tryOut(ctx, c, call, params, made)
	}
	var result arc.TaskResult
	header, err := call.CallHeader(ctx, "task.create", string(t.Agent), params, &result)
	if err == nil && result.Task == nil {
		err = outcome.Errorf(outcome.ProtocolError, "The answer to task.create has no task.")
	}
	if err != nil {
		return nil, t.late(c, err)
	}
	if header.Get(client.ReplayedHeader) == "true" {
		made.Effect = "noop"
	}
	made.readTask = newReadTask("", result.Task)
	if made.Agent == nil {
		made.Agent = optional(string(t.Agent))
	}
	of := ofAgent{t.Agent}
	made.job = c.newJob(made.TaskID, of)
	if !t.Wait || made.TaskID == nil {
		return made, nil
	}
	w := &waiter{console: c, client: call, of: of, id: *made.TaskID, heartbeat: usualHeartbeat}
	ended, err := w.wait(ctx)
	if ended != nil {
		made.readTask = newReadTask(*made.TaskID, ended)
	}
	return made, err
}

// late gives an error the cure of a deadline that has passed already: no longer time
// limit of the command helps against that.
func (t *taskCreate) late(c *console, err error) error {
	at, failed := time.Parse(time.RFC3339, t.Deadline)
	if e := c.classify(err); e.Code == outcome.Timeout && failed == nil && !at.After(c.now()) {
		return e.Suggest("Give a later --deadline: this one has passed.")
	}
	return err
}

// params makes the params of the call.
func (t *taskCreate) params(ctx context.Context, c *console) (payload, error) {
	params, err := t.readWith(ctx, c, "initialMessage", &t.messageFlags)
	if err != nil {
		return nil, err
	}
	// Beside --raw-payload these flags cannot be given.
	if t.Priority != "" {
		params.set("priority", t.Priority)
	}
	if metadata := readPairs(t.Metadata); len(metadata) > 0 || t.Deadline != "" {
		if t.Deadline != "" {
			metadata["deadline"] = t.Deadline
		}
		params.set("metadata", metadata)
	}
	t.addKey(params)
	t.addParent(params)
	return params, nil
}

// tryOut does everything but create the task. A server that does not know dryRun
// would create it, so it is asked first what it knows.
func (t *taskCreate) tryOut(ctx context.Context, c *console, call *client.Client, params payload, would createdTask) (any, error) {
	would.Effect, would.CheckedBy = "would_create", "client"
	would.readTask = newReadTask("", &arc.Task{Status: arc.TaskSubmitted, AssignedAgent: string(t.Agent)})
	would.job = c.newJob(nil, ofAgent{})
	able, err := knowsDryRun(ctx, call, string(t.Agent))
	if err != nil {
		return nil, err
	}
	if !able {
		c.warn("DRY_RUN_OFFLINE", "the server does not tell that it can try out task.create, so only the arguments were checked")
		return would, nil
	}
	params.set("dryRun", true)
	var result arc.TaskResult
	if err := call.Call(ctx, "task.create", string(t.Agent), params, &result); err != nil {
		return nil, err
	}
	would.CheckedBy = "server"
	if result.Task != nil {
		would.readTask = newReadTask("", result.Task)
	}
	return would, nil
}

// knowsDryRun tells whether the server's own description of task.create has the
// param dryRun. A server without a description does not.
func knowsDryRun(ctx context.Context, call *client.Client, agent string) (bool, error) {
	var doc struct {
		Methods []struct {
			Name   string `json:"name"`
			Params []struct {
				Name string `json:"name"`
			} `json:"params"`
		} `json:"methods"`
	}
	err := call.Call(ctx, "rpc.discover", agent, nil, &doc)
	var semantic *jsonv2.SemanticError
	switch {
	case arc.CodeOf(err) == arc.CodeMethodNotFound, errors.As(err, &semantic):
		return false, nil
	case err != nil:
		return false, err
	}
	for _, m := range doc.Methods {
		if m.Name == "task.create" {
			for _, p := range m.Params {
				if p.Name == "dryRun" {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// show tells people what was created and how to go on.
func (t createdTask) show(p *page) {
	p.field("effect", t.Effect)
	t.taskState.show(p)
	if t.Terminal {
		showTaskWords(p, &t.Task.Task)
		return
	}
	if question := t.question(); question != nil {
		p.quote("question of the agent", *question)
		return // the error says how to answer
	}
	if t.WaitCommand != nil {
		p.command("wait with", *t.WaitCommand)
	}
}

// plain gives the id; of a task that was waited for, what it brought.
func (t createdTask) plain() []string {
	if t.Terminal {
		return t.readTask.plain()
	}
	return slices.DeleteFunc([]string{value(t.TaskID)}, func(s string) bool { return s == "" })
}
