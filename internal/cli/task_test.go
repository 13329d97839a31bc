package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The exit codes of status and wait tell how far a task is (contract section
// 1.5).
func TestTaskStatusTellsByItsExitCode(t *testing.T) {
	states := map[string]string{"run": "WORKING", "done": "COMPLETED", "bad": "FAILED", "gone": "CANCELED", "ask": "INPUT_REQUIRED"}
	s := newARCStub(t, func(c stubCall) stubReply {
		if state, ok := states[c.taskID()]; ok && c.Method == "task.info" {
			return stubTask(c.taskID(), state)
		}
		return stubReply{err: stubNoTask}
	})
	for args, want := range map[string]struct {
		exit int
		code string
	}{
		"status done": {0, ""}, "status run": {3, "TASK_RUNNING"}, "status ask": {3, "TASK_INPUT_REQUIRED"}, "status bad": {4, "TASK_FAILED"},
		"status gone": {4, "TASK_CANCELED"}, "status missing": {5, "TASK_NOT_FOUND"}, "status done bad run": {3, "TASK_RUNNING"},
		"status done missing": {3, "PARTIAL_FAILURE"}, "status done gone bad": {4, "TASK_FAILED"}, "status done done": {0, ""},
		"get bad": {0, ""}, "wait done": {0, ""}, "wait bad": {4, "TASK_FAILED"}, "wait gone": {4, "TASK_CANCELED"}, "wait ask --for input_required": {0, ""},
		"wait missing": {5, "TASK_NOT_FOUND"},
	} {
		t.Run(args, func(t *testing.T) {
			e := s.run(append([]string{"task"}, strings.Fields(args)...)...).envelope(t)
			if e.exit() != want.exit || e.code() != want.code {
				t.Errorf("exit %d %s, want %d %s", e.exit(), e.code(), want.exit, want.code)
			}
			if e.code() == "TASK_RUNNING" && (e.Error["retryable"] != true || e.Error["retry_after_ms"] != 1000.0) {
				t.Errorf("a running task must be retryable after a second: %v", e.Error)
			}
		})
	}
}

// A credential that runs out in a batch ends it: the rest is not tried (contract
// section 2.7).
func TestTaskCancelExpires(t *testing.T) {
	for last, want := range map[string]struct {
		exit                 int
		code, cause, resume  string
		succeeded, skipped   float64
		completed, untouched []any
	}{
		"":  {10, "CREDENTIALS_EXPIRED", "", "a", 0, 2, nil, []any{"b", "c"}},
		"a": {3, "PARTIAL_FAILURE", "CREDENTIALS_EXPIRED", "b", 1, 1, []any{"a"}, []any{"c"}},
	} {
		t.Run("after "+last, func(t *testing.T) {
			s := newARCStub(t, func(c stubCall) stubReply {
				if c.taskID() == last {
					return stubTask(last, "CANCELED")
				}
				return stubReply{err: stubExpired}
			})
			e := s.run("task", "cancel", "a", "b", "c", "--confirm-destructive").envelope(t)
			got := []any{e.exit(), e.code(), e.Error["cause"], e.Error["resume_from"], e.Error["completed_steps"], e.Error["skipped_steps"]}
			var cause any
			if want.cause != "" {
				cause = want.cause
			}
			expected := []any{want.exit, want.code, cause, any(want.resume), any(want.completed), any(want.untouched)}
			if want.completed == nil {
				expected[4] = nil
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("the error (-want +got):\n%s", diff)
			}
			if e.Error["expired_at"] != "2026-01-02T03:04:05Z" || e.Error["reauth_env_var"] != "ARCD_TOKEN" || e.Error["reauth_command"] == nil {
				t.Errorf("the block about the credential is not whole: %v", e.Error)
			}
			summary := e.members(t)["summary"].(map[string]any)
			if summary["succeeded"] != want.succeeded || summary["skipped"] != want.skipped {
				t.Errorf("summary %v", summary)
			}
		})
	}
}

// One that is unknown does not keep the others from being canceled; one that has
// ended is a conflict, with its state.
func TestTaskCancelSeveral(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		switch {
		case c.taskID() == "missing":
			return stubReply{err: stubNoTask}
		case c.taskID() == "failed" && c.Method == "task.cancel":
			return stubReply{err: `{"code":-42006,"message":"the task has failed"}`}
		case c.taskID() == "failed":
			return stubTask("failed", "FAILED")
		}
		return stubTask(c.taskID(), "CANCELED")
	})
	e := s.run("task", "cancel", "t1", "missing", "t2", "t1", "--confirm-destructive").envelope(t)
	if e.exit() != 3 || e.Error["failed_step"] != "missing" || len(e.members(t)["results"].([]any)) != 3 {
		t.Errorf("exit %d, %v, %s", e.exit(), e.Error, e.Data)
	}
	e = s.run("task", "cancel", "failed", "--confirm-destructive").envelope(t)
	result := e.members(t)["results"].([]any)[0].(map[string]any)
	if e.exit() != 6 || result["status"] != "FAILED" || result["ok"] != false {
		t.Errorf("exit %d, %v", e.exit(), result)
	}
	before := len(s.methods())
	if e = s.run("task", "cancel", "t1").envelope(t); e.exit() != 2 || e.code() != "CONFIRMATION_REQUIRED" || e.Error["would_affect"] == nil {
		t.Errorf("without confirmation: exit %d, %v", e.exit(), e.Error)
	}
	if len(s.methods()) != before {
		t.Error("without confirmation something was sent")
	}
	e = s.runWith(strings.NewReader("t1\nt2\n"), "task", "cancel", "-", "--dry-run").envelope(t)
	if e.exit() != 6 || strings.Contains(strings.Join(s.methods()[before:], " "), "task.cancel") {
		t.Errorf("the trial run of canceled tasks: exit %d, calls %v", e.exit(), s.methods()[before:])
	}
}

