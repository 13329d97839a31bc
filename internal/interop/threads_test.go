package interop_test

import (
	"os"
	"path/filepath"
	"testing"
)

// threads is a ThreadManager of the Python client that lives over several
// calls.
type threads struct {
	caller
	session string
}

func (m threads) do(t *testing.T, call string, args map[string]any) observed {
	t.Helper()
	return m.python.do(t, order{
		Endpoint: m.endpoint, Token: m.token, Session: m.session, Call: "threads." + call, Args: args,
	})
}

// say sends a message and gives the id of the chat that it went to.
func (m threads) say(t *testing.T, agent, what string) string {
	t.Helper()
	seen := m.do(t, "send_to_agent", map[string]any{"agent_id": agent, "message": text(what)})
	if seen.Error != nil {
		t.Fatalf("send_to_agent raises %s: %s", seen.Error.Class, seen.Error.Text)
	}
	id, _ := at(seen.Value, "result", "chat", "chatId").(string)
	return id
}

// TestPythonThreadManager drives the client's ThreadManager: it keeps to its
// chats, ends them, and starts anew where the server has lost one.
func TestPythonThreadManager(t *testing.T) {
	d := started(t, "")
	token := d.token(t, "--scope", allScopes)
	m := threads{caller{newPython(t), d.endpoint(), token, ""}, "manager"}

	first := m.say(t, "echo", "one")
	if again := m.say(t, "echo", "two"); again != first || first == "" {
		t.Errorf("the second message goes to chat %q, want the first's, %q", again, first)
	}
	other := m.say(t, "stream", "one")
	if other == first {
		t.Errorf("two agents share chat %q", other)
	}

	// Ended through the manager: the next message opens a new chat.
	if seen := m.do(t, "end_thread", map[string]any{"agent_id": "stream", "reason": "enough"}); seen.Error != nil {
		t.Fatalf("end_thread raises %s: %s", seen.Error.Class, seen.Error.Text)
	}
	if renewed := m.say(t, "stream", "two"); renewed == other {
		t.Errorf("the ended chat %q is used again", other)
	}

	// Closed behind the manager's back: the manager cannot know, and the caller
	// is told.
	m.call(t, "chat.end", map[string]any{"target_agent": "echo", "chat_id": first})
	seen := m.do(t, "send_to_agent", map[string]any{"agent_id": "echo", "message": text("three")})
	if seen.Error == nil || seen.Error.Class != "ARCChatError" || seen.Error.Code != -43002.0 {
		t.Errorf("a message to a closed chat gives %v, want ARCChatError with -43002", seen)
	}
	if seen := m.do(t, "remove_thread_id", map[string]any{"agent_id": "echo"}); seen.Error != nil {
		t.Fatalf("remove_thread_id raises %s", seen.Error.Class)
	}
	before := m.say(t, "echo", "four")

	// Lost by the server, as after its retention: the manager recovers by itself.
	d.stop(t)
	stores, err := filepath.Glob(filepath.Join(d.dir, "arcd.db*"))
	if err != nil || len(stores) == 0 {
		t.Fatalf("no store in %s: %v", d.dir, err)
	}
	for _, file := range stores {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	d.start(t)
	after := m.say(t, "echo", "five")
	if after == before || after == "" {
		t.Errorf("after the loss of chat %q the manager uses %q, want a new one", before, after)
	}
	if again := m.say(t, "echo", "six"); again != after {
		t.Errorf("the manager does not keep to its new chat: %q, then %q", after, again)
	}

	seen = m.do(t, "cleanup_all", map[string]any{"reason": "session over"})
	want(t, seen.Value, true, "echo")
	if count := m.do(t, "get_thread_count", nil); count.Value != 0.0 {
		t.Errorf("after cleanup_all the manager has %v chats, want none", count.Value)
	}
}
