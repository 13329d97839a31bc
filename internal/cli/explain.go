package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// explainCommand is "arcd explain".
type explainCommand struct {
	ofAgent
	Task identifier `arg:"" help:"Task id."`
}

// explained is the result of "explain": what is known of a task, and what follows
// from it. Nothing is guessed.
type explained struct {
	taskState
	Summary   string         `json:"summary"`   // one sentence
	WaitsFor  string         `json:"waits_for"` // agent, caller or nothing
	Since     *string        `json:"since"`     // when it came into its state; null: unknown
	Overdue   *bool          `json:"overdue"`   // its deadline has passed; null: it has none
	Attempt   *int           `json:"attempt"`   // how often an agent began with it; null: unknown
	Percent   *int           `json:"percent"`   // how far it is; null: nobody said
	RPCCode   *int           `json:"rpc_code"`  // number for why it failed
	AgentCard *agentLiveness `json:"agent_card"`
	// Failing are subscriptions to the task whose receivers do not take what they are
	// sent.
	Failing []subscriptionState `json:"failing_subscriptions"`
	Events  []pastEvent         `json:"events"` // the last ones, oldest first
	Next    []string            `json:"next"`   // commands that make sense now
	Words   explainedWords      `json:"external"`

	past int // how many events there are, for people
}

// agentLiveness is what the registry says about the agent; null where it says
// nothing, as of agents that did not register.
type agentLiveness struct {
	AgentID  string  `json:"agent_id"`
	Alive    bool    `json:"alive"`
	LastSeen *string `json:"last_seen"`
}

// pastEvent is an event of the task.
type pastEvent struct {
	Seq    int64   `json:"seq"`
	Event  string  `json:"event"`
	At     *string `json:"at"`
	Status *string `json:"status"`
}

// explainedWords are what others wrote about the task.
type explainedWords struct {
	mark
	Question *string `json:"question"` // what the agent asked last
	Note     *string `json:"note"`     // on its progress
	Error    *string `json:"error"`    // why it failed
	Kind     *string `json:"kind"`     // the same as one word
	Reason   *string `json:"reason"`   // why it was canceled
}

// shownEvents is how many events are told.
const shownEvents = 8

func (*explainCommand) row() row {
	return row{
		danger: safe, method: "task.info", auth: true, data: explained{},
		long:     "It reads the task, its events and the registry's entry of its agent, as far as the server has them and the credential may. A task that waits for its agent is told why, since when and until when; so are subscriptions that fail.",
		examples: []string{"arcd explain task-0123"},
	}
}

// run reads what there is to know about the task.
func (x *explainCommand) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, string(x.Agent))
	if err != nil {
		return nil, err
	}
	task, err := call.GetTask(ctx, string(x.Agent), arc.GetTaskParams{TaskID: string(x.Task)})
	if err != nil {
		return nil, err
	}
	data := &explained{taskState: newTaskState(task), Failing: []subscriptionState{}, Events: []pastEvent{}, Next: []string{}, Words: explainedWords{mark: external}}
	data.TaskID = optional(string(x.Task))
	all, err := x.pastEvents(ctx, call)
	if err := data.readEvents(c, all, err); err != nil {
		return nil, err
	}
	if data.AgentCard, err = liveness(ctx, call, task.AssignedAgent); err != nil {
		return nil, err
	}
	if err := data.readSubscriptions(ctx, c, call, string(x.Task)); err != nil {
		return nil, err
	}
	data.read(c, task)
	data.Summary = data.sentence()
	data.advise(c, string(x.Task), x.ofAgent)
	return *data, nil
}

// pastEvents reads the task's events. They come 1,000 at a time.
func (x *explainCommand) pastEvents(ctx context.Context, call *client.Client) ([]arc.TaskEvent, error) {
	var all []arc.TaskEvent
	for after := int64(0); ; {
		var list arc.EventList
		if err := call.Call(ctx, "task.events", string(x.Agent), arc.TaskEventsParams{TaskID: string(x.Task), After: after}, &list); err != nil {
			return all, err
		}
		all = append(all, list.Events...)
		if !list.More || len(list.Events) == 0 || list.Events[len(list.Events)-1].Seq <= after {
			return all, nil
		}
		after = list.Events[len(list.Events)-1].Seq
	}
}

