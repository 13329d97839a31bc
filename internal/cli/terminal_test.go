package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clipperhouse/displaywidth"
	"github.com/creack/pty"
)

// oneTerminal, in the environment for typed, makes standard error the terminal,
// too.
const oneTerminal = "ONE_TERMINAL=1"

// typed runs arcd in a process of its own whose standard input and output are a
// terminal of 80 columns, and gives what came out there and on standard error.
func typed(t *testing.T, s *served, env []string, args ...string) outcome {
	t.Helper()
	own, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	screen := make(chan string)
	go func() {
		text, _ := io.ReadAll(own) // it ends with an error when the last process has closed its end
		screen <- string(text)
	}()
	cmd := exec.CommandContext(t.Context(), "arcd", args...)
	var stderr bytes.Buffer
	cmd.Env = append(personEnv(t, s), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, &stderr
	if slices.Contains(env, oneTerminal) {
		cmd.Stderr = tty
	}
	err = cmd.Run()
	tty.Close()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), <-screen, stderr.String()}
}

// personEnv is the environment of a person who has just logged in at a machine.
func personEnv(t *testing.T, s *served) []string {
	return []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "TERM=xterm-256color", "LANG=C.UTF-8", noRaceRest[0] + "=" + noRaceRest[1], "ARCD_SERVER=" + s.url + "/arc", "ARCD_KEYRING=off"}
}

const escape = "\x1b"

// TestTerminalError: a person sees on standard error when the credential ran out
// and what cures it (contract A31).
func TestTerminalError(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	got := typed(t, s, []string{"ARCD_TOKEN=" + s.token("--ttl", "-1h")}, "task", "get", "t1")
	if got.code != 10 || got.stdout != "" {
		t.Errorf("exit %d, want 10 and nothing on stdout: %q", got.code, got.stdout)
	}
	for _, want := range []string{`ran\s+out\s+at\s+20..-..-..T..:..:..Z`, `arcd auth (login|refresh)`, `CREDENTIALS_EXPIRED`} {
		if !regexp.MustCompile(want).MatchString(got.stderr) {
			t.Errorf("stderr lacks %s:\n%s", want, got.stderr)
		}
	}
}

// TestTerminalForms: JSON where CI is set (C5), text for people otherwise, with
// colours unless they do not want them (C6).
func TestTerminalForms(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	token := "ARCD_TOKEN=" + s.token()
	ci := typed(t, s, []string{token, "CI=true"}, "status")
	if e := ci.reply(t); ci.code != 0 || !e.OK {
		t.Errorf("with CI: exit %d, %s", ci.code, ci.stdout)
	}
	for name, test := range map[string]struct {
		env    string
		colour bool
	}{
		"terminal": {"X=", true}, "no colour": {"NO_COLOR=", false}, "dumb": {"TERM=dumb", false},
	} {
		got := typed(t, s, []string{token, test.env}, "agent", "list")
		if got.code != 0 || strings.HasPrefix(got.stdout, "{") || strings.Contains(got.stdout, escape) != test.colour {
			t.Errorf("%s: exit %d, want text with colours: %t\n%q", name, got.code, test.colour, got.stdout)
		}
	}
	if got := typed(t, s, []string{token}, "status", "-o", "json"); !strings.Contains(got.stdout, "{\r\n  \"ok\": true") {
		t.Errorf("JSON is not indented for people:\n%s", got.stdout)
	}
}

// screens is a terminal session of a person, in tmux.
type screens struct {
	t   *testing.T
	dir string
	env []string
}

