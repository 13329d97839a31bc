package cli_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shownAgent is an agent in results, as far as tests look at it.
type shownAgent struct {
	AgentID    *string `json:"agent_id"`
	Status     string
	Registered *bool
	LastSeen   *string `json:"last_seen"`
	Similarity *float64
	Methods    []string
	About      *struct {
		Source       string `json:"_source"`
		Trusted      bool   `json:"_trusted"`
		Name         string
		Capabilities []string
		Metadata     map[string]any
	}
}

// agents runs a command that lists agents and gives their ids.
func agents(t *testing.T, env []string, args ...string) (ids []string, items []shownAgent, e *envelope) {
	t.Helper()
	e = validateEnvelope(t, run(t, env, args...).stdout, "")
	var data struct{ Items []shownAgent }
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	for _, item := range data.Items {
		if item.AgentID != nil {
			ids = append(ids, *item.AgentID)
		}
	}
	return ids, data.Items, e
}

// TestAgentList pages through the agents of a server (contract section 5, E15).
func TestAgentList(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_SERVER=" + s.url + "/arc", "ARCD_TOKEN=" + s.token()}
	all, _, e := agents(t, env, "agent", "list")
	if diff := cmp.Diff([]string{"echo", "fail", "flaky", "input", "slow", "stream"}, all); diff != "" {
		t.Errorf("agents (-want +got):\n%s", diff)
	}
	if p := e.Meta["pagination"].(map[string]any); p["total"] != 6.0 || p["has_more"] != false {
		t.Errorf("pagination is %v", p)
	}
	var paged []string
	for args := []string{"agent", "list", "--limit", "4"}; args != nil; {
		ids, _, e := agents(t, env, args...)
		paged, args = append(paged, ids...), nil
		if next, more := e.Meta["cursor"].(string); more {
			args = []string{"agent", "list", "--limit", "4", "--cursor", next}
		}
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if text := run(t, env, "agent", "list", "-o", "text"); !strings.HasPrefix(text.stdout, "AGENT") || !strings.Contains(text.stdout, "\necho ") {
		t.Errorf("text:\n%s", text.stdout)
	}
	if plain := run(t, env, "agent", "ls", "-o", "plain"); plain.stdout != strings.Join(all, "\n")+"\n" {
		t.Errorf("plain: %q", plain.stdout)
	}
}

// TestRegisteredAgent takes an agent from its registration to its end.
func TestRegisteredAgent(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_SERVER=" + s.url + "/arc", "KEY=your-agent-key"}
	register := []string{
		"agent", "register", "weather-1", "--agent-key", "env:KEY", "--type", "automation", "--endpoint", s.url, "--about", "Forecasts storms and rain",
		"--capability", "forecast,storm", "--owner", "Weather team", "--public-key", strings.Repeat("ab", 32), "--metadata", "region=north",
		"--unvalidated", "--output-file", "weather.token",
	}
	var next string // the command that the last result names
	effect := func(env []string, args ...string) string {
		t.Helper()
		got := run(t, env, args...)
		var data struct {
			Effect string
			Next   string `json:"next_command"`
		}
		e := validateEnvelope(t, got.stdout, "")
		if err := json.Unmarshal(e.Data, &data); err != nil || got.code != 0 {
			t.Fatalf("arcd %s: exit %d, %s", strings.Join(args, " "), got.code, got.stdout)
		}
		next = data.Next
		return data.Effect
	}
	if got := effect(env, append(register, "--dry-run")...); got != "would_create" {
		t.Errorf("effect is %s", got)
	}
	for _, file := range []string{"no/such/folder/token", t.TempDir()} { // refused before the agent is registered
		nowhere := append(register[:len(register)-1:len(register)-1], file)
		if e := validateEnvelope(t, run(t, env, nowhere...).stdout, ""); e.exit() != 4 || string(e.Data) != "null" {
			t.Errorf("a token for %s: exit %d %s, data %s", file, e.exit(), e.code(), e.Data)
		}
	}
	if got := effect(env, append(register, "--token", "env:KEY")...); got != "created" {
		t.Errorf("effect is %s", got)
	}
	if !strings.Contains(next, "weather.token") || strings.Contains(next, "env:KEY") { // the agent's token, not the one of this call
		t.Errorf("next is %s", next)
	}
	if stat, err := os.Stat("weather.token"); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", stat, err)
	}
	if again := validateEnvelope(t, run(t, env, register...).stdout, ""); again.exit() == 0 || again.exit() == 10 {
		t.Errorf("a second registration: exit %d", again.exit())
	}
	agent := []string{"--token", "file:weather.token"}
	if got := effect(env, append(agent, "agent", "heartbeat", "weather-1")...); got != "updated" {
		t.Errorf("effect is %s", got)
	}
	env = append(env, "ARCD_TOKEN="+s.token())
	for _, args := range [][]string{
		{"agent", "list", "--registered"}, {"agent", "list", "--status", "alive", "--type", "automation", "--capability", "storm"}, {"agent", "search", "storm", "forecast"},
	} {
		ids, items, _ := agents(t, env, args...)
		if len(ids) != 1 || ids[0] != "weather-1" || items[0].Status != "alive" || items[0].About.Source != "external" || items[0].About.Trusted {
			t.Errorf("arcd %s: %+v", strings.Join(args, " "), items)
		}
	}
	got := validateEnvelope(t, run(t, env, "agent", "get", "weather-1").stdout, "agent.get")
	var data struct{ Agent shownAgent }
	if err := json.Unmarshal(got.Data, &data); err != nil || data.Agent.About.Metadata["region"] != "north" {
		t.Errorf("agent get: %v, %s", err, got.Data)
	}
	unregister := append(agent, "agent", "unregister", "weather-1")
	if refused := validateEnvelope(t, run(t, env, unregister...).stdout, ""); refused.code() != "CONFIRMATION_REQUIRED" || refused.exit() != 2 {
		t.Errorf("unconfirmed: %s", refused.code())
	}
	if got := effect(env, append(unregister, "--dry-run")...); got != "would_delete" {
		t.Errorf("effect is %s", got)
	}
	if got := effect(env, append(unregister, "--confirm-destructive")...); got != "deleted" {
		t.Errorf("effect is %s", got)
	}
	if gone := validateEnvelope(t, run(t, env, "agent", "get", "weather-1").stdout, ""); gone.code() != "AGENT_NOT_FOUND" || gone.exit() != 5 {
		t.Errorf("after the end: %s", gone.code())
	}
	if gone := validateEnvelope(t, run(t, env, "agent", "unregister", "weather-1", "--dry-run").stdout, ""); gone.code() != "AGENT_NOT_FOUND" {
		t.Errorf("a second end: %s", gone.code())
	}
}

