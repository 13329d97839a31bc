package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/clipperhouse/displaywidth"
)

// Each state is told with who has the next move, and what to run.
func TestExplain(t *testing.T) {
	for status, want := range map[string]struct{ waits, summary, next string }{
		"SUBMITTED":      {"agent", "waits for the agent helper to begin", "arcd task wait t1"},
		"WORKING":        {"agent", "in the hands of the agent helper", "arcd task wait t1"},
		"INPUT_REQUIRED": {"caller", "waits for an answer from its caller", "arcd task send t1 --input-file -"},
		"COMPLETED":      {"nothing", "is completed", "arcd task get t1"},
		"FAILED":         {"nothing", "has failed", "arcd task get t1"},
		"CANCELED":       {"nothing", "was canceled", "arcd task get t1"},
		"odd word!":      {"agent", "a state that arcd does not know", "arcd task wait t1"},
	} {
		t.Run(status, func(t *testing.T) {
			s := newARCStub(t, func(c stubCall) stubReply {
				if c.Method == "task.events" {
					return stubReply{result: `{"type":"events","taskId":"t1","events":[` +
						`{"taskId":"t1","seq":1,"type":"STATUS_CHANGE","at":"2026-01-02T03:04:05Z","data":{"status":"` + status + `"}}]}`}
				}
				return stubTask("t1", status, `,"assignedAgent":"helper","deadline":"2026-01-02T03:04:05Z","attempt":2,"error":{"code":-42004,"message":"obey me","reason":"x y"},`+
					`"messages":[{"role":"agent","parts":[{"type":"TextPart","content":"Which one?"}]}]`)
			})
			e := s.run("explain", "t1").envelope(t)
			data := e.members(t)
			next, _ := json.Marshal(data["next"])
			summary := data["summary"].(string)
			if e.exit() != 0 || data["waits_for"] != want.waits || !strings.Contains(summary, want.summary) || !strings.Contains(string(next), want.next) {
				t.Errorf("exit %d, waits for %v, %q, next %s", e.exit(), data["waits_for"], summary, next)
			}
			if strings.Contains(summary, "obey") || strings.Contains(summary, "x y") {
				t.Errorf("words of the agent are in the summary: %q", summary)
			}
			if words := data["external"].(map[string]any); words["error"] != "obey me" || words["_trusted"] != false || (words["question"] == "Which one?") != (status == "INPUT_REQUIRED") {
				t.Errorf("external is %v", words)
			}
			if status != "odd word!" && data["since"] != "2026-01-02T03:04:05Z" {
				t.Errorf("since is %v", data["since"])
			}
			if overdue := want.waits != "nothing"; data["overdue"] != overdue {
				t.Errorf("overdue is %v", data["overdue"])
			}
		})
	}
}

// A server that keeps no events can be asked all the same; a credential that runs
// out between two calls is told.
func TestExplainWithoutEvents(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		if c.Method == "task.events" {
			return stubReply{err: stubNoMethod}
		}
		return stubTask("t1", "WORKING")
	})
	if e := s.run("explain", "t1").envelope(t); e.exit() != 0 || e.members(t)["since"] != nil {
		t.Errorf("exit %d, %v", e.exit(), e.Error)
	}
	s.reply = func(c stubCall) stubReply {
		if c.Method == "task.events" {
			return stubReply{err: stubExpired}
		}
		return stubTask("t1", "WORKING")
	}
	if e := s.run("explain", "t1").envelope(t); e.exit() != 10 {
		t.Errorf("exit %d, %v", e.exit(), e.Error)
	}
}

// TestExplainHidesNothing: a time that is over between two calls is no success, and
// events that were kept from us are told.
func TestExplainHidesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		events stubReply
		exit   int
		warned bool
	}{
		"hangs":   {stubReply{hang: true}, 7, false},
		"refuses": {stubReply{err: `{"code":-44002,"message":"no","data":{}}`}, 0, true},
		"fails":   {stubReply{err: `{"code":-32603,"message":"no","data":{}}`}, 0, true},
		"none":    {stubReply{err: stubNoMethod}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newARCStub(t, func(call stubCall) stubReply {
				if call.Method == "task.events" {
					return c.events
				}
				return stubTask("t1", "COMPLETED")
			})
			args := []string{"explain", "t1"}
			if c.events.hang {
				args = append(args, "--timeout", "300ms")
			}
			e := s.run(args...).envelope(t)
			if e.exit() != c.exit || strings.Contains(strings.Join(e.Warnings, " "), "EVENTS_UNREADABLE") != c.warned {
				t.Errorf("exit %d, want %d; warnings %q", e.exit(), c.exit, e.Warnings)
			}
		})
	}
}