// The key of a repeated call makes it "noop"; a server that does not know dryRun
// is not asked to create.
func TestTaskCreateEffects(t *testing.T) {
	able := `{"methods":[{"name":"task.create","params":[{"name":"dryRun"}]}]}`
	for name, c := range map[string]struct {
		args     []string
		discover stubReply
		replayed string
		effect   string
		by       string
		calls    string
	}{
		"created":        {nil, stubReply{}, "", "created", "server", "task.create"},
		"replayed":       {[]string{"--idempotency-key", "k"}, stubReply{}, "Idempotency-Replayed: true", "noop", "server", "task.create"},
		"able server":    {[]string{"--dry-run"}, stubReply{result: able}, "", "would_create", "server", "rpc.discover task.create"},
		"silent server":  {[]string{"--dry-run"}, stubReply{result: `{}`}, "", "would_create", "client", "rpc.discover"},
		"foreign server": {[]string{"--dry-run"}, stubReply{err: stubNoMethod}, "", "would_create", "client", "rpc.discover"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newARCStub(t, func(call stubCall) stubReply {
				if call.Method == "rpc.discover" {
					return c.discover
				}
				if trial := strings.Contains(string(call.Params), `"dryRun":true`); trial != (c.effect == "would_create") {
					t.Errorf("params %s", call.Params)
				}
				r := stubTask("t1", "SUBMITTED")
				r.header = c.replayed
				return r
			})
			e := s.run(append([]string{"task", "create", "--agent", "echo", "--message", "hi"}, c.args...)...).envelope(t)
			data := e.members(t)
			if e.exit() != 0 || data["effect"] != c.effect || data["checked_by"] != c.by || strings.Join(s.methods(), " ") != c.calls {
				t.Errorf("exit %d, effect %v by %v, calls %v", e.exit(), data["effect"], data["checked_by"], s.methods())
			}
			if command, ok := data["status_command"].(string); c.effect == "created" && (!ok || !strings.Contains(command, " task status t1 --agent echo")) {
				t.Errorf("status_command is %v", data["status_command"])
			}
		})
	}
}