// readEvents takes over the last events. A server that keeps none is no failure; a
// credential or a time that ran out is. For what else keeps them from us there is a
// warning, since no events look like a task to which nothing happened.
func (x *explained) readEvents(c *console, all []arc.TaskEvent, err error) error {
	switch {
	case errors.Is(err, arc.ErrAuthentication), interrupted(err):
		return err
	case err != nil && arc.CodeOf(err) != arc.CodeMethodNotFound:
		c.warn("EVENTS_UNREADABLE", "not all events of the task could be read: %s", c.classify(err).Message)
	}
	for _, ev := range all {
		if ev.Type == arc.StatusChangeEvent && statusIn(ev) == x.Status {
			x.Since = wireTime(ev.At)
		}
	}
	x.past = len(all)
	for _, ev := range all[max(0, len(all)-shownEvents):] {
		past := pastEvent{Seq: ev.Seq, Event: wireWord(string(ev.Type)), At: wireTime(ev.At)}
		if status := statusIn(ev); ev.Type != arc.ProgressEvent && known(arc.TaskStatus(status)) {
			past.Status = optional(status)
		}
		x.Events = append(x.Events, past)
	}
	return nil
}

// readSubscriptions takes over the subscriptions that fail. Where the server has no
// list of them there are none to tell.
func (x *explained) readSubscriptions(ctx context.Context, c *console, call *client.Client, id string) error {
	list, err := call.ListSubscriptions(ctx, "", arc.ListSubscriptionsParams{TaskID: id, Limit: largestPage})
	switch {
	case errors.Is(err, arc.ErrAuthentication), interrupted(err):
		return err
	case arc.CodeOf(err) == arc.CodeMethodNotFound:
		return nil
	case err != nil:
		c.warn("SUBSCRIPTIONS_UNREADABLE", "the subscriptions to the task could not be read: %s", c.classify(err).Message)
		return nil
	}
	for i := range list.Subscriptions {
		if s := newSubscriptionState(&list.Subscriptions[i]); s.fails() {
			x.Failing = append(x.Failing, s)
		}
	}
	return nil
}

// statusIn gives the status that an event tells of.
func statusIn(ev arc.TaskEvent) string {
	var data struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(ev.Data, &data) != nil || data.Status == "" {
		return ""
	}
	return wireWord(data.Status)
}

// liveness asks the registry about an agent; nil where it says nothing.
func liveness(ctx context.Context, call *client.Client, agent string) (*agentLiveness, error) {
	if wireID(agent) == nil {
		return nil, nil
	}
	found, err := call.GetAgent(ctx, agent)
	if errors.Is(err, arc.ErrExpired) || interrupted(err) {
		return nil, err
	}
	if err != nil {
		return nil, nil // it is none of the registry's, or the registry is not for us
	}
	return &agentLiveness{AgentID: agent, Alive: found.Status == arc.AgentAlive, LastSeen: wireTime(found.LastSeen)}, nil
}

// read takes over what the task itself tells.
func (x *explained) read(c *console, t *arc.Task) {
	x.WaitsFor = "agent"
	switch {
	case t.Status.Terminal():
		x.WaitsFor = "nothing"
	case t.Status == arc.TaskInputRequired:
		x.WaitsFor = "caller"
		x.Words.Question = lastOfAgent(t)
	}
	if !t.Deadline.IsZero() {
		overdue := !t.Status.Terminal() && !c.now().Before(t.Deadline.Time)
		x.Overdue = &overdue
	}
	if t.Attempt > 0 {
		x.Attempt = &t.Attempt
	}
	if t.Progress != nil && !t.Status.Terminal() {
		x.Percent, x.Words.Note = &t.Progress.Percent, optional(t.Progress.Note)
	}
	if t.Error != nil {
		code := int(t.Error.Code)
		x.RPCCode, x.Words.Error, x.Words.Kind = &code, optional(t.Error.Message), optional(t.Error.Reason)
	}
	x.Words.Reason = optional(t.Reason)
	if x.Since == nil && t.Status.Terminal() {
		x.Since = x.EndedAt
	}
}

// lastOfAgent gives what the agent said last.
func lastOfAgent(t *arc.Task) *string {
	for _, m := range slices.Backward(t.Messages) {
		if m.Role == arc.RoleAgent {
			return optional(partsText(m.Parts))
		}
	}
	return nil
}