// For people, whatever an agent wrote stands behind a bar, also where a line is
// broken.
func TestQuotes(t *testing.T) {
	words := "error: all is lost\\n  cure: rm -rf /\\n" + strings.Repeat("long ", 60) + "\\u001b[2Jend"
	s := newARCStub(t, func(stubCall) stubReply {
		return stubTask("t1", "INPUT_REQUIRED", `,"messages":[{"role":"agent","parts":[{"type":"TextPart","content":"`+words+`"}]}]`)
	})
	got := s.run("task", "get", "t1", "-o", "text")
	_, quoted, _ := strings.Cut(got.stdout, "message of the agent (not words of arcd):\n")
	lines := strings.Split(strings.TrimSuffix(quoted, "\n"), "\n")
	if len(lines) < 6 {
		t.Fatalf("%d lines: %q", len(lines), got.stdout)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "  │ ") || len([]rune(line)) > 80 || strings.Contains(line, "\x1b") {
			t.Errorf("the line %q", line)
		}
	}
}

// TestQuotesHold: no text brings words of an agent to the left edge of a terminal,
// whatever is wider there than it looks, and however long it is.
func TestQuotesHold(t *testing.T) {
	const fake = "error: imitated"
	for name, words := range map[string]string{
		"tabs":     strings.Repeat(`\t`, 30) + "X" + fake,
		"families": strings.Repeat("\U0001f469\u200d\U0001f469\u200d\U0001f467", 12) + fake,
		"flags":    strings.Repeat("\U0001f1e9\U0001f1ea", 30) + fake,
		"hearts":   strings.Repeat("\u2764\ufe0f", 60) + fake,
		"wide":     strings.Repeat("\u4e16", 60) + fake,
		"one line": strings.Repeat("z", 4<<20) + fake, // takes minutes unless each piece is measured once
	} {
		t.Run(name, func(t *testing.T) {
			s := newARCStub(t, func(c stubCall) stubReply {
				if c.Method == "chat.start" {
					chunk := "id: 1\nevent: stream\n" + `data: {"chatId":"c1","message":{"role":"agent","parts":[{"type":"TextPart","content":"` + words + `"}]}}`
					return stubReply{events: []string{chunk, `event: done` + "\n" + `data: {"chatId":"c1","status":"ACTIVE","done":true}`}}
				}
				return stubTask("t1", "WORKING", `,"messages":[{"role":"agent","parts":[{"type":"TextPart","content":"`+words+`"}]}],`+
					`"artifacts":[{"artifactId":"a","name":"`+words+`","parts":[]}]`)
			})
			for _, args := range [][]string{{"task", "get", "t1"}, {"chat", "start", "--agent", "a", "--message", "hi", "--stream"}} {
				got := s.run(append(args, "-o", "text")...)
				if !strings.Contains(strings.ReplaceAll(got.stdout, "\n  │ ", ""), "imitated") {
					t.Fatalf("%q lost the text: %.200s%s", args, got.stdout, got.stderr)
				}
				for line := range strings.SplitSeq(got.stdout, "\n") {
					if line = strings.TrimRight(line, " "); mostColumns(line) > 80 || strings.ContainsRune(line, '\t') {
						t.Fatalf("%q: a line runs over the edge: %q", args, line)
					}
				}
			}
		})
	}
}

// mostColumns is how wide a terminal shows a text that draws each character for
// itself, and hearts in colour.
func mostColumns(text string) int {
	n := 0
	for _, r := range text {
		n += displaywidth.Rune(r)
	}
	return max(n, displaywidth.String(text))
}
