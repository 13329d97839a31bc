package carrier

// The reader of agents' answers is not exported; it is fuzzed from inside.

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
)

// FuzzRead: whatever an agent answers, what is made of it can be stored and shown.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"type":"task","task":{"taskId":"a","status":"COMPLETED","messages":[{"role":"agent","parts":[{"type":"text","content":"x"}]}],"artifacts":[{"name":"n"}]}}`,
		`{"task":{"taskId":"a","status":"failed","error":{"code":-50001,"message":"m","details":{"reason":"r","retryable":true}}}}`,
		`{"task":{"status":"CANCELLED","reason":{},"messages":[null,"x",{"content":1},{"parts":[null,[],{"type":"ImagePart","content":"eA==","mimeType":"image/png"}]}]}}`,
		`{"chat":{"chatId":"c","message":"x"}}`,
		`{"error":"x","code":-43005,"message":"m"}`,
		`[]`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if task, err := readTask(answer); err == nil {
			for _, m := range task.said {
				checkParts(t, m.Parts)
			}
			for _, a := range task.artifacts {
				if a.ID == "" || a.Name == "" {
					t.Errorf("an artifact without id or name: %+v", a)
				}
				checkParts(t, a.Parts)
				if _, err := json.Marshal(a); err != nil {
					t.Error(err)
				}
			}
			checkFailure(t, task.failure)
		}
		if id, m, err := readChat(answer); err == nil {
			if !validID(id) {
				t.Errorf("id %q", id)
			}
			if len(m.Parts) > 0 {
				checkParts(t, m.Parts)
			}
		}
		if err, ok := streamError(answer).(*arc.Error); ok {
			checkFailure(t, err)
		}
	})
}

// checkParts checks what package methods asks of parts.
func checkParts(t *testing.T, parts []arc.Part) {
	t.Helper()
	if len(parts) == 0 || len(parts) > maxParts {
		t.Errorf("%d parts", len(parts))
	}
	for _, p := range parts {
		v := jsontext.Value(p.Content)
		if arc.PartType(p.Type) != p.Type || !v.IsValid() || string(v) == "null" {
			t.Errorf("part %+v", p)
		}
		if p.Type != arc.PartData && v[0] != '"' {
			t.Errorf("part %+v", p)
		}
	}
}

func checkFailure(t *testing.T, e *arc.Error) {
	t.Helper()
	if e == nil || e.Message == "" || !utf8.ValidString(e.Message) || len([]rune(e.Message)) > maxSentence || e.Code >= 0 || e.Reason() == "" {
		t.Errorf("failure %+v", e)
	}
}
