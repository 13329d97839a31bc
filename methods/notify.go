package methods

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// notifyParams are arc.NotifyTaskParams whose data is still encoded.
type notifyParams struct {
	TaskID string          `json:"taskId"`
	Event  arc.EventType   `json:"event"`
	At     json.RawMessage `json:"timestamp"`
	Data   json.RawMessage `json:"data"`
}

// maxNotices is how many notices are remembered, to know a second copy.
const maxNotices = 64

// NotifyTask is task.notification: the agent that has a task in hand says what
// happened to it. It names the task by our id or by its own ([Binding]). What comes
// twice, or after the end, changes nothing and is no error.
//
// The end of a task is not believed alone where its carrier can ask for the results
// first; TASK_COMPLETED therefore takes effect a moment later.
//
// Errors: -42001 (also for a task of another agent), -44002 (the token does not
// name the agent), -32602, -45004 (the task holds as much as it may).
func (s *Service) NotifyTask(ctx context.Context, c *rpc.Call, p notifyParams) (*arc.SuccessResult, error) {
	if err := namesAgent(c.Principal, c.From); err != nil {
		return nil, err
	}
	n, err := readNotice(p)
	if err != nil {
		return nil, err
	}
	th, err := s.assigned(ctx, c.From, p.TaskID)
	if err != nil {
		return nil, err
	}
	answer := &arc.SuccessResult{Success: true, Message: "noted"}
	var lease string
	took := false
	th, err = s.edit(ctx, th.ID, func(th *thread) (*change, error) {
		lease, took = th.rec.Lease, false
		if th.status().Terminal() {
			answer.Message = "the task has ended; nothing is changed"
			return nil, nil
		}
		if slices.ContainsFunc(th.rec.Notices, func(d []byte) bool { return string(d) == string(n.digest) }) {
			answer.Message = "this was told before; nothing is changed"
			return nil, nil
		}
		if th.full() {
			return nil, arc.Errorf(arc.CodeTooLarge, "the task holds as many messages and artifacts as it may").
				With("taskId", p.TaskID).With("max_items", maxItems).With("max_bytes", maxBytes).With("retryable", false)
		}
		took = true
		th.rec.Notices = append(th.rec.Notices, n.digest)
		th.rec.Notices = th.rec.Notices[max(0, len(th.rec.Notices)-maxNotices):]
		return s.noted(th, n, s.now()), nil
	})
	if err != nil {
		return nil, gone(err, p.TaskID)
	}
	if took {
		s.tell(th, lease)
	}
	return answer, nil
}

// tell has the carrier of a task know that a notice changed it.
func (s *Service) tell(th *thread, lease string) {
	w := s.work(th.ID)
	switch {
	case w == nil || w.lease != lease:
	case th.rec.Lease != lease: // ended or paused: the work goes on without the carrier
		w.cancel(errLost)
	case th.rec.Notice != nil:
		poke(w.nudged)
	}
}

// notice is a notification that was read.
type notice struct {
	arc.NotifyTaskParams
	progress *arc.Progress
	message  *arc.Message
	artifact *arc.Artifact
	digest   []byte
}

// paired tells whether a message came already on the other of the two ways, by notice
// and found by a look; if not, it is kept in mind as one that may still. It is known by
// its content: an agent's notices have no numbers, and may overtake each other.
func paired(this, other *[][]byte, m *arc.Message) bool {
	digest := contentDigest(m)
	same := func(d []byte) bool { return bytes.Equal(d, digest) }
	if i := slices.IndexFunc(*other, same); i >= 0 {
		*other = slices.Delete(*other, i, i+1)
		return true
	}
	*this = append(*this, digest)
	*this = (*this)[max(0, len(*this)-maxNotices):]
	return false
}

// contentDigest is a digest of what a message says, however its JSON is written.
func contentDigest(m *arc.Message) []byte {
	sum := sha256.New()
	for i := range m.Parts {
		content := jsontext.Value(encode(m.Parts[i]))
		_ = content.Canonicalize() // else it is taken as it is
		sum.Write(append(content, '\n'))
	}
	return sum.Sum(nil)[:8]
}

// readNotice reads what an agent tells.
func readNotice(p notifyParams) (*notice, error) {
	if p.TaskID == "" {
		return nil, arc.InvalidParam("taskId", "is required")
	}
	n := &notice{NotifyTaskParams: arc.NotifyTaskParams{TaskID: p.TaskID, Event: p.Event}}
	if err := json.Unmarshal(p.At, &n.At); err != nil || !writable(n.At) {
		return nil, arc.InvalidParam("timestamp", "must be an RFC 3339 time").Because(err)
	}
	if err := jsonv2.Unmarshal(p.Data, &n.Data); err != nil || len(p.Data) == 0 {
		return nil, arc.InvalidParam("data", "must be an object with status and message, and what belongs to the event").Because(err)
	}
	n.Data.Message, n.Data.Reason = valid(n.Data.Message), valid(n.Data.Reason)
	sum := sha256.New()
	sum.Write([]byte(p.Event + "\n"))
	sum.Write(p.At)
	sum.Write(p.Data)
	n.digest = sum.Sum(nil)[:12]
	return n, n.readContent(p.Data)
}

