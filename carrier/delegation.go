package carrier

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// delegation is a task that an agent with a server of its own has in hand, under an
// id of its own.
//
//	run
//	├─ begin    task.create, or a look at what the agent has already
//	└─ until the task has an end
//	   ├─ take  messages and artifacts; COMPLETED, FAILED, CANCELED, INPUT_REQUIRED
//	   └─ wait  a message of the caller goes on by task.send; a notice, or some time,
//	            and task.info is asked
type delegation struct {
	c    *conversation
	t    *methods.Turn
	line Line
	id   string // at the agent; "": it has none yet

	caller []arc.Message  // what the caller has said
	known  map[string]int // what the history already has of the agent, by content
	given  map[string]bool
	told   time.Time // when the agent was last given a message; zero: not in this run
	mute   bool      // the agent knows no task.info
}

// errCompleted says that the task is done.
var errCompleted = errors.New("carrier: completed")

func (c *conversation) newDelegation(t *methods.Turn, line Line) *delegation {
	caller, agent := sides(t)
	d := &delegation{
		c: c, t: t, line: line, id: t.Binding.ID, caller: caller,
		known: make(map[string]int), given: make(map[string]bool),
	}
	for _, m := range agent {
		d.known[content(m)]++
	}
	for _, a := range t.Task.Artifacts {
		d.given[a.ID] = true
	}
	return d
}

// run works until the task ends, waits for its caller, or has to be tried again.
func (d *delegation) run(ctx context.Context) error {
	err := d.work(ctx)
	d.c.unwanted(ctx, d.t, d.line, d.id)
	if errors.Is(err, errCompleted) {
		return nil
	}
	return err
}

func (d *delegation) work(ctx context.Context) error {
	pause := d.c.poll
	seen, err := d.begin(ctx)
	for err == nil {
		if seen != nil {
			if err = d.take(ctx, seen); err != nil {
				break
			}
		}
		seen, err = d.wait(ctx, &pause)
	}
	return err
}

// begin gives the task to the agent, or finds out what became of it.
func (d *delegation) begin(ctx context.Context) (*remoteTask, error) {
	switch {
	case d.id == "":
		return d.create(ctx)
	case d.t.Notice != nil:
		return nil, d.noticed(ctx)
	case d.t.Binding.Told < len(d.caller):
		return nil, d.tellRest(ctx)
	}
	return d.info(ctx, true)
}

// createParams are the params of task.create as every server takes them.
type createParams struct {
	InitialMessage *arc.Message    `json:"initialMessage"`
	Priority       arc.Priority    `json:"priority,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitzero"`
}

// create makes the task at the agent. Its key stays the same until the agent has
// forgotten the task, so that an agent that knows keys makes no second one.
func (d *delegation) create(ctx context.Context) (*remoteTask, error) {
	if len(d.caller) == 0 {
		return nil, errors.New("carrier: the task has no message")
	}
	params := createParams{&d.caller[0], d.t.Task.Priority, withDeadline(d.t.Task.Metadata, d.t.Task.Deadline)}
	longer, cancel := lingering(ctx)
	result, err := d.c.call(longer, d.t, d.line, Call{Method: "task.create", Key: d.key(), Params: params})
	cancel()
	if err != nil {
		return nil, d.c.failed(ctx, d.t, "task.create", err)
	}
	seen, err := readTask(result)
	if err != nil || seen.id == "" && !seen.status.Terminal() {
		return nil, d.c.failed(ctx, d.t, "task.create", errors.Join(errNoTask, err))
	}
	d.t.Reached()
	d.id = seen.id
	seen.whole = len(seen.said)+len(seen.artifacts) > 0
	if seen.status.Terminal() && (seen.id == "" || seen.whole) {
		return seen, nil // it is over; nothing has to be remembered
	}
	if err := d.bind(ctx, 1); err != nil {
		if ctx.Err() == nil {
			d.id = "" // it is not ours
		}
		return nil, err
	}
	return seen, d.tellRest(ctx)
}

// key names the task to the agent.
func (d *delegation) key() string {
	return d.t.Task.ID + "." + strconv.Itoa(d.t.Binding.Again)
}

