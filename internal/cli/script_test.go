package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the checks of the command line's contract, one script for
// each block of its section 5. testdata/script/README.md tells what the commands
// of the scripts do, and which rows have no script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			binary, err := exec.LookPath("arcd")
			if err != nil {
				return err
			}
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			e.Setenv("ARCD", binary)
			e.Setenv(noRaceRest[0], noRaceRest[1])
			w := &world{dir: filepath.Join(e.WorkDir, "server")}
			e.Values[worldKey{}] = w
			e.Defer(w.end)
			return errors.Join(os.MkdirAll(home, 0o700), os.MkdirAll(w.dir, 0o700))
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "until": until, "interrupt": interrupt, "together": together, "reauth": reauth,
			"json": checkJSON, "line": checkLine, "keep": keep, "eachauth": eachAuth,
			"server": startServer, "mint": mint, "retire": retire, "cut": cutStream, "tokens": tokens, "stub": startStub,
			"receiver": startReceiver, "answers": answers, "received": received, "hide": hide,
		},
	})
}

// theWorld gives what the script's commands share.
func theWorld(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// exits is "exits [-raw] CODE [NAME=VALUE…] PROGRAM ARG…": it runs a program that
// must end with this code. What arcd writes is checked: see [world.check].
func exits(ts *testscript.TestScript, neg bool, args []string) {
	raw := len(args) > 0 && args[0] == "-raw"
	if raw {
		args = args[1:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits [-raw] CODE [NAME=VALUE…] PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if code := spawn(ts, args[1:]); code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	if !raw {
		ts.Check(theWorld(ts).check(args[1:], want, ts.ReadFile("stdout"), ts.ReadFile("stderr")))
	}
}

// spawn runs a program, with variables before it set, and gives its exit code.
func spawn(ts *testscript.TestScript, args []string) int {
	if strings.Contains(args[0], "=") {
		args = append([]string{"env"}, args...)
	}
	err := ts.Exec(args[0], args[1:]...)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	ts.Check(err)
	return 0
}

// until is "until CODE PROGRAM ARG…": it repeats the call until it ends with this
// code, for what only time brings about (a token that runs out at the server).
func until(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for code := spawn(ts, args[1:]); code != want; code = spawn(ts, args[1:]) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("exit code %d to the end, never %d", code, want)
		}
	}
	ts.Check(theWorld(ts).check(args[1:], want, ts.ReadFile("stdout"), ts.ReadFile("stderr")))
}

// environment gives the script's environment, to start programs in another way
// than testscript does.
func environment(ts *testscript.TestScript) []string {
	ts.Check(ts.Exec("env", "-0"))
	return strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\x00"), "\x00")
}

// interrupt is "interrupt CODE SIGNAL[,SIGNAL] TEXT PROGRAM ARG…": it sends the
// signal when the program has written the text, and checks how it ends. A second
// signal follows the first at once.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	env := environment(ts)
	cmd := exec.Command(args[3], args[4:]...)
	if args[3] == "arcd" {
		cmd = exec.Command(ts.Getenv("ARCD"), args[4:]...)
	}
	var stdout bytes.Buffer
	stderr := &watched{}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), env, &stdout, stderr
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	select {
	case <-stderr.seen(args[2]):
	case <-ended:
		ts.Fatalf("it ended before it wrote %q:\n%s%s", args[2], &stdout, stderr)
	}
	began := time.Now()
	for name := range strings.SplitSeq(args[1], ",") {
		_ = cmd.Process.Signal(signals[name]) // after the second it may be gone
	}
	<-ended
	if took := time.Since(began); took > 2*time.Second {
		ts.Fatalf("it took %s to end, more than 2s", took)
	}
	_, _ = ts.Stdout().Write(stdout.Bytes())
	_, _ = ts.Stderr().Write([]byte(stderr.String()))
	if code := cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", code, want, &stdout, stderr)
	}
	ts.Check(theWorld(ts).check(args[3:], want, stdout.String(), stderr.String()))
}

