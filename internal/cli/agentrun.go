package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// agentRun is "arcd agent run": it dials in as an agent and has a program do the
// work.
type agentRun struct {
	changing
	ID          []string      `name:"id" placeholder:"AGENT" required:"" help:"Serve this agent. May be repeated. The token has to name each."`
	Exec        string        `name:"exec" placeholder:"COMMAND" required:"" help:"What does the work, run by the shell once for each stretch of it."`
	Capacity    int           `default:"16" placeholder:"N" help:"How many run at once, over each connection."`
	Connections int           `default:"1" placeholder:"N" help:"Connections, which share the work."`
	Grace       time.Duration `default:"30s" placeholder:"TIME" help:"How long work that is running may take after a signal. What is left goes back to the server."`
}

// workedData is the result of "agent run".
type workedData struct {
	Effect  string   `json:"effect"` // updated, would_update
	Agents  []string `json:"agents"`
	Done    int64    `json:"done"`   // pieces of work that ended well, or with a question
	Failed  int64    `json:"failed"` // that did not
	Dropped int64    `json:"lost"`   // whose result could not be told, or was not wanted any more
}

func (*agentRun) row() row {
	return row{
		danger: mutating, daemon: true, data: workedData{}, exits: callExits, scopes: []string{auth.ScopeServe, auth.ScopeNotify},
		long: `The agent needs no port: arcd dials in at the server (WebSocket) and serves until a signal, through broken connections, and renews its token ahead of time, as if --auto-refresh were given. For each task that is created or answered, and each turn of a chat, COMMAND gets one line of JSON on standard input: ` +
			`{"method":"task.create", "agent":"…", "from":"…", "taskId":"…", "text":"…", "message":{…}, "history":[…], "attempt":1, "traceId":"…"} (chatId in place of taskId in a chat). ` +
			`The answer to a question comes as task.create again, with the longer history. ` +
			`What it prints is the answer, line by line: of a chat each line at once, of a task all of them at its end. A line that is one of these objects means: {"text":"…"} a piece of the answer, {"part":{…}} a part of it, {"artifact":{"name":"…","parts":[…]}}, {"progress":50,"note":"…"}, ` +
			`{"input":"…"} a question to the caller, {"error":"…"} a failure with a text for the caller. Exit code 0 is COMPLETED, 75 asks for another attempt, any other is FAILED. ` +
			`Its standard error goes to arcd's when it fails, and is shown nowhere when it ends with 0 or prints {"error":…}. An object that arcd does not understand is text, with a warning on standard error. ` +
			`It does not get ARCD_TOKEN, ARCD_CLIENT_SECRET and the like. ARCD_TASK_ID, ARCD_CHAT_ID, ARCD_PARENT_TASK, ARCD_AGENT, ARC_TRACE_ID and TRACEPARENT are set, so that arcd calls within it belong to the work. ` +
			`When the work is canceled it gets SIGTERM, with all that it started, and SIGKILL 5 s later.`,
		examples: []string{
			"arcd agent run --id upper --exec 'jq -r .text | tr a-z A-Z' --token file:upper.token",
			"arcd agent run --id a --id b --exec ./worker --capacity 4",
		},
	}
}

func (a *agentRun) check(p *problems) {
	for _, id := range a.ID {
		if problem, ok := checkIdentifier("--id", id); !ok {
			p.report(problem)
		}
	}
	if strings.TrimSpace(a.Exec) == "" {
		p.add("--exec", "must not be empty")
	}
	if a.Capacity < 1 || a.Capacity > 1000 {
		p.add("--capacity", "must be from 1 to 1000")
	}
	if a.Connections < 1 || a.Connections > 100 {
		p.add("--connections", "must be from 1 to 100")
	}
	if a.Grace < 0 {
		p.add("--grace", "must not be negative")
	}
}

// run serves until a signal, which is how it is meant to end.
func (a *agentRun) run(ctx context.Context, c *console) (any, error) {
	c.globals.AutoRefresh = true // it runs for longer than a token lives
	server, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := findCommand(ctx, a.Exec); err != nil {
		return nil, err
	}
	data := workedData{Effect: "would_update", Agents: append([]string{}, a.ID...)}
	if a.DryRun {
		return data, nil
	}
	data.Effect = "updated"
	w := &workers{command: a.Exec, c: c, env: workerEnvironment(c, server.URL)}
	w.noteExpiry()
	grace := a.Grace
	if grace == 0 {
		grace = -1 // what the client has for none
	}
	agent := &client.Agent{
		Client: server, IDs: a.ID, Capacity: a.Capacity, Connections: a.Connections, Grace: grace, Handle: w.handle,
		Served: func() {
			if !w.serving.Swap(true) { // not for each connection, nor for each new token
				w.note("serving %s at %s", strings.Join(a.ID, ", "), server.URL)
			}
		},
		Failed: func(err error) { w.serving.Store(false); w.note("%v", err) },
	}
	stop := context.AfterFunc(ctx, func() { w.noteDraining(a.Grace) })
	defer stop()
	err = agent.Run(ctx)
	data.Done, data.Failed, data.Dropped = w.done.Load(), w.failed.Load(), w.dropped.Load()
	if err != nil && data.Done+data.Failed+data.Dropped == 0 {
		return nil, c.agentError(err)
	} else if err != nil {
		return data, c.agentError(err)
	}
	return data, nil
}

// workers starts a program for each stretch of work.
type workers struct {
	command string
	c       *console
	env     []string

	done, failed, dropped, running atomic.Int64

	serving atomic.Bool // said, and nothing went wrong since
	mu      sync.Mutex  // held while a line is written
}

// note writes to stderr, a line at a time.
func (w *workers) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.c.note("%s", outcome.Clean(fmt.Sprintf(format, args...)))
}

// noteExpiry tells, before anything goes wrong, that nothing renews the token.
func (w *workers) noteExpiry() {
	found := w.c.foundCredential()
	if found == nil || found.Refreshable || found.Facts.ExpiresAt.IsZero() {
		return
	}
	w.note("the token runs out at %s, and there is nothing to renew it with: put another one in its place (--token file:PATH) before, or give client credentials (ARCD_CLIENT_ID)",
		found.Facts.ExpiresAt.UTC().Format(time.RFC3339))
}

// noteDraining tells what the end still waits for.
func (w *workers) noteDraining(grace time.Duration) {
	if n := w.running.Load(); n > 0 {
		w.note("stopping: no new work; %d still running, for %s at most", n, short(grace))
	}
}

// handle has a program do a stretch of work.
func (w *workers) handle(ctx context.Context, work *client.Work) error {
	w.running.Add(1)
	defer w.running.Add(-1)
	err := w.work(ctx, work)
	switch {
	case ctx.Err() != nil:
		w.dropped.Add(1)
	case err == nil || client.IsQuestion(err):
		w.done.Add(1)
	default:
		w.failed.Add(1)
	}
	return err
}

func (d workedData) show(p *page) {
	p.line("%s: %d done, %d failed, %d lost", strings.Join(d.Agents, ", "), d.Done, d.Failed, d.Dropped)
}
