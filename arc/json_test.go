package arc_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
)

// What AppendJSON writes, encoding/json reads back unchanged.
func TestAppendJSONReadsBack(t *testing.T) {
	at := arc.At(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC))
	raw := json.RawMessage(`{"a":[1,"x"]}`)
	message := arc.Message{
		Role: arc.RoleAgent, Timestamp: at, AgentID: "a/b",
		Parts: []arc.Part{
			arc.TextPart("plain"), arc.TextPart("line\nbreak \"quoted\" <tag> \u2028 é \x7f"), arc.TextPart(""),
			{Type: arc.PartFile, Content: json.RawMessage(`"aGk="`), MimeType: "text/plain", Filename: "ü.txt",
				Extra: map[string]json.RawMessage{"size": json.RawMessage("2"), "encoding": json.RawMessage(`"base64"`)}},
		},
	}
	b, err := message.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	var gotMessage arc.Message
	if err := json.Unmarshal(b, &gotMessage); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if diff := cmp.Diff(message, gotMessage); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	for _, want := range []arc.StreamDone{
		{ChatID: "c", Status: "ACTIVE", Done: true, RequestID: "r"}, {TaskID: "t", Status: "FAILED", Done: true}, {},
	} {
		b, err := want.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if slow, _ := json.Marshal(want); string(slow) != string(b) {
			t.Errorf("AppendJSON = %s, encoding/json %s", b, slow)
		}
	}
	data := arc.EventData{
		Status: "WORKING", Message: "m", Priority: arc.PriorityHigh, AssignedAgent: "a",
		CreatedAt: at, StartedAt: at, PausedAt: at, ResumedAt: at, CompletedAt: at, FailedAt: at, CanceledAt: at, ChangedAt: at,
		PreviousStatus: "SUBMITTED", RequiredInput: raw, PauseDuration: 5, Duration: 6, ArtifactCount: 7, MessageCount: 8,
		Error: &arc.TaskError{Code: arc.CodeTaskFailed, Message: "m", Reason: "r"}, CanceledBy: "c", Reason: "why \\ not",
		MessageContent: raw, Artifact: raw,
	}
	for _, want := range []arc.EventData{data, {Status: "s", Message: ""}} {
		b, err := want.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got arc.EventData
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("data (-want +got):\n%s", diff)
		}
		// No member is forgotten, and none is there twice.
		slow, _ := json.Marshal(want)
		var fastMembers, slowMembers map[string]any
		_ = json.Unmarshal(b, &fastMembers)
		_ = json.Unmarshal(slow, &slowMembers)
		if diff := cmp.Diff(slowMembers, fastMembers); diff != "" {
			t.Errorf("members (-encoding/json +AppendJSON):\n%s", diff)
		}
	}
}