// What a server calls an id or a status is not put into commands, nor taken for a
// word of the protocol, unless it looks like one.
func TestTaskWordsOfServersAreChecked(t *testing.T) {
	s := newARCStub(t, func(stubCall) stubReply {
		return stubReply{result: `{"type":"task","task":{"taskId":"x; rm -rf /","status":"run $(id)","assignedAgent":"a b","messages":[` +
			`{"role":"ignore all","parts":[{"type":"TextPart","content":"\u001b[31mred\u0000 {\"ok\":true}"}]}]}}`}
	})
	got := s.run("task", "create", "--agent", "echo", "--message", "hi")
	data := got.envelope(t).members(t)
	for _, name := range []string{"task_id", "status_command", "cancel_command", "job_id"} {
		if data[name] != nil {
			t.Errorf("%s is %v, want null", name, data[name])
		}
	}
	task := data["task"].(map[string]any)
	if data["status"] != "UNKNOWN" || task["_trusted"] != false || task["_source"] != "external" {
		t.Errorf("status %v, task %v", data["status"], task)
	}
	if strings.Contains(got.stdout, `\u001b`) || strings.Contains(got.stdout, "\x1b") {
		t.Errorf("an escape character came through: %s", got.stdout)
	}
}

// The end of a credential in the middle of a watch says where to go on, and the
// command that it prints does.
func TestTaskWatchExpiresAndGoesOn(t *testing.T) {
	fresh := false
	s := newARCStub(t, func(c stubCall) stubReply {
		switch {
		case c.Method != "task.events":
			return stubReply{err: stubNoMethod}
		case !fresh:
			return stubReply{events: []string{
				stubStep(1, "TASK_CREATED", `{"status":"SUBMITTED","message":"created"}`), stubStep(2, "NEW_MESSAGE", `{"status":"WORKING","message":"m"}`),
				stubEvent("error", 0, `{"error":`+stubExpired+`}`),
			}}
		}
		return stubReply{events: []string{
			stubStep(3, "STATUS_CHANGE", `{"status":"COMPLETED","message":"m"}`), stubEvent("done", 0, `{"taskId":"t1","status":"COMPLETED","done":true}`),
		}}
	})
	e := s.run("task", "watch", "t1").envelope(t)
	if e.exit() != 10 || e.code() != "CREDENTIALS_EXPIRED" || e.Error["resume_from"] != "2" || len(e.before) != 2 {
		t.Fatalf("exit %d, %d lines, %v", e.exit(), len(e.before), e.Error)
	}
	fresh = true
	e = s.run(strings.Fields(e.members(t)["resume_command"].(string))[1:]...).envelope(t)
	if e.exit() != 0 || len(e.before) != 1 || e.members(t)["terminal"] != true || e.members(t)["resume_command"] != nil {
		t.Errorf("going on: exit %d, %d lines, %s", e.exit(), len(e.before), e.Data)
	}
	var p struct{ After int }
	if err := json.Unmarshal(s.calls[len(s.calls)-1].Params, &p); err != nil || p.After != 2 {
		t.Errorf("the second call asked for events after %d", p.After)
	}
}

// A wait that does not end in its time gives the state that was seen last, and
// tells meanwhile that it goes on.
func TestTaskWaitTimesOut(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		if c.Method == "task.info" {
			return stubTask("t1", "WORKING", `,"updatedAt":"2026-01-02T03:04:05Z"`)
		}
		return stubReply{events: []string{stubStep(7, "progress", `{"percent":40,"note":"n"}`)}, hang: true}
	})
	got := s.run("task", "wait", "t1", "--timeout", "700ms", "--heartbeat-ms", "100")
	e := got.envelope(t)
	data := e.members(t)
	if e.exit() != 7 || e.code() != "TIMEOUT" || e.Error["resume_from"] != "7" || data["status"] != "WORKING" || data["wait_command"] == nil {
		t.Errorf("exit %d, %v, %s", e.exit(), e.Error, e.Data)
	}
	line, _, _ := strings.Cut(got.stderr, "\n")
	var beat map[string]any
	if err := json.Unmarshal([]byte(line), &beat); err != nil || beat["event"] != "heartbeat" || beat["elapsed_ms"].(float64) < 90 || beat["task_id"] != "t1" {
		t.Errorf("the first heartbeat is %q", line)
	}
	if quiet := s.run("task", "wait", "t1", "--timeout", "300ms", "--heartbeat-ms", "50", "--quiet"); quiet.stderr != "" {
		t.Errorf("with --quiet stderr gets %q", quiet.stderr)
	}
}

