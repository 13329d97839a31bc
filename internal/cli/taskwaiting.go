package cli

import (
	"strconv"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// waitingState says why an open task makes no headway: its agent is not there.
type waitingState struct {
	Reason  string  `json:"reason"`   // agent_away: nobody has dialled in for it; agent_unreachable: it was called in vain
	Since   *string `json:"since"`    // when that was first seen; null: unknown
	Tries   int     `json:"tries"`    // how often it was called in vain
	NextTry *string `json:"next_try"` // null: as soon as the agent comes
	FailsAt *string `json:"fails_at"` // when the task fails if that stays so
}

// newWaitingState takes over what the server says; nil for a task that does not
// wait for its agent.
func newWaitingState(t *arc.Task) *waitingState {
	w := t.Waiting
	if w == nil || t.Status.Terminal() {
		return nil
	}
	return &waitingState{
		Reason: wireWord(w.Reason), Since: wireTime(w.Since), Tries: max(w.Tries, 0), NextTry: wireTime(w.Next), FailsAt: wireTime(w.Until),
	}
}

// why says what is wrong with the agent, since when.
func (w *waitingState) why() string {
	said := "is not ready"
	switch w.Reason {
	case "agent_away":
		said = "is not connected"
	case "agent_unreachable":
		said = "cannot be reached"
	}
	if w.Since != nil {
		said += " since " + *w.Since
	}
	return said
}

// tried says what was done about it, "" if nothing was.
func (w *waitingState) tried() string {
	said := ""
	switch w.Tries {
	case 0:
	case 1:
		said = "tried once"
	default:
		said = "tried " + strconv.Itoa(w.Tries) + " times"
	}
	if w.NextTry != nil {
		if said != "" {
			said += ", "
		}
		said += "next try at " + *w.NextTry
	}
	return said
}

// text says it in a line.
func (w *waitingState) text() string {
	said := "its agent " + w.why()
	if tried := w.tried(); tried != "" {
		said += " (" + tried + ")"
	}
	if w.FailsAt != nil {
		said += "; gives up at " + *w.FailsAt
	}
	return said
}

// brief says it for a line that is written anew: why, and how long until something
// happens.
func (w *waitingState) brief(of *arc.Waiting, now time.Time) string {
	said := "its agent is not ready"
	switch w.Reason {
	case "agent_away":
		said = "its agent is not connected"
	case "agent_unreachable":
		said = "its agent cannot be reached"
	}
	for _, event := range []struct {
		what string
		at   arc.Time
	}{{"next try in ", of.Next}, {"gives up in ", of.Until}} {
		if left := event.at.Sub(now); !event.at.IsZero() && left > 0 {
			said += "; " + event.what + short(left.Round(time.Second))
		}
	}
	return said
}

// sentence says it of an agent, as part of what is known of the task.
func (w *waitingState) sentence(agent string) string {
	said := "It waits because " + agent + " " + w.why()
	if tried := w.tried(); tried != "" {
		said += " (" + tried + ")"
	}
	if w.FailsAt != nil {
		said += "; it fails at " + *w.FailsAt + " if that stays so"
	}
	return said + "."
}
