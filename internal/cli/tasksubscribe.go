package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/outcome"
)

// specifiedEvents are the events that the specification names.
var specifiedEvents = []arc.EventType{
	arc.TaskCreatedEvent, arc.TaskStartedEvent, arc.TaskPausedEvent, arc.TaskResumedEvent, arc.TaskCompletedEvent, arc.TaskFailedEvent,
	arc.TaskCanceledEvent, arc.NewMessageEvent, arc.NewArtifactEvent, arc.StatusChangeEvent,
}

// checkEvents finds what are no events. more are taken, too.
func checkEvents(p *problems, flag string, events []string, more ...arc.EventType) {
	var all []string
	for _, e := range slices.Concat(specifiedEvents, more) {
		all = append(all, string(e))
	}
	for _, event := range events {
		if !slices.Contains(all, event) {
			p.report(outcome.Problem{
				Code: outcome.Validation, Field: flag, Input: shorten(event), Message: "must be one of " + strings.Join(all, ", "),
				Corrected: nearest(strings.ToUpper(event), all),
			})
		}
	}
}

// taskSubscribe is "arcd task subscribe".
type taskSubscribe struct {
	ofAgent
	changing
	Task        identifier `arg:"" help:"Task id."`
	CallbackURL string     `name:"callback-url" required:"" placeholder:"URL" help:"Where the events are sent."`
	Events      []string   `placeholder:"EVENT" help:"Events to send; several with commas or by repeating. Default: TASK_COMPLETED,TASK_FAILED."`
}

// subscribedTask is the result of "task subscribe".
type subscribedTask struct {
	Effect         string         `json:"effect"` // created, would_create
	TaskID         string         `json:"task_id"`
	SubscriptionID *string        `json:"subscription_id"`
	Secret         *string        `json:"secret"` // verifies what is sent; told this once. null: the server gave none that can be used
	CallbackURL    string         `json:"callback_url"`
	Events         []string       `json:"events"` // that are sent; empty: the server does not tell which it sends by default
	Subscription   *externalValue `json:"subscription"`
}

func (*taskSubscribe) row() row {
	return row{
		danger: mutating, method: "task.subscribe", auth: true, data: subscribedTask{},
		long: "The result has the secret that what is sent is signed with (Standard Webhooks): keep it, since it is not told again. " +
			"A server that does not have the method ends it with METHOD_NOT_SUPPORTED; arcd task watch follows the task then.",
		examples: []string{"arcd task subscribe task-0123 --callback-url https://hooks.example/arc --events TASK_COMPLETED,TASK_FAILED"},
	}
}

func (t *taskSubscribe) check(p *problems) {
	u, err := url.Parse(t.CallbackURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		p.report(outcome.Problem{Code: outcome.Validation, Field: "--callback-url", Input: shorten(t.CallbackURL), Message: "must be a URL that begins with https:// or http://"})
	} else if u.User != nil {
		p.add("--callback-url", "must hold no user and password")
	}
	checkEvents(p, "--events", t.Events)
}

// run subscribes.
func (t *taskSubscribe) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	data := subscribedTask{Effect: "created", TaskID: string(t.Task), CallbackURL: t.CallbackURL, Events: append([]string{}, t.Events...)}
	if t.DryRun {
		data.Effect = "would_create"
		_, err := look(ctx, call, t.Agent, string(t.Task))
		return data, err
	}
	params := payload{}
	params.set("taskId", string(t.Task))
	params.set("callbackUrl", t.CallbackURL)
	if len(t.Events) > 0 {
		params.set("events", t.Events)
	}
	var result struct {
		Subscription jsontext.Value `json:"subscription"`
	}
	if err := call.Call(ctx, "task.subscribe", string(t.Agent), params, &result); err != nil {
		return nil, err
	}
	return data, data.take(result.Subscription)
}

// take takes over what the server says about the subscription. The secret stands in
// one place.
func (s *subscribedTask) take(subscription jsontext.Value) error {
	members := payload{}
	if err := jsonv2.Unmarshal(subscription, &members); err != nil {
		return outcome.Errorf(outcome.ProtocolError, "The answer to task.subscribe has no subscription.").Because(err)
	}
	s.SubscriptionID = wireID(members.text("subscriptionId"))
	if secret := members.text("secret"); secretPattern().MatchString(secret) {
		s.Secret = &secret
	}
	delete(members, "secret")
	var events []string
	if jsonv2.Unmarshal(members["events"], &events) == nil && len(s.Events) == 0 {
		for _, event := range events {
			s.Events = append(s.Events, wireWord(event))
		}
	}
	text, err := jsonv2.Marshal(members, jsonv2.Deterministic(true))
	if err != nil {
		return err
	}
	s.Subscription = newExternalValue(text)
	return nil
}