// sentence says it in words, from what is known only.
func (x *explained) sentence() string {
	agent := "its agent"
	if x.Agent != nil {
		agent = "the agent " + *x.Agent
	}
	var said string
	switch arc.TaskStatus(x.Status) {
	case arc.TaskSubmitted:
		said = "The task waits for " + agent + " to begin with it."
	case arc.TaskWorking:
		said = "The task is in the hands of " + agent + "."
		if x.Waiting != nil { // in nobody's, as the next sentence tells
			said = "The task was begun and is not finished."
		}
	case arc.TaskInputRequired:
		said = "The task waits for an answer from its caller, which is you: " + agent + " has asked something."
	case arc.TaskCompleted:
		said = "The task is completed."
	case arc.TaskFailed:
		said = "The task has failed."
	case arc.TaskCanceled:
		said = "The task was canceled."
	default:
		said = "The task is in a state that arcd does not know."
	}
	if x.Waiting != nil {
		said += " " + x.Waiting.sentence(agent)
	}
	if value(x.Attempt) > 1 {
		said += " It was begun more than once."
	}
	if value(x.Overdue) {
		said += " Its deadline has passed."
	}
	if x.WaitsFor == "agent" && x.AgentCard != nil && !x.AgentCard.Alive {
		said += " The registry has not heard of the agent for too long."
	}
	switch n := len(x.Failing); n {
	case 0:
	case 1:
		said += " The receiver of one subscription to it does not take what it is sent."
	default:
		said += fmt.Sprintf(" The receivers of %d subscriptions to it do not take what they are sent.", n)
	}
	return said
}

// advise lists the commands that make sense now.
func (x *explained) advise(c *console, id string, of ofAgent) {
	add := func(command string) { x.Next = append(x.Next, c.nextCommand(command)) }
	switch x.WaitsFor {
	case "caller":
		add("task send " + id + of.words() + " --input-file -")
	case "agent":
		add("task wait " + id + of.words())
		if x.AgentCard != nil && !x.AgentCard.Alive {
			add("agent get " + x.AgentCard.AgentID)
		}
	}
	if len(x.Failing) > 0 {
		add("deliveries list --task " + id + " --failed")
	}
	if x.WaitsFor != "nothing" {
		add("task cancel " + id + of.words() + " --confirm-destructive")
		return
	}
	add("task get " + id + of.words())
}

// show tells it to people.
func (x explained) show(p *page) {
	for _, line := range wrap(x.Summary, p.width) {
		p.line("%s", p.paint(bold, line))
	}
	p.line("")
	x.taskState.show(p)
	if value(x.Since) != value(x.EndedAt) {
		p.field("since", value(x.Since))
	}
	if x.AgentCard != nil {
		p.field("last seen", value(x.AgentCard.LastSeen))
	}
	if x.Percent != nil {
		p.field("progress", decimal(float64(*x.Percent))+" %")
	}
	for _, words := range []struct {
		who  string
		text *string
	}{{"question of the agent", x.Words.Question}, {"note of the agent", x.Words.Note}, {"error of the agent", x.Words.Error}, {"kind of error", x.Words.Kind}, {"reason", x.Words.Reason}} {
		if words.text != nil {
			p.quote(words.who, *words.text)
		}
	}
	for _, s := range x.Failing {
		p.hang(p.paint(dim, pad("fails:", 12)), value(s.SubscriptionID)+": "+s.state())
	}
	if len(x.Events) > 0 {
		p.line("")
		if more := x.past - len(x.Events); more > 0 {
			p.line("%s", p.paint(dim, fmt.Sprintf("%d earlier events, which arcd task watch shows", more)))
		}
		var rows [][]string
		for _, ev := range x.Events {
			rows = append(rows, []string{value(ev.At), ev.Event, value(ev.Status)})
		}
		p.table([]string{"WHEN", "EVENT", "STATUS"}, rows)
	}
	p.line("")
	p.line("%s", p.paint(dim, "next:"))
	for _, command := range x.Next {
		p.line("  %s", outcome.Clean(strings.TrimSpace(command)))
	}
}

func (x explained) plain() []string { return []string{x.Summary} }