// A signal ends a wait with one envelope.
func TestTaskWaitIsStopped(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130} {
		t.Run(signal.String(), func(t *testing.T) {
			s := newARCStub(t, nil)
			s.reply = func(c stubCall) stubReply {
				if c.Method == "task.info" {
					return stubTask("t1", "WORKING")
				}
				if err := syscall.Kill(os.Getpid(), signal); err != nil { // the command has been waiting for it since before its first call
					t.Error(err)
				}
				return stubReply{hang: true}
			}
			e := s.run("task", "wait", "t1").envelope(t)
			name := map[int]string{143: "SIGTERM", 130: "SIGINT"}[want]
			if e.exit() != want || e.code() != "CANCELLED" || e.Error["signal"] != name || e.members(t)["status"] != "WORKING" {
				t.Errorf("exit %d, %v", e.exit(), e.Error)
			}
		})
	}
}

// TestSignalEndsABlockedWrite: a reader that takes nothing more does not keep the
// process once a signal has come.
func TestSignalEndsABlockedWrite(t *testing.T) {
	s := newARCStub(t, func(stubCall) stubReply {
		return stubTask("t1", "WORKING", `,"messages":[{"role":"agent","parts":[{"type":"TextPart","content":"`+strings.Repeat("z", 1<<20)+`"}]}]`)
	})
	for name, c := range map[string]struct {
		stdin string
		args  []string
		sent  os.Signal
		exit  int
	}{
		"command": {"", []string{"task", "get", "t1"}, syscall.SIGTERM, 143},
		"batch":   {`{"argv":["task","get","t1"]}`, []string{"exec"}, os.Interrupt, 130},
	} {
		t.Run(name, func(t *testing.T) {
			full, stdout, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer full.Close()
			cmd := exec.CommandContext(t.Context(), "arcd", append(c.args, "--max-output", "0")...)
			cmd.Env = append(s.env, noRaceRest[0]+"="+noRaceRest[1])
			cmd.Stdin, cmd.Stdout = strings.NewReader(c.stdin), stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stdout.Close()
			if _, err := full.Read(make([]byte, 1)); err != nil { // the rest is more than the pipe holds
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(c.sent); err != nil {
				t.Fatal(err)
			}
			if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != c.exit {
				t.Errorf("%v, want exit code %d", cmd.ProcessState, c.exit)
			}
		})
	}
}

// A list goes on over pages; a server whose pages do not end is stopped.
func TestTaskListPages(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		var p struct {
			Cursor string
			Limit  int
		}
		if err := json.Unmarshal(c.Params, &p); err != nil || p.Limit < 1 || p.Limit > 200 {
			t.Errorf("params %s: %v", c.Params, err)
		}
		next := map[string]string{"": "one", "one": "two", "loop": "loop"}[p.Cursor]
		return stubReply{result: `{"type":"tasks","tasks":[{"taskId":"t-` + p.Cursor + `x","status":"WORKING"}],"nextCursor":"` + next + `"}`}
	})
	e := s.run("task", "list", "--limit", "2").envelope(t)
	page := e.Meta["pagination"].(map[string]any)
	if page["has_more"] != true || page["next_cursor"] != "two" || page["returned"] != 2.0 || e.Meta["cursor"] != "two" {
		t.Errorf("pagination %v", page)
	}
	e = s.run("task", "list", "--limit", "0").envelope(t)
	page = e.Meta["pagination"].(map[string]any)
	if page["has_more"] != false || page["total"] != 3.0 {
		t.Errorf("all: pagination %v", page)
	}
	if e = s.run("task", "list", "--limit", "0", "--cursor", "loop").envelope(t); e.code() != "PROTOCOL_ERROR" {
		t.Errorf("pages without end: exit %d, %v", e.exit(), e.Error)
	}
	if got := s.run("task", "list", "-o", "plain", "--limit", "0"); got.stdout != "t-x\nt-onex\nt-twox\n" {
		t.Errorf("plain: %q", got.stdout)
	}
}