// together is "together N CODE PROGRAM ARG…": it runs the call N times at once,
// each in a process of its own; all must end with this code.
func together(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	env, dir, program := environment(ts), ts.MkAbs("."), args[2]
	if program == "arcd" {
		program = ts.Getenv("ARCD")
	}
	problems := make([]error, n)
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			var stdout, stderr bytes.Buffer
			cmd := exec.Command(program, args[3:]...)
			cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &stdout, &stderr
			_ = cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != want {
				problems[i] = fmt.Errorf("exit code %d, want %d:\n%s%s", code, want, &stdout, &stderr)
				return
			}
			problems[i] = theWorld(ts).check(args[2:], want, stdout.String(), stderr.String())
		})
	}
	running.Wait()
	ts.Check(errors.Join(problems...))
}

// reauth is "reauth CODE": it runs error.reauth_command of the last reply as an
// agent does: split at blanks.
func reauth(ts *testscript.TestScript, neg bool, args []string) {
	command, _ := find(ts, "error.reauth_command").(string)
	words := strings.Fields(command)
	if len(words) < 2 {
		ts.Fatalf("error.reauth_command is %q", command)
	}
	exits(ts, false, append([]string{args[0]}, words...))
}

// checkJSON is "json PATH [VALUE]": the envelope has this value at the path, such
// as error.errors[0].field or data.items.length. ~TEXT is a regular expression;
// without a value there must be something that is not null, false, 0 or empty. With
// "!" it must not be so.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	checkValue(ts, neg, args[0], find(ts, args[0]), args[1:])
}

// checkLine is "line N PATH [VALUE]": [checkJSON] for one line of stdout, the first
// being 1 and the last -1.
func checkLine(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	if n < 0 {
		n += len(lines) + 1
	}
	if n < 1 || n > len(lines) {
		ts.Fatalf("there are %d lines", len(lines))
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(lines[n-1]), &doc))
	value, err := at(doc, args[1])
	ts.Check(err)
	checkValue(ts, neg, args[1], value, args[2:])
}

// checkValue compares a value with what a script says.
func checkValue(ts *testscript.TestScript, neg bool, path string, value any, want []string) {
	got := text(value)
	good := got != "null" && got != "false" && got != "0" && got != "" && got != "[]" && got != "{}"
	if len(want) > 0 {
		if pattern, ok := strings.CutPrefix(want[0], "~"); ok {
			good = regexp.MustCompile(pattern).MatchString(got)
		} else {
			good = got == want[0]
		}
	}
	if good == neg {
		ts.Fatalf("%s is %s; want %s%q", path, got, map[bool]string{true: "not "}[neg], want)
	}
}

// text writes a value as a script does: texts bare, the rest as JSON.
func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	b, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// keep is "keep NAME PATH": it puts a value of the envelope into a variable.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[0], text(find(ts, args[1])))
}

// find gives the value at a path of the envelope, nil if there is none.
func find(ts *testscript.TestScript, path string) any {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var doc any
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &doc))
	value, err := at(doc, path)
	ts.Check(err)
	return value
}

// at gives the value at a path of a document, nil if there is none. A name may
// have dots in it.
func at(doc any, path string) (any, error) {
	rest := strings.NewReplacer("[", ".", "]", "").Replace(path)
	for rest != "" {
		step, further, _ := strings.Cut(rest, ".")
		switch level := doc.(type) {
		case map[string]any:
			for name := range level {
				if after, ok := strings.CutPrefix(rest+".", name+"."); ok && len(name) > len(step) {
					step, further = name, strings.TrimSuffix(after, ".")
				}
			}
			doc = level[step]
		case []any:
			i, err := strconv.Atoi(step)
			switch {
			case step == "length":
				doc = float64(len(level))
			case err != nil:
				return nil, fmt.Errorf("%s: %q is no index", path, step)
			case i < 0 || i >= len(level):
				return nil, nil
			default:
				doc = level[i]
			}
		default:
			return nil, nil
		}
		rest = further
	}
	return doc, nil
}