// readContent reads the part of the data that the event is about.
func (n *notice) readContent(data []byte) error {
	switch n.Event {
	case arc.TaskCreatedEvent, arc.TaskStartedEvent, arc.TaskResumedEvent, arc.TaskCompletedEvent, arc.TaskFailedEvent, arc.TaskCanceledEvent:
		return nil
	case arc.StatusChangeEvent:
		if !slices.Contains(arc.TaskStatuses, arc.TaskStatus(n.Data.Status)) {
			return arc.InvalidParam("data.status", "must be a state of a task, such as WORKING")
		}
		return nil
	case arc.ProgressEvent:
		n.progress = &arc.Progress{}
		if err := jsonv2.Unmarshal(data, n.progress); err != nil {
			return arc.InvalidParam("data", "must hold percent, a number").Because(err)
		}
		n.progress.Percent, n.progress.Note = min(max(n.progress.Percent, 0), 100), brief(n.progress.Note)
		return nil
	case arc.TaskPausedEvent:
		n.message = n.question()
		return nil
	case arc.NewMessageEvent:
		n.message = &arc.Message{}
		if err := jsonv2.Unmarshal(n.Data.MessageContent, n.message); err != nil {
			return arc.InvalidParam("data.messageContent", "must be a message").Because(err)
		}
		n.message.Role = arc.RoleAgent
		return checkMessage("data.messageContent", n.message, arc.CodeInvalidParams)
	case arc.NewArtifactEvent:
		return n.readArtifact()
	}
	return arc.InvalidParam("event", "must be one of the events of the specification, such as TASK_COMPLETED, or progress")
}

func (n *notice) readArtifact() error {
	n.artifact = &arc.Artifact{}
	if err := jsonv2.Unmarshal(n.Data.Artifact, n.artifact); err != nil {
		return arc.InvalidParam("data.artifact", "must be an artifact").Because(err)
	}
	if n.artifact.Name == "" || len(n.artifact.Parts) == 0 || len(n.artifact.Parts) > maxParts {
		return arc.InvalidParam("data.artifact", "must have a name and at least one part")
	}
	for i := range n.artifact.Parts {
		if issue, member := checkPart(&n.artifact.Parts[i]); issue != "" {
			return arc.InvalidParam("data.artifact.parts"+member, issue)
		}
	}
	if n.artifact.ID == "" { // the same for the same content, so that a copy is known
		sum := sha256.Sum256(n.Data.Artifact)
		n.artifact.ID = "artifact-" + idEncoding.EncodeToString(sum[:10])
	}
	return nil
}

// question is what the agent asks: requiredInput if that is a message or a text,
// else the message of the data.
func (n *notice) question() *arc.Message {
	var m arc.Message
	if jsonv2.Unmarshal(n.Data.RequiredInput, &m) == nil && m.Role != "" && checkMessage("", &m, 0) == nil {
		m.Role = arc.RoleAgent
		return &m
	}
	var text string
	if jsonv2.Unmarshal(n.Data.RequiredInput, &text) != nil || text == "" {
		text = n.Data.Message
	}
	if text == "" {
		text = "The agent needs input."
	}
	m = arc.Text(arc.RoleAgent, valid(text))
	return &m
}

