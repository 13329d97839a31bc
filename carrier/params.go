package carrier

import (
	"context"
	"encoding/json"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// withDeadline gives a task's metadata with the deadline that the task really has.
func withDeadline(metadata json.RawMessage, deadline arc.Time) json.RawMessage {
	if deadline.IsZero() {
		return metadata
	}
	members := map[string]json.RawMessage{}
	if len(metadata) > 0 && jsonv2.Unmarshal(metadata, &members) != nil {
		return metadata
	}
	members["deadline"] = json.RawMessage(`"` + deadline.String() + `"`)
	made, err := jsonv2.Marshal(members, jsonv2.Deterministic(true))
	if err != nil {
		return metadata
	}
	return made
}

// sides divides the history into what the caller has said and what the agent has. The
// first message is the caller's, whatever it calls itself.
func sides(t *methods.Turn) (caller, agent []arc.Message) {
	for i, m := range t.History {
		if i > 0 && m.Role == arc.RoleAgent && m.AgentID == t.Agent {
			agent = append(agent, m)
		} else {
			caller = append(caller, m)
		}
	}
	return caller, agent
}

// rest waits, unless ctx ends first.
func rest(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxHistory bounds what an agent that dialled in is told of what was said before,
// in bytes.
const maxHistory = 1 << 20

// recent gives the newest messages that are not too much together; the last one in
// any case.
func recent(history []arc.Message) []arc.Message {
	size := 0
	for i := len(history) - 1; i >= 0; i-- {
		if size += len(content(history[i])); size > maxHistory && i < len(history)-1 {
			return history[i+1:]
		}
	}
	return history
}