// bind remembers the agent's id and how many messages it has been given.
func (d *delegation) bind(ctx context.Context, told int) error {
	return d.t.Bind(ctx, methods.Binding{ID: d.id, Told: told, Again: d.t.Binding.Again})
}

// tellRest gives the agent the messages of the caller that it does not have yet.
func (d *delegation) tellRest(ctx context.Context) error {
	for n := d.t.Binding.Told; n < len(d.caller); n = d.t.Binding.Told {
		params := arc.SendTaskParams{TaskID: d.id, Message: &d.caller[n]}
		_, err := d.c.call(ctx, d.t, d.line, Call{Method: "task.send", Key: d.key() + "." + strconv.Itoa(n), Params: params})
		switch {
		case err == nil:
			d.t.Reached()
			d.told = time.Now()
		case hasCode(err, arc.CodeTaskNotFound):
			return d.forgotten(ctx, err)
		case hasCode(err, arc.CodeTaskCompleted, arc.CodeTaskCanceled, arc.CodeInvalidTransition):
			return nil // it has ended, or takes no messages now; the next look tells
		case hasNoMethod(err):
			d.c.log.Warn().Str("agent", d.c.id).Str("task", d.t.Task.ID).Msg("an agent takes no messages (task.send)")
		default:
			return d.c.failed(ctx, d.t, "task.send", err)
		}
		if err := d.bind(ctx, n+1); err != nil {
			return err
		}
	}
	return nil
}

// forgotten begins anew with an agent that does not know the task any more, at the
// next attempt: a task that its agent does not survive must not go on for ever.
func (d *delegation) forgotten(ctx context.Context, err error) error {
	d.t.Reached()
	d.id = ""
	if err := d.t.Bind(ctx, methods.Binding{Again: d.t.Binding.Again + 1}); err != nil {
		return err
	}
	return methods.Retry(err, d.c.poll)
}

// wait waits for a message of the caller, a notice of the agent, or the end of the
// pause, and gives what the agent then says of the task; nil: nothing new.
func (d *delegation) wait(ctx context.Context, pause *time.Duration) (*remoteTask, error) {
	length := *pause
	if d.mute {
		length = max(mutePoll, length)
	}
	waiting, stop := context.WithTimeout(ctx, length)
	m, err := d.t.Receive(waiting)
	stop()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil:
		*pause = d.c.poll
		d.caller = append(d.caller, m)
		return nil, d.tellRest(ctx)
	case errors.Is(err, methods.ErrNudged):
		return nil, d.noticed(ctx)
	case !errors.Is(err, context.DeadlineExceeded):
		return nil, err
	}
	*pause = min(*pause*3/2, longestPoll*d.c.poll)
	return d.info(ctx, false)
}

// info asks for the task; nil if the agent cannot tell. With whole it asks for the
// artifacts too.
func (d *delegation) info(ctx context.Context, whole bool) (*remoteTask, error) {
	seen, err := d.look(ctx, whole)
	switch {
	case err == nil:
		d.t.Reached()
		d.mute = false
		return seen, nil
	case hasNoMethod(err):
		d.t.Reached()
		d.mute = true // it will notify
		return nil, nil
	case hasCode(err, arc.CodeTaskNotFound):
		return nil, d.forgotten(ctx, err)
	}
	return nil, d.c.failed(ctx, d.t, "task.info", err)
}

// look makes the call task.info.
func (d *delegation) look(ctx context.Context, whole bool) (*remoteTask, error) {
	yes := true
	params := arc.GetTaskParams{TaskID: d.id, IncludeMessages: &yes, IncludeArtifacts: &whole}
	result, err := d.c.call(ctx, d.t, d.line, Call{Method: "task.info", Params: params})
	if err != nil {
		return nil, err
	}
	seen, err := readTask(result)
	if err == nil && seen.id != "" && seen.id != d.id {
		err = errOtherTask
	}
	if err != nil {
		return nil, err
	}
	if seen.whole = whole; !whole {
		seen.artifacts = nil // whatever there is of them is asked for at the end
	}
	return seen, nil
}

// errOtherTask says that the agent answered for another task than the one that it
// was asked about.
var errOtherTask = errors.New("carrier: the agent answers for another task")