// secretPattern is what a secret of Standard Webhooks looks like.
var secretPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^whsec_[A-Za-z0-9+/_-]{16,512}={0,2}$`) })

func (s subscribedTask) show(p *page) {
	p.field("effect", s.Effect)
	p.field("task", s.TaskID)
	p.field("id", value(s.SubscriptionID))
	p.field("sent to", s.CallbackURL)
	p.field("events", strings.Join(s.Events, ", "))
	if s.Secret != nil {
		p.field("secret", *s.Secret)
		p.line("")
		p.line("The secret is not shown again.")
	}
}

// plain gives the id, and in a line of its own the secret, which is not told again.
func (s subscribedTask) plain() []string {
	lines := []string{value(s.SubscriptionID)}
	if s.Secret != nil {
		lines = append(lines, *s.Secret)
	}
	return lines
}

// taskNotify is "arcd task notify".
type taskNotify struct {
	ofAgent
	changing
	Task  identifier `arg:"" help:"Task id."`
	Event string     `required:"" placeholder:"EVENT" help:"What happened, such as TASK_COMPLETED; progress is an extension of arcd."`
	Data  string     `required:"" placeholder:"JSON" help:"What is to be told, with at least status and message, or @PATH of a file, or - for standard input."`
}

// notifiedTask is the result of "task notify".
type notifiedTask struct {
	Effect string         `json:"effect"` // created, would_create
	TaskID string         `json:"task_id"`
	Event  string         `json:"event"`
	Answer *externalValue `json:"answer"`
}

func (*taskNotify) row() row {
	return row{
		danger: mutating, method: "task.notification", auth: true, data: notifiedTask{}, stdin: maxStdin,
		long: "The task is named by its id here, or by the one that the agent itself gave it. arcd takes this from the agent that has the task only: the token must name it, and --as if it names several. " +
			"What was told before, or comes after the end, changes nothing.",
		examples: []string{
			`arcd task notify task-0123 --agent caller-1 --event TASK_COMPLETED --data '{"status":"COMPLETED","message":"done"}'`,
			`arcd task notify task-0123 --event progress --data '{"status":"WORKING","message":"half of it","percent":50}'`,
		},
	}
}

func (t *taskNotify) check(p *problems) {
	checkEvents(p, "--event", []string{t.Event}, arc.ProgressEvent)
}

// run sends the notification.
func (t *taskNotify) run(ctx context.Context, c *console) (any, error) {
	told, err := t.data(ctx, c)
	if err != nil {
		return nil, err
	}
	call, err := c.client(ctx, string(t.Agent))
	if err != nil {
		return nil, err
	}
	data := notifiedTask{Effect: "created", TaskID: string(t.Task), Event: t.Event}
	if t.DryRun {
		data.Effect = "would_create"
		return data, nil
	}
	params := payload{"data": json.RawMessage(told)}
	params.set("taskId", string(t.Task))
	params.set("event", t.Event)
	params.set("timestamp", arc.At(c.now()).String())
	var result jsontext.Value
	if err := call.Call(ctx, "task.notification", string(t.Agent), params, &result); err != nil {
		e := c.classify(err)
		if e.Code == outcome.TaskNotFound {
			e = e.Suggest("Only the agent that has the task may report on it: the token must name that agent, and --as if it names several.")
		}
		return nil, e
	}
	data.Answer = newExternalValue(result)
	return data, nil
}

// data reads --data. status and message are needed by the specification.
func (t *taskNotify) data(ctx context.Context, c *console) (jsontext.Value, error) {
	const flag = "--data"
	text := []byte(t.Data)
	var err error
	if path, ok := strings.CutPrefix(t.Data, "@"); ok {
		text, err = c.readInput(ctx, flag, path, maxFile)
	} else if t.Data == "-" {
		text, err = c.readStdin(ctx, flag)
	}
	if err != nil {
		return nil, err
	}
	v, err := readObject(flag, text)
	if err != nil {
		return nil, err
	}
	members := payload{}
	_ = jsonv2.Unmarshal(v, &members) // it is an object
	var wrong []outcome.Problem
	for _, name := range []string{"status", "message"} {
		if members.text(name) == "" {
			wrong = append(wrong, outcome.Problem{Code: outcome.Validation, Field: flag, Message: "must hold the text " + name})
		}
	}
	if len(wrong) > 0 {
		return nil, outcome.Invalid(wrong...)
	}
	return v, nil
}

func (n notifiedTask) show(p *page) {
	p.field("effect", n.Effect)
	p.field("task", n.TaskID)
	p.field("event", n.Event)
}
