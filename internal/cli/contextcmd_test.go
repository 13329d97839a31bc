package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Named servers are set, chosen, shown and removed, with the effect of each.
func TestContexts(t *testing.T) {
	env := home(t)
	told(t, env, 0, "", "context", "list").has(t, map[string]any{"items": "[]", "current": nil})
	told(t, env, 2, "VALIDATION_ERROR", "context", "set", "one")
	told(t, env, 0, "", "context", "set", "one", "--server", "http://127.0.0.1:1", "--dry-run").has(t, map[string]any{"effect": "would_create"})
	told(t, env, 2, "VALIDATION_ERROR", "context", "set", "a:b", "--server", "http://127.0.0.1:1", "--dry-run") // as without
	told(t, env, 0, "", "context", "set", "one", "--server", "http://127.0.0.1:1").has(t, map[string]any{"effect": "created"})
	told(t, env, 0, "", "context", "set", "one", "--server", "http://127.0.0.1:1").has(t, map[string]any{"effect": "noop"})
	told(t, env, 0, "", "context", "add", "two", "--server", "http://127.0.0.1:2", "--client-id", "ci", "--scope", "b,a").has(t, map[string]any{"effect": "created"})

	// What is not typed stays, and a variable is not typed.
	set := told(t, with(env, "", "ARCD_SERVER=http://127.0.0.1:9"), 0, "", "context", "set", "two", "--audience", "x")
	set.has(t, map[string]any{"effect": "updated", "context": "map[agent:<nil> audience:x ca_file:<nil> client_id:ci current:false name:two scopes:[a b] server:http://127.0.0.1:2 token_url:<nil>]"})

	list := told(t, env, 0, "", "context", "list")
	list.has(t, map[string]any{"current": "one"})
	if p, _ := list.Meta["pagination"].(map[string]any); p["returned"] != 2.0 || p["has_more"] != false {
		t.Errorf("meta.pagination is %v", list.Meta["pagination"])
	}
	told(t, env, 0, "", "context", "use", "two").has(t, map[string]any{"effect": "updated"})
	told(t, env, 0, "", "context", "use", "two").has(t, map[string]any{"effect": "noop"})
	told(t, env, 5, "CONTEXT_NOT_FOUND", "context", "use", "twoo")
	told(t, env, 0, "", "context", "show").has(t, map[string]any{"name": "two", "current": true})
	told(t, env, 0, "", "status").has(t, map[string]any{"current_context": "two", "server": "http://127.0.0.1:2"})
	told(t, env, 2, "CONFIRMATION_REQUIRED", "context", "remove", "two")
	told(t, env, 0, "", "context", "remove", "two", "--confirm-destructive").has(t, map[string]any{"effect": "deleted", "context": nil})
	told(t, env, 0, "", "context", "remove", "two").has(t, map[string]any{"effect": "noop"})
	told(t, env, 5, "CONTEXT_NOT_FOUND", "context", "show")
	told(t, env, 2, "VALIDATION_ERROR", "context", "list", "--no-config")
	told(t, env, 7, "TIMEOUT", "context", "set", "three", "--server", "http://127.0.0.1:3", "--timeout", "1ns") // a code that it declares
}

// A file that cannot be read is an error that names it, and status tells it.
func TestContextsDamaged(t *testing.T) {
	env := home(t)
	told(t, env, 0, "", "context", "set", "one", "--server", "http://127.0.0.1:1")
	path := told(t, env, 0, "", "context", "use", "one").data(t)["path"].(string)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := told(t, env, 4, "STATE_UNUSABLE", "context", "list")
	if text, _ := e.Error["message"].(string); !strings.Contains(text, path) {
		t.Errorf("the message %q does not name the file", text)
	}
	if problem, _ := told(t, env, 0, "", "status").data(t)["problem"].(string); !strings.Contains(problem, path) {
		t.Errorf("data.problem is %q", problem)
	}
	told(t, env, 0, "", "status", "--no-config").has(t, map[string]any{"problem": nil})
}

// Status never fails for what it finds.
func TestStatus(t *testing.T) {
	env := home(t)
	told(t, env, 0, "", "status").has(t, map[string]any{"logged_in": false, "credential_state": "missing", "current_context": nil, "settings": nil, "files": nil, "instance": "default"})
	told(t, env, 0, "", "--context", "nope", "status").has(t, map[string]any{"server": nil, "problem": `There is no context "nope".`})
	told(t, with(env, "", "ARCD_TOKEN=Bearer x"), 0, "", "status").has(t, map[string]any{"credential_state": "invalid"})
	got := run(t, env, "--token", "SECRET123", "status")
	if e := validateEnvelope(t, got.stdout, "status"); got.code != 2 || e.code() != "SECRET_IN_ARGV" || strings.Contains(got.stdout+got.stderr, "SECRET123") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
	if e := told(t, with(env, "", "TOOL_TRACE_ID=test-123"), 0, "", "status"); e.Meta["trace_id"] != "test-123" {
		t.Errorf("meta.trace_id is %v", e.Meta["trace_id"])
	}
	plain := told(t, env, 0, "", "status").Data
	if other := told(t, with(env, "", "COLUMNS=20", "LANG=de_DE.UTF-8"), 0, "", "status").Data; string(plain) != string(other) {
		t.Errorf("data is %s, and elsewhere %s", plain, other)
	}
}

// Settings are told with where they come from, and secrets are not told.
func TestStatusSettings(t *testing.T) {
	env := home(t)
	told(t, env, 0, "", "context", "set", "one", "--server", "http://127.0.0.1:1")
	env = with(env, "", "ARCD_TIMEOUT=9s", "ARCD_CLIENT_SECRET=hunter2")
	e := told(t, env, 0, "", "status", "--show-config", "--show-files", "--retries", "1")
	found := map[string][2]any{}
	for _, line := range e.data(t)["settings"].([]any) {
		setting := line.(map[string]any)
		found[setting["name"].(string)] = [2]any{setting["value"], setting["source"]}
	}
	for name, want := range map[string][2]any{
		"timeout": {"9s", "env:ARCD_TIMEOUT"}, "retries": {1.0, "flag"}, "server": {"http://127.0.0.1:1", "context:one"},
		"connect-timeout": {"5s", "default"}, "ARCD_CLIENT_SECRET": {"[REDACTED]", "env:ARCD_CLIENT_SECRET"}, "ARCD_TOKEN": {nil, "default"},
	} {
		if found[name] != want {
			t.Errorf("%s is %v, want %v", name, found[name], want)
		}
	}
	if strings.Contains(string(e.Data), "hunter2") {
		t.Error("a secret is told")
	}
	var names []string
	for _, f := range e.data(t)["files"].([]any) {
		file := f.(map[string]any)
		names = append(names, filepath.Base(file["path"].(string)))
		if file["name"] == "contexts" && (file["exists"] != true || file["mode"] != "0600") {
			t.Errorf("contexts: %v", file)
		}
	}
	if len(names) < 4 {
		t.Errorf("files are %q", names)
	}
}