// noticed takes over the results of a task that its agent has called completed. If
// the agent cannot be asked any more, its word is enough.
func (d *delegation) noticed(ctx context.Context) error {
	for try := 1; d.id != ""; try++ {
		seen, err := d.look(ctx, true)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && seen.status.Terminal():
			d.t.Reached()
			return d.takeEnd(ctx, seen)
		case try == 3 || hasNoMethod(err) || hasCode(err, arc.CodeTaskNotFound):
			return errCompleted
		}
		if err := rest(ctx, time.Duration(try)*d.c.poll); err != nil {
			return err
		}
	}
	return errCompleted
}

// take takes over what the agent has made, and tells by its error where the task has
// come to; nil: it goes on.
func (d *delegation) take(ctx context.Context, seen *remoteTask) error {
	switch {
	case seen.status.Terminal():
		if seen.status == arc.TaskCompleted && !seen.whole {
			if err := d.complete(ctx, seen); err != nil {
				return err
			}
		}
		return d.takeEnd(ctx, seen)
	case seen.status == arc.TaskInputRequired:
		return d.takeQuestion(ctx, seen)
	}
	return d.takeMade(ctx, seen.said, seen.artifacts)
}

// complete asks for the results of a task that is done. An agent that does not have
// them any more had none; what it said of the state first counts.
func (d *delegation) complete(ctx context.Context, seen *remoteTask) error {
	if d.id == "" {
		return nil
	}
	more, err := d.look(ctx, true)
	switch {
	case err == nil:
		seen.said, seen.artifacts = more.said, more.artifacts
	case !hasNoMethod(err) && !hasCode(err, arc.CodeTaskNotFound):
		return d.c.failed(ctx, d.t, "task.info", err)
	}
	return nil
}

// takeEnd takes over a task that has ended.
func (d *delegation) takeEnd(ctx context.Context, seen *remoteTask) error {
	if err := d.takeMade(ctx, seen.said, seen.artifacts); err != nil {
		return err
	}
	switch seen.status {
	case arc.TaskFailed:
		return seen.failure
	case arc.TaskCanceled:
		return methods.CanceledByAgent(sentence(seen.reason))
	}
	return errCompleted
}

// questionGrace is how long an agent that has been given an answer may go on to say
// INPUT_REQUIRED before that counts as a question again.
const questionGrace = 10 * time.Second

// takeQuestion has the caller asked for input, if the agent has a question that it
// has no answer to.
func (d *delegation) takeQuestion(ctx context.Context, seen *remoteTask) error {
	earlier, question := seen.said, arc.Text(arc.RoleAgent, "The agent needs input.")
	fresh := d.fresh(seen.said)
	if n := len(seen.said); n > 0 {
		earlier, question = seen.said[:n-1], seen.said[n-1]
	}
	if err := d.takeMade(ctx, earlier, seen.artifacts); err != nil {
		return err
	}
	if len(fresh) == 0 && !d.told.IsZero() && time.Since(d.told) < questionGrace {
		return nil
	}
	return d.t.NeedInput(ctx, question)
}

// takeMade takes over messages and artifacts.
func (d *delegation) takeMade(ctx context.Context, said []arc.Message, artifacts []arc.Artifact) error {
	for _, n := range d.fresh(said) {
		if err := d.t.Hear(ctx, n, said[n-1]); err != nil {
			return err
		}
		d.t.Binding.Heard = n
	}
	for _, a := range artifacts {
		if d.given[a.ID] {
			continue
		}
		if err := d.t.Artifact(ctx, a); err != nil {
			return err
		}
		d.given[a.ID] = true
	}
	return nil
}

// fresh gives the numbers, from 1, of the messages that were not taken over before:
// as the agent counts them, or as part of the history, where its questions are.
func (d *delegation) fresh(said []arc.Message) (numbers []int) {
	left := maps.Clone(d.known)
	for i, m := range said {
		text := content(m)
		switch {
		case left[text] > 0:
			left[text]--
		case i+1 > d.t.Binding.Heard:
			numbers = append(numbers, i+1)
		}
	}
	return numbers
}

// content is what a message says, to be compared.
func content(m arc.Message) string {
	var b []byte
	for _, p := range m.Parts {
		b, _ = p.AppendJSON(b) // of parts that were read, or are in the history
		b = append(b, '\n')
	}
	return string(b)
}