// noted is what a notice changes about an open task.
func (s *Service) noted(th *thread, n *notice, now time.Time) *change {
	ch := &change{}
	event := n.Event
	if event == arc.StatusChangeEvent {
		event = changeOf(th.status(), arc.TaskStatus(n.Data.Status))
		if n.message == nil && event == arc.TaskPausedEvent {
			n.message = n.question()
		}
	}
	switch event {
	case arc.TaskStartedEvent, arc.TaskPausedEvent, arc.TaskResumedEvent:
		if n.At.UnixMilli() < th.rec.StateAt {
			return ch // a newer one has overtaken it
		}
		th.rec.StateAt = n.At.UnixMilli()
	}
	switch event {
	case arc.TaskStartedEvent:
		th.begin(ch, now)
	case arc.TaskPausedEvent:
		if th.status() != arc.TaskInputRequired {
			given := th.Items
			if th.rec.Inputs > th.rec.Binding.Told {
				given = 0 // the caller has said something that the agent does not know yet
			}
			return th.pause(*n.message, given, now)
		}
	case arc.TaskResumedEvent:
		if th.status() == arc.TaskInputRequired {
			th.resume(ch, now, "the agent goes on")
		}
	case arc.ProgressEvent:
		th.begin(ch, now)
		n.progress.At = arc.At(now)
		th.rec.Progress = n.progress
		ch.event(now, arc.ProgressEvent, *n.progress)
	case arc.NewMessageEvent:
		th.begin(ch, now)
		if paired(&th.rec.Noted, &th.rec.Found, n.message) {
			return ch
		}
		n.message.AgentID = th.Agent
		th.saidBy(ch, storedMessage(n.message, now), now)
	case arc.NewArtifactEvent:
		th.begin(ch, now)
		if n.artifact.CreatedAt.IsZero() {
			n.artifact.CreatedAt = arc.At(now)
		}
		n.artifact.CreatedBy = th.Agent
		th.addArtifact(ch, n.artifact.ID, encode(*n.artifact), now)
	case arc.TaskFailedEvent, arc.TaskCanceledEvent:
		th.rec.Notice = n.ending(event)
		return th.endNoticed(now)
	case arc.TaskCompletedEvent:
		th.rec.Notice = n.ending(event)
		if a, ok := s.agent(th.Agent); !ok || a.away() {
			return th.endNoticed(now)
		}
		if th.status() == arc.TaskInputRequired {
			th.resume(ch, now, "the agent goes on")
		} else if th.rec.Lease == "" {
			th.rec.RetryAt, th.Ready = 0, true
		}
	}
	return ch
}

// ending is what a task keeps of a notice that ends it.
func (n *notice) ending(event arc.EventType) *arc.NotifyTaskParams {
	d := &n.Data
	end := arc.EventData{Message: brief(d.Message), Reason: brief(d.Reason)}
	if d.Error != nil {
		end.Error = taskError(d.Error.Code, d.Error.Message, d.Error.Reason)
	}
	return &arc.NotifyTaskParams{TaskID: brief(n.TaskID), Event: event, At: n.At, Data: end}
}

// changeOf gives the event that takes a task from one state to another; "" if it is
// in that one.
func changeOf(from, to arc.TaskStatus) arc.EventType {
	switch {
	case from == to:
		return ""
	case to == arc.TaskInputRequired:
		return arc.TaskPausedEvent
	case to == arc.TaskWorking && from == arc.TaskInputRequired:
		return arc.TaskResumedEvent
	case to == arc.TaskWorking:
		return arc.TaskStartedEvent
	case to == arc.TaskCompleted:
		return arc.TaskCompletedEvent
	case to == arc.TaskFailed:
		return arc.TaskFailedEvent
	case to == arc.TaskCanceled:
		return arc.TaskCanceledEvent
	}
	return ""
}

// endNoticed ends a task as its agent has said.
func (th *thread) endNoticed(now time.Time) *change {
	n := th.rec.Notice
	th.rec.Said = true
	switch n.Event {
	case arc.TaskFailedEvent:
		e := &arc.TaskError{Code: arc.CodeTaskFailed, Message: n.Data.Message, Reason: n.Data.Reason}
		if n.Data.Error != nil {
			e = n.Data.Error
		}
		return th.fail(now, taskError(e.Code, e.Message, e.Reason))
	case arc.TaskCanceledEvent:
		return th.givenUp(now, n.Data.Reason)
	}
	return th.complete(now)
}

// earlyNotice is how long a notice may be ahead of the answer that tells the agent's
// own id of the task.
const earlyNotice = time.Second

// assigned finds a task that an agent has in hand, by our id or by its own. What
// it has not in hand answers like what does not exist: -42001.
func (s *Service) assigned(ctx context.Context, agent, id string) (*thread, error) {
	a, ok := s.agent(agent)
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		th, err := s.lookAssigned(ctx, agent, id)
		if arc.CodeOf(err) != arc.CodeTaskNotFound || wait > earlyNotice || !ok || len(a.slots) == 0 && s.alone() {
			return th, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

func (s *Service) lookAssigned(ctx context.Context, agent, id string) (*thread, error) {
	th, err := s.taskOf(ctx, agent, id)
	if arc.CodeOf(err) != arc.CodeTaskNotFound {
		return th, err
	}
	held, failed := s.store.Replay(ctx, agentKey(agent), id, s.now())
	switch {
	case failed != nil:
		return nil, failed
	case held == nil:
		return nil, err
	}
	if th, failed = s.taskOf(ctx, agent, held.Thread); arc.CodeOf(failed) == arc.CodeTaskNotFound {
		return nil, err
	}
	return th, failed
}

// taskOf finds an agent's task by our id. What makes it the agent's never changes, so
// an older copy will do.
func (s *Service) taskOf(ctx context.Context, agent, id string) (*thread, error) {
	t, _, err := s.store.Recent(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && (t.Kind != store.Task || t.Agent != agent):
		return nil, taskNotFound(id)
	case err != nil:
		return nil, err
	}
	return decode(t)
}