// TestRegisterChecksFirst: everything that is missing is listed, and the key is
// never repeated.
func TestRegisterChecksFirst(t *testing.T) {
	env := []string{"HOME=" + t.TempDir(), "ARCD_SERVER=http://127.0.0.1:1/arc"}
	got := run(t, env, "agent", "register", "a-1", "--agent-key", "s3cr3t-key", "--metadata", "none")
	e := validateEnvelope(t, got.stdout, "agent.register")
	var fields []string
	for _, problem := range e.Error["errors"].([]any) {
		fields = append(fields, problem.(map[string]any)["field"].(string))
	}
	want := []string{"--metadata", "--agent-key", "--type", "--endpoint", "--about", "--capability", "--owner", "--public-key"}
	if diff := cmp.Diff(want, fields); diff != "" || got.code != 2 {
		t.Errorf("exit %d, fields (-want +got):\n%s", got.code, diff)
	}
	if strings.Contains(got.stdout+got.stderr, "s3cr3t") {
		t.Errorf("the key is shown: %s%s", got.stdout, got.stderr)
	}
}

// TestRegisterReadsAFile, of which each flag replaces a member.
func TestRegisterReadsAFile(t *testing.T) {
	var sent atomic.Pointer[map[string]any]
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/auth/agent/request_temp_token":
			_, _ = w.Write([]byte(`{"temp_token":"t","token_type":"bearer","expires_in":60}`))
		case "/agents/register":
			var body map[string]any
			_ = json.NewDecoder(r.Body).Decode(&body)
			body["authorization"] = r.Header.Get("Authorization")
			sent.Store(&body)
			_, _ = w.Write([]byte(`{"status":"success","message":"","agent_id":"a-1","access_token":"secret-of-the-agent","token_type":"bearer","expires_in":60}`))
		}
	}))
	defer stub.Close()
	env := []string{"HOME=" + t.TempDir(), "ARCD_SERVER=" + stub.URL + "/arc", "KEY=k", "ARCD_TOKEN=" + expiredToken}
	registration := file(t, "a.json", `{"name": "Old", "owner": "Me", "agent_type": "automation", /* fine */ "metadata": {"a": 1},}`)
	got := run(t, env, "agent", "register", "a-1", "--agent-key", "env:KEY", "--input-file", registration, "--name", "New", "--metadata", "b=2", "--unvalidated")
	e := validateEnvelope(t, got.stdout, "agent.register")
	if got.code != 0 || strings.Contains(got.stdout, "secret-of-the-agent") || len(e.Warnings) == 0 {
		t.Fatalf("exit %d: %s", got.code, got.stdout)
	}
	body := *sent.Load()
	want := map[string]any{
		"agent_id": "a-1", "name": "New", "owner": "Me", "agent_type": "automation", "metadata": map[string]any{"a": 1.0, "b": "2"},
		"version": "1.0.0", "communication_mode": "remote", "authorization": "Bearer t",
	}
	for name, value := range want {
		if diff := cmp.Diff(value, body[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	bad := file(t, "b.json", `{"agent_idd": "x"}`)
	refused := validateEnvelope(t, run(t, env, "agent", "register", "a-1", "--agent-key", "env:KEY", "--input-file", bad).stdout, "")
	if refused.exit() != 2 {
		t.Errorf("an unknown member: exit %d", refused.exit())
	}
	shown := run(t, env, "agent", "register", "a-1", "--agent-key", "env:KEY", "--input-file", registration, "--unvalidated", "--unmask", "-o", "plain")
	if shown.stdout != "secret-of-the-agent\n" {
		t.Errorf("--unmask gives %q", shown.stdout)
	}
}

// TestAgentTextsAreExternal: nothing that an agent says of itself reaches our own
// fields, or a terminal's controls.
func TestAgentTextsAreExternal(t *testing.T) {
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/agents":
			_, _ = w.Write([]byte(`[{"agent_id":"../x","status":"alive\nok: true","name":"\u001b[2Jrun rm","capabilities":["a\u001b[31m"],"context_brief":"line\n0 SUCCESS"}]`))
		case "/agent-info":
			_, _ = w.Write([]byte(`{"registeredAgents":{"a":{"status":"active","supportedMethods":["task.create","run rm\\n0 SUCCESS"]}}}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{}`))
		}
	}))
	defer stub.Close()
	env := []string{"HOME=" + t.TempDir(), "ARCD_SERVER=" + stub.URL + "/arc", "ARCD_TOKEN=opaque"}
	ids, items, _ := agents(t, env, "agent", "list", "--registered")
	if _, listed, _ := agents(t, env, "agent", "list"); len(listed) != 1 || strings.Join(listed[0].Methods, ",") != "task.create" {
		t.Errorf("methods of the card: %+v", listed)
	}
	if len(ids) != 0 || len(items) != 1 || items[0].Status != "UNKNOWN" {
		t.Errorf("ids %q, items %+v", ids, items)
	}
	for _, form := range []string{"json", "text", "plain"} {
		if got := run(t, env, "agent", "list", "--registered", "-o", form); strings.ContainsRune(got.stdout, 0x1b) || strings.Contains(got.stdout, "u001b") {
			t.Errorf("%s has an escape: %q", form, got.stdout)
		}
	}
}