// TestTaskListIsCut: of a list that is too long the ids stay whole, and pagination
// tells how many there are.
func TestTaskListIsCut(t *testing.T) {
	tasks := make([]string, 200)
	for i := range tasks {
		tasks[i] = `{"taskId":"task-` + strings.Repeat("0123456789", 10) + `","status":"WORKING"}`
	}
	s := newARCStub(t, func(stubCall) stubReply {
		return stubReply{result: `{"type":"tasks","tasks":[` + strings.Join(tasks, ",") + `],"nextCursor":""}`}
	})
	e := s.run("task", "list", "--limit", "0", "--max-output", "40000").envelope(t)
	var data struct {
		Items []struct {
			TaskID string `json:"task_id"`
		}
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	page := e.Meta["pagination"].(map[string]any)
	if n := len(data.Items); n == 0 || n >= 200 || page["returned"] != float64(n) || page["truncated"] != true || page["total"] != 200.0 {
		t.Errorf("%d items, pagination %v", n, page)
	}
	for _, item := range data.Items {
		if strings.Contains(item.TaskID, "…") {
			t.Fatalf("half an id: %s", item.TaskID)
		}
	}
}

// Subscriptions and notifications have the params of the specification; a server
// without the methods says so.
func TestTaskSubscribeAndNotify(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		if c.taskID() == "elsewhere" {
			return stubReply{err: stubNoMethod}
		}
		if c.Method == "task.subscribe" {
			return stubReply{result: `{"type":"task","subscription":{"subscriptionId":"sub-1","active":true}}`}
		}
		return stubReply{result: `{"success":true}`}
	})
	e := s.run("task", "subscribe", "t1", "--callback-url", "https://hooks.example/x", "--events", "TASK_FAILED,TASK_COMPLETED").envelope(t)
	if e.exit() != 0 || e.members(t)["subscription_id"] != "sub-1" {
		t.Errorf("exit %d, %s", e.exit(), e.Data)
	}
	var asked map[string]any
	want := map[string]any{"taskId": "t1", "callbackUrl": "https://hooks.example/x", "events": []any{"TASK_FAILED", "TASK_COMPLETED"}}
	if err := json.Unmarshal(s.calls[0].Params, &asked); err != nil || !cmp.Equal(want, asked) {
		t.Errorf("params (-want +got):\n%s", cmp.Diff(want, asked))
	}
	e = s.run("task", "notify", "t1", "--agent", "caller", "--event", "TASK_COMPLETED", "--data", `{"status":"COMPLETED","message":"done",}`).envelope(t)
	var p struct{ TaskID, Event, Timestamp string }
	if err := json.Unmarshal(s.calls[1].Params, &p); err != nil || p.Event != "TASK_COMPLETED" || p.Timestamp == "" || s.calls[1].TargetAgent != "caller" || e.exit() != 0 {
		t.Errorf("exit %d, params %s", e.exit(), s.calls[1].Params)
	}
	if e = s.run("task", "subscribe", "elsewhere", "--callback-url", "https://hooks.example/x").envelope(t); e.exit() != 4 || e.code() != "METHOD_NOT_SUPPORTED" {
		t.Errorf("exit %d, %v", e.exit(), e.Error)
	}
	for _, args := range [][]string{
		{"subscribe", "t1", "--callback-url", "ftp://x"}, {"subscribe", "t1", "--callback-url", "https://u:p@x"}, {"subscribe", "t1", "--callback-url", "https://x", "--events", "NO"},
		{"notify", "t1", "--event", "NO", "--data", "{}"}, {"notify", "t1", "--event", "TASK_FAILED", "--data", "[]"}, {"notify", "t1", "--event", "TASK_FAILED", "--data", `{"status":"x"}`},
	} {
		if e := s.run(append([]string{"task"}, args...)...).envelope(t); e.exit() != 2 {
			t.Errorf("%v: exit %d", args, e.exit())
		}
	}
}

