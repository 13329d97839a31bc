package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// callCommand is "arcd call": any method, with raw params.
type callCommand struct {
	payloadFlag
	changing
	Method    identifier `arg:"" help:"Method, such as task.info or rpc.discover."`
	Agent     identifier `placeholder:"ID" help:"The agent that is called (targetAgent). With it the call goes in the ARC envelope, without it in that of JSON-RPC."`
	InputFile string     `placeholder:"PATH" help:"Take the params from a file, or from standard input (-)."`
	Stream    bool       `help:"Take the answer as a stream, one JSON line for each event, from a method that has one."`
}

// calledMethod is the result of "call".
type calledMethod struct {
	Method  string         `json:"method"`
	Effect  *string        `json:"effect"` // would_update with --dry-run; else null: arcd does not know what the method does
	Params  payload        `json:"params"` // as they were sent
	Result  *externalValue `json:"result"` // null: of a stream, whose events were lines
	Count   int            `json:"count"`  // of events
	LastSeq *int64         `json:"last_seq"`
}

// calledEvent is a line of a stream.
type calledEvent struct {
	Event   string         `json:"event"`
	Seq     *int64         `json:"seq"`
	Content *externalValue `json:"external"`
}

func (*callCommand) row() row {
	return row{
		danger: mutating, auth: true, data: calledMethod{}, stdin: maxStdin, streams: true,
		long: "The answer is shown as the server gave it, marked as external. Params are not checked. The scopes that are needed are those of the method. " +
			"With --dry-run nothing is sent.",
		examples: []string{"arcd call rpc.discover", `arcd call task.info --raw-payload '{"taskId":"task-0123"}'`, "arcd call task.list --input-file params.json"},
	}
}

func (m *callCommand) check(p *problems) {
	m.conflicts(p, map[string]bool{"--input-file": m.InputFile != ""})
}

// run makes the call.
func (m *callCommand) run(ctx context.Context, c *console) (any, error) {
	given := m.payloadFlag
	if m.InputFile == "-" {
		given.RawPayload = "-"
	} else if m.InputFile != "" {
		given.RawPayload = "@" + m.InputFile
	}
	params, err := given.read(ctx, c)
	if err != nil {
		return nil, err
	}
	if params == nil {
		params = payload{}
	}
	call, err := c.client(ctx, string(m.Agent))
	if err != nil {
		return nil, err
	}
	data := calledMethod{Method: string(m.Method), Params: params}
	switch {
	case m.DryRun:
		data.Effect = optional("would_update")
		return data, nil
	case m.Stream:
		return m.stream(ctx, c, call, data)
	}
	var result jsontext.Value
	if err := call.Call(ctx, data.Method, string(m.Agent), params, &result); err != nil {
		return nil, m.about(c, err)
	}
	data.Result = newExternalValue(result)
	return data, nil
}

// stream makes the call and writes each event as it comes.
func (m *callCommand) stream(ctx context.Context, c *console, call *client.Client, data calledMethod) (any, error) {
	if m.Method == "chat.start" || m.Method == "chat.message" {
		data.Params.set("stream", true)
	}
	for event, err := range call.Stream(ctx, data.Method, string(m.Agent), data.Params, 0) {
		if event.Name != "" {
			line := calledEvent{Event: wireWord(event.Name), Content: newExternalValue(event.Data)}
			if event.Seq > 0 {
				line.Seq, data.LastSeq = &event.Seq, &event.Seq
			}
			data.Count++
			if err := c.line(line, line.show); err != nil {
				if gone(err) {
					return data, nil
				}
				return data, err
			}
		}
		if err != nil {
			e := m.about(c, err)
			if data.LastSeq != nil && event.Name == "" {
				e.ResumeFrom = strconv.FormatInt(*data.LastSeq, 10)
			}
			return data, e
		}
	}
	return data, nil
}

// about makes the error object, which names the method that was called.
func (m *callCommand) about(c *console, err error) *outcome.Error {
	e := c.classify(err)
	if e.RPCCode != 0 {
		e.RPCMethod = string(m.Method)
	}
	if e.Code == outcome.ProtocolError && e.RPCCode != 0 { // the server could not read what the caller wrote
		e.Exit, e.Phase = outcome.ExitArgument, "validation"
	}
	if errors.Is(err, client.ErrNoStream) {
		e = outcome.Errorf(outcome.Precondition, "The server answered %s whole, not as a stream.", m.Method).Because(err).Suggest("Leave out --stream.")
	}
	return e
}

func (e calledEvent) show(p *page) {
	p.line("%s  %s", p.paint(dim, strconv.FormatInt(value(e.Seq), 10)), e.Event)
	if e.Content != nil {
		p.quote("data", string(e.Content.Content))
	}
}

func (m calledMethod) show(p *page) {
	p.field("method", m.Method)
	p.field("effect", value(m.Effect))
	if m.Result != nil {
		var indented jsontext.Value = append(jsontext.Value{}, m.Result.Content...)
		if err := indented.Indent(); err != nil {
			indented = jsontext.Value(m.Result.Content)
		}
		p.quote("result", string(indented))
	}
}

func (m calledMethod) plain() []string {
	if m.Result == nil {
		return nil
	}
	return []string{string(m.Result.Content)}
}