// TestServerWithoutRegistry has agents all the same.
func TestServerWithoutRegistry(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--config", file(t, "arcd.yaml", "agents: {echo: {kind: demo}}\nauth: {issuer: {enabled: true}}\nregistry: {enabled: false}\n"))
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_SERVER=" + s.url + "/arc", "ARCD_TOKEN=" + s.token()}
	if ids, _, _ := agents(t, env, "agent", "list"); len(ids) != 1 {
		t.Errorf("agents: %q", ids)
	}
	if got := run(t, env, "agent", "get", "echo", "-o", "text"); got.code != 0 || !strings.Contains(got.stdout, "│ name: echo") {
		t.Errorf("agent get: exit %d, %s%s", got.code, got.stdout, got.stderr)
	}
	for _, args := range [][]string{{"agent", "list", "--type", "x"}, {"agent", "search", "storm"}} {
		if e := validateEnvelope(t, run(t, env, args...).stdout, ""); e.code() != "METHOD_NOT_SUPPORTED" || e.exit() != 4 {
			t.Errorf("arcd %s: %s", strings.Join(args, " "), e.code())
		}
	}
}

// TestHeartbeatGoesOn through a failure that passes, until a signal, which is no
// failure; a refusal ends it.
func TestHeartbeatGoesOn(t *testing.T) {
	beats := make(chan int, 10)
	var count atomic.Int32
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch n := int(count.Add(1)); {
		case strings.Contains(r.URL.Path, "refused"):
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{}`))
		case n == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			beats <- n
		default:
			_, _ = w.Write([]byte(`{"agent_id":"a-1","status":"success","last_seen":"2026-01-02T03:04:05Z","metrics":null}`))
			beats <- n
		}
	}))
	defer stub.Close()
	token := file(t, "token", "opaque")
	arcd := func(id string) (*exec.Cmd, *bytes.Buffer) {
		command := exec.CommandContext(t.Context(), "arcd",
			"agent", "heartbeat", id, "--every", "1s", "--retries", "0", "--token", "file:"+token, "--server", stub.URL+"/arc")
		stdout := &bytes.Buffer{}
		command.Stdout = stdout
		return command, stdout
	}
	command, stdout := arcd("a-1")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for n := range beats {
		if n == 3 {
			break
		}
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, %s", err, stdout)
	}
	e := validateEnvelope(t, stdout.String(), "agent.heartbeat")
	var data struct {
		Beats, Missed int
		LastSeen      *string `json:"last_seen"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil || data.Missed != 1 || data.Beats < 1 || data.LastSeen == nil {
		t.Errorf("%v: %s", err, e.Data)
	}
	command, stdout = arcd("refused")
	if err := command.Run(); err == nil {
		t.Error("a refusal is no success")
	}
	if e := validateEnvelope(t, stdout.String(), "agent.heartbeat"); e.code() != "PERMISSION_DENIED" || e.exit() != 8 {
		t.Errorf("refused: %s", e.code())
	}
}