// A person's session against a real server, from the task to its result.
func TestTaskSession(t *testing.T) {
	t.Chdir(t.TempDir())
	server := serve(t, "--dev")
	s := &arcStub{t: t, env: []string{"HOME=" + t.TempDir(), "ARCD_TOKEN=" + server.token("--unmask", "-o", "plain"), "ARCD_SERVER=" + server.url, "ARCD_KEYRING=off"}}
	create := func(agent string, more ...string) string {
		t.Helper()
		e := s.run(append([]string{"task", "create", "--agent", agent, "--message", "hi"}, more...)...).envelope(t)
		id, _ := e.members(t)["task_id"].(string)
		if e.exit() != 0 || id == "" {
			t.Fatalf("create: exit %d, %v", e.exit(), e.Error)
		}
		return id
	}
	if first, second := create("echo", "--idempotency-key", "k"), create("echo", "--idempotency-key", "k"); first != second {
		t.Errorf("the same key made %s and %s", first, second)
	}
	e := s.run("task", "create", "--agent", "echo", "--message", "hi", "--dry-run").envelope(t)
	if e.members(t)["effect"] != "would_create" || e.members(t)["checked_by"] != "server" || e.Meta["dry_run"] != true {
		t.Errorf("trial run: %s", e.Data)
	}
	if got := s.run("task", "list", "--limit", "0", "-o", "plain"); strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("there are other tasks than the one: %s", got.stdout)
	}
	asked := create("input")
	if e := s.run("task", "wait", asked).envelope(t); e.exit() != 3 || e.code() != "TASK_INPUT_REQUIRED" || e.Error["retryable"] != false {
		t.Errorf("a wait for a task that asks: exit %d, %v", e.exit(), e.Error)
	}
	if e := s.run("task", "wait", asked, "--for", "input_required").envelope(t); e.exit() != 0 || e.members(t)["status"] != "INPUT_REQUIRED" {
		t.Fatalf("wait: exit %d, %v", e.exit(), e.Error)
	}
	if e := s.run("task", "send", asked, "--message", "Forty-two", "--idempotency-key", "s").envelope(t); e.members(t)["effect"] != "updated" {
		t.Errorf("send: %v", e.Error)
	}
	if got := s.run("task", "wait", asked, "-o", "plain"); got.stdout != "Forty-two\n" {
		t.Errorf("wait: exit %d, %q, %s", got.code, got.stdout, got.stderr)
	}
	if e := s.run("task", "send", asked, "--message", "late").envelope(t); e.exit() != 6 || e.code() != "TASK_COMPLETED" {
		t.Errorf("send to an ended task: exit %d, %v", e.exit(), e.Error)
	}
	e = s.run("task", "watch", asked, "--no-stream").envelope(t)
	if n := len(e.members(t)["events"].([]any)); e.exit() != 0 || n == 0 || e.members(t)["count"] != float64(n) || len(e.before) != 0 {
		t.Errorf("watch: exit %d, %d events, %d lines", e.exit(), n, len(e.before))
	}
	stuck := create("echo", "--wait", "--timeout", "0")
	if e := s.run("task", "status", stuck).envelope(t); e.exit() != 0 || e.members(t)["terminal"] != true {
		t.Errorf("status: exit %d, %v", e.exit(), e.Error)
	}
}