// newScreens starts a shell in a terminal of 80 columns. Its prompt tells when a
// command is done.
func newScreens(t *testing.T, env []string) *screens {
	t.Helper()
	dir, err := os.MkdirTemp("", "tmux") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	s := &screens{t: t, dir: dir, env: append(env, "TMUX_TMPDIR="+dir)}
	rc := filepath.Join(dir, "rc")
	// Without a history: a shell that is killed would write one into a home that is
	// being removed.
	if err := os.WriteFile(rc, []byte("unset HISTFILE\nPS1='$ '\nPROMPT_COMMAND='tmux wait-for -S prompt'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("env", append(s.env, "tmux", "kill-server")...).Run() // it may have ended by itself
		os.RemoveAll(dir)
	})
	s.tmux("-u", "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "50", "bash", "--noprofile", "--rcfile", rc)
	s.prompt()
	return s
}

// tmux runs a command of tmux, for a minute at most: what it waits for may never
// come.
func (s *screens) tmux(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tmux", args...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// enter types a command and gives what the screen shows when it is done: its lines
// as they were written, without colours.
func (s *screens) enter(command string) string {
	s.t.Helper()
	s.tmux("send-keys", "clear", "Enter")
	s.prompt()
	s.tmux("clear-history")
	s.tmux("send-keys", "-l", command)
	s.tmux("send-keys", "Enter")
	return s.prompt()
}

// prompt waits for the prompt and gives what the screen shows. The shell tells
// just before it writes the prompt.
func (s *screens) prompt() string {
	s.t.Helper()
	s.tmux("wait-for", "prompt")
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for {
		if ctx.Err() != nil {
			s.t.Fatal("the prompt does not come")
		}
		screen := strings.TrimRight(s.tmux("capture-pane", "-p", "-J", "-S", "-"), " \n") + "\n"
		if screen == "$\n" || strings.HasSuffix(screen, "\n$\n") {
			return screen
		}
	}
}

// commandLine is a line that holds a command: what was typed, or what is to be
// typed. It is not broken, so that it can be copied.
var commandLine = regexp.MustCompile(`^(\$|  (cure: )?arcd) `)

// TestTerminalSession is a person's session. No other line is wider than the terminal,
// and each command shows what one looks for.
func TestTerminalSession(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev", "-c", file(t, "arcd.yaml", "agents: {helper: {kind: websocket}}\n"))
	token, expired := s.token(), s.token("--ttl", "-1h")
	person := newScreens(t, append(personEnv(t, s), "ARCD_TOKEN="+token, "OLD="+expired))
	for _, step := range []struct{ command, want string }{
		{"arcd", `task `},
		{"arcd --help", `(?i)usage`},
		{"arcd task --help", `wait `},
		{"arcd task create --help", `--agent`},
		{"arcd agent list", `echo `},
		{"arcd task create --agent echo --message Hello", `task-`},
		{"arcd task create --agent slow --message 4 --wait", `(?i)completed`},
		{"arcd task create --agent input --message 'A question, please'", `task-`},
		{"arcd task create --agent fail --message oh", `task-`},
		{"arcd task create --agent input --message Hi --wait", `(?s)question of the agent.*task send.*--message`},
		{"arcd chat start --agent fail --message oh", `(?s)error: .*message of the agent`},
		{"arcd task list", `(?m)^\S+ .*slow`},
		{"T=$(arcd task create --agent slow --message 5 -o plain)", ``},
		{"arcd task wait $T", `(?i)completed`},
		{"arcd task get $T", `slow`},
		{"arcd explain $T", `(?i)completed`},
		{"T=$(arcd task create --agent slow --message 10000 -o plain)", ``},
		{"arcd task cancel $T --dry-run", `task-`},
		{"arcd task cancel $T --yes", `task-`},
		{"T=$(arcd task create --agent helper --message hi -o plain)", ``},
		{"arcd task get $T", `waits: +its agent is not connected`},
		{"arcd explain $T", `(?s)It\s+waits\s+because\s+the\s+agent\s+helper\s`},
		{"arcd task subscribe $T --callback-url http://127.0.0.1:1/ --events TASK_CANCELED", `(?s)whsec_.*not shown again`},
		{"arcd task subscriptions --task $T", `(?m)^sub-\S{36} +active +http://127`},
		{"arcd task cancel $T --yes", `task-`},
		{"until arcd deliveries list -o plain | grep dlv-; do :; done", `dlv-`},
		{"arcd deliveries list --failed", `(?m)^dlv-\S{39} +failed +TASK_CANCELED +\d`},
		{"arcd deliveries show $(arcd deliveries list -o plain | head -n 1)", `state: +failed, no answer`},
		{"arcd explain $T", `(?m)^fails: +sub-\S{36}: active,`},
		{"arcd deliveries replay $(arcd deliveries list -o plain | head -n 1)", `(?s)error: .*DELIVERY_FAILED`},
		{"arcd task unsubscribe $(arcd task subscriptions -o plain) --yes", `effect: +deleted`},
		{"arcd chat start --agent stream --message 12 --stream", `piece 12`},
		{"arcd status", `(?m)^server`},
		{"arcd auth status", `valid`},
		{"arcd auth token", `\[JWT: sub=`},
		{"arcd context list", `(?s).`},
		{"arcd doctor token", `(?s).`},
		{"arcd errors list", `CREDENTIALS_EXPIRED`},
		{"ARCD_TOKEN=$OLD arcd task list", `(?s)error: .*ran\s+out\s+at\s.*cure: +arcd auth`},
		{"arcd task get nope", `error: `},
		{"arcd task create --agnet echo", `--agent`},
		{"arcd tsk list", `Did you mean: arcd task list`},
		{"arcd config show", `listen`},
		{"arcd version", `arcd `},
	} {
		t.Run(step.command, func(t *testing.T) {
			screen := person.enter(step.command)
			t.Log("\n" + screen)
			_, shown, _ := strings.Cut(screen, "\n") // without what was typed
			if !regexp.MustCompile(step.want).MatchString(shown) {
				t.Errorf("the screen lacks %s:\n%s", step.want, screen)
			}
			for line := range strings.Lines(screen) {
				if line = strings.TrimRight(line, " \n"); displaywidth.String(line) > 80 && !commandLine.MatchString(line) {
					t.Errorf("a line is wider than 80 columns:\n%s", line)
				}
				if strings.Contains(line, "%!") || strings.Contains(line, "<nil>") {
					t.Errorf("a line is broken: %s", line)
				}
			}
		})
	}
}

// TestTerminalProgress: while a person waits, one line is written again and again
// in its place, never wider than the terminal, and nothing of it stays.
func TestTerminalProgress(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	got := typed(t, s, []string{"ARCD_TOKEN=" + s.token(), oneTerminal}, "task", "create", "--agent", "slow", "--message", "5", "--wait")
	if got.code != 0 {
		t.Fatalf("exit %d: %q%s", got.code, got.stdout, got.stderr)
	}
	frames := strings.Split(got.stdout, "\r")
	t.Logf("%q", frames)
	if len(frames) < 4 || strings.Count(got.stdout, escape+"[K") < 2 {
		t.Errorf("no progress is shown: %q", got.stdout)
	}
	colours := regexp.MustCompile(escape + `\[[0-9;]*[A-Za-z]`)
	for _, frame := range frames {
		for line := range strings.Lines(colours.ReplaceAllString(frame, "")) {
			if displaywidth.String(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("a line is wider than 80 columns: %q", line)
			}
		}
	}
}

// shows waits until the screen shows a text.
func (s *screens) shows(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for !strings.Contains(s.tmux("capture-pane", "-p"), text) {
		if ctx.Err() != nil {
			s.t.Fatalf("the screen never shows %q:\n%s", text, s.tmux("capture-pane", "-p"))
		}
	}
}

// TestTerminalLogin: a person is asked for a client id and its secret, which is
// not shown while it is typed. Who stops there has a terminal that shows again
// what is typed.
func TestTerminalLogin(t *testing.T) {
	t.Chdir(t.TempDir())
	var added struct {
		Secret string `json:"client_secret"`
	}
	run(t, nil, "client", "add", "me", "--scope", "arc.task.controller,arc.agent.caller").into(t, &added)
	s := serve(t, "--dev")
	person := newScreens(t, personEnv(t, s))
	begin := func() {
		person.tmux("send-keys", "clear; arcd auth login", "Enter")
		person.shows("lient id:")
		person.tmux("send-keys", "me", "Enter")
		person.shows("ecret:")
	}
	begin()
	person.tmux("send-keys", "C-c")
	if screen := person.prompt(); !strings.Contains(screen, "exit code 130") {
		t.Errorf("after C-c:\n%s", screen)
	}
	if screen := person.enter("stty -a"); !regexp.MustCompile(`[^-]echo[^a-z]`).MatchString(screen) {
		t.Errorf("the terminal does not show any more what is typed:\n%s", screen)
	}
	begin()
	person.tmux("send-keys", "-l", added.Secret)
	person.tmux("send-keys", "Enter")
	person.shows("[y/N]")
	person.tmux("send-keys", "y", "Enter")
	if screen := person.prompt(); strings.Contains(screen, added.Secret) || strings.Contains(screen, "error") {
		t.Errorf("after the login:\n%s", screen)
	}
	if screen := person.enter("arcd task list"); strings.Contains(screen, "error") {
		t.Errorf("after the login:\n%s", screen)
	}
	t.Log(person.enter("arcd auth status"))
}

// TestTerminalStops: a person is asked before something is destroyed, and can stop
// a wait, which says how to go on.
func TestTerminalStops(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	person := newScreens(t, append(personEnv(t, s), "ARCD_TOKEN="+s.token()))
	person.enter("T=$(arcd task create --agent slow --message 10000 -o plain)")

	person.tmux("send-keys", "clear; arcd task wait $T", "Enter")
	person.shows("WORKING")
	waiting := person.tmux("capture-pane", "-p")
	t.Log(strings.TrimRight(waiting, "\n"))
	person.tmux("send-keys", "C-c")
	if screen := person.prompt(); !strings.Contains(screen, "exit code 130") || strings.Contains(screen, "waiting ") {
		t.Errorf("after C-c:\n%s", screen)
	} else {
		t.Log(screen)
	}

	for _, test := range []struct{ answer, want string }{{"n", "CONFIRMATION_REQUIRED"}, {"y", "CANCELED"}} {
		person.tmux("send-keys", "clear; arcd task cancel $T", "Enter")
		person.shows("[y/N]")
		person.tmux("send-keys", test.answer, "Enter")
		if screen := person.prompt(); !strings.Contains(screen, test.want) {
			t.Errorf("the answer %s, want %s:\n%s", test.answer, test.want, screen)
		} else {
			t.Log(screen)
		}
	}
}
