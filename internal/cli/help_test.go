package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/arcd-io/arcd/internal/cli"
)

// words are the arguments that name a command of the schema.
func words(name string) []string {
	if name == "arcd" {
		return nil
	}
	return strings.Split(name, ".")
}

// TestHelpForPrograms: an envelope says that this is help and where the schema is
// (contract section 5, B2).
func TestHelpForPrograms(t *testing.T) {
	for name, ref := range map[string]string{"": "arcd --schema", "task": "arcd task --schema", "agent.list": "arcd agent list --schema"} {
		got := run(t, nil, append(strings.FieldsFunc(name, func(r rune) bool { return r == '.' }), "-h")...)
		e := validateEnvelope(t, got.stdout, name)
		if got.code != 0 || e.Meta["help"] != true || e.Meta["schema_ref"] != ref || !strings.Contains(string(e.Data), "Usage: arcd") {
			t.Errorf("%s: exit %d: %s", name, got.code, got.stdout)
		}
	}
}

// TestHelpTexts: the text says what a command takes and how it ends, in 80 columns.
func TestHelpTexts(t *testing.T) {
	for name, command := range described().Commands {
		t.Run(name, func(t *testing.T) {
			got := run(t, nil, append(words(name), "--help")...)
			if got.code != 0 {
				t.Fatalf("exit %d: %s", got.code, got.stdout)
			}
			for line := range strings.Lines(got.stderr) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 && !strings.HasPrefix(line, "  arcd ") && !strings.Contains(line, "| arcd") {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			if len(command.Subcommands) > 0 {
				return
			}
			for exit, x := range command.Exits {
				if !strings.Contains(got.stderr, exit+"  "+x.Name) {
					t.Errorf("exit code %s %s is not in the help:\n%s", exit, x.Name, got.stderr)
				}
			}
			for _, p := range command.Parameters {
				if !strings.Contains(got.stderr, p.Name) {
					t.Errorf("%s is not in the help", p.Name)
				}
			}
		})
	}
}

// TestEveryCommandHasAPlaceInTheHelp: what is in the table is under a heading.
func TestEveryCommandHasAPlaceInTheHelp(t *testing.T) {
	text := run(t, nil, "--help").stderr
	for _, name := range described().Commands["arcd"].Subcommands {
		if !strings.Contains(text, "\n  "+name+" ") {
			t.Errorf("arcd --help does not list %s", name)
		}
	}
}

// TestBareCall is contract section 5, B1.
func TestBareCall(t *testing.T) {
	got := run(t, nil)
	e := validateEnvelope(t, got.stdout, "")
	var data struct {
		Commands []struct{ Path, Help string }
	}
	if err := json.Unmarshal(e.Data, &data); err != nil || !e.OK || got.code != 0 {
		t.Fatalf("exit %d, %v: %s", got.code, err, got.stdout)
	}
	leaves := 0
	for _, command := range described().Commands {
		if len(command.Subcommands) == 0 {
			leaves++
		}
	}
	if len(data.Commands) != leaves {
		t.Errorf("%d commands are listed, there are %d", len(data.Commands), leaves)
	}
	if !strings.Contains(got.stderr, "Usage: arcd") {
		t.Errorf("no help on stderr: %s", got.stderr)
	}
	for _, bad := range []outcome{run(t, nil, "-o", "bogus"), run(t, []string{"ARCD_OUTPUT=bogus"})} {
		if bad.code != 2 {
			t.Errorf("with a bad flag: exit %d", bad.code)
		}
	}
	if quiet := run(t, nil, "--quiet"); quiet.stderr != "" {
		t.Errorf("--quiet writes %q to stderr", quiet.stderr)
	}
}

// TestInformingIsPure: help, version and schema read and write nothing, not even a
// broken environment (contract section 5, B3).
func TestInformingIsPure(t *testing.T) {
	home := t.TempDir()
	t.Chdir(home)
	env := []string{"HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "ARCD_CONFIG=/does/not/exist"}
	for _, args := range [][]string{{}, {"--version"}, {"--help"}, {"task", "--help"}, {"--schema"}, {"manifest"}, {"errors", "list"}, {"version"}} {
		if got := run(t, env, args...); got.code != 0 {
			t.Errorf("arcd %s: exit %d: %s", strings.Join(args, " "), got.code, got.stdout)
		}
	}
	entries, err := os.ReadDir(home)
	if err != nil || len(entries) > 0 {
		t.Errorf("there are files now: %v, %v", entries, err)
	}
	if got := run(t, nil, "--version").stdout; !strings.HasPrefix(got, "arcd ") || strings.Count(got, "\n") != 1 {
		t.Errorf("--version writes %q", got)
	}
}

// TestUnknownCommands: there is no prompt and no guessing (contract section 5, B13
// and C14).
func TestUnknownCommands(t *testing.T) {
	for line, suggestion := range map[string]string{
		"tsk create": "arcd task create", "shell": "", "repl": "", "task": "arcd task --help", "manifst": "arcd manifest", "errors lst": "arcd errors list",
	} {
		t.Run(line, func(t *testing.T) {
			got := run(t, nil, strings.Fields(line)...)
			e := validateEnvelope(t, got.stdout, "")
			said, _ := e.Error["suggestion"].(string)
			if got.code != 2 || e.code() != "UNKNOWN_COMMAND" || !strings.Contains(said, suggestion) {
				t.Errorf("exit %d, %s, %q", got.code, e.code(), said)
			}
		})
	}
}

// TestGlobalFlagsStandAnywhere is contract section 5, B18.
func TestGlobalFlagsStandAnywhere(t *testing.T) {
	var datas []string
	for _, line := range []string{"--timeout 5s errors list", "errors --timeout 5s list", "errors list --timeout 5s", "errors list --timeout=5s"} {
		got := run(t, nil, strings.Fields(line)...)
		e := validateEnvelope(t, got.stdout, "errors.list")
		if e.Meta["timeout_ms"] != 5000.0 {
			t.Errorf("%s: timeout_ms is %v", line, e.Meta["timeout_ms"])
		}
		datas = append(datas, string(e.Data))
	}
	for _, data := range datas {
		if data != datas[0] {
			t.Errorf("data differs: %s", data)
		}
	}
}

// TestNobodyHangs runs each command with an empty standard input, as it is and with
// made-up arguments (contract section 5, C1). None of them may end with an exit
// code or data that it does not declare.
func TestNobodyHangs(t *testing.T) {
	home := t.TempDir()
	t.Chdir(home)
	env := []string{"HOME=" + home, "ARCD_SERVER=http://127.0.0.1:1/arc", "ARCD_RETRIES=0", "ARCD_KEYRING=off"}
	for name, command := range described().Commands {
		if command.Daemon || name == "arcd" {
			continue
		}
		full := words(name)
		for _, p := range command.Parameters {
			if p.Required {
				full = append(full, p.made()...)
			}
		}
		for _, args := range [][]string{words(name), full} {
			t.Run(strings.Join(args, " "), func(t *testing.T) {
				began := time.Now()
				var stdout, stderr bytes.Buffer
				code := cli.Run(t.Context(), args, env, strings.NewReader(""), &stdout, &stderr)
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("it took %s", took)
				}
				if e := validateEnvelope(t, stdout.String(), name); e.exit() != code {
					t.Errorf("exit %d, the envelope says %d", code, e.exit())
				}
			})
		}
	}
}

// made makes up a value for a flag or an argument that is needed.
func (p parameter) made() []string {
	value := "x1"
	switch {
	case len(p.Enum) > 0:
		value = p.Enum[0]
	case p.Type == "integer" || p.Type == "number":
		value = "1"
	case strings.HasSuffix(p.Name, "-url"):
		value = "http://127.0.0.1:1/"
	case p.Name == "--event":
		value = "TASK_STARTED"
	case p.Name == "--data":
		value = `{"status":"WORKING","message":"x"}`
	}
	if strings.HasPrefix(p.Name, "--") {
		return []string{p.Name, value}
	}
	return []string{value}
}

// TestExpiryIsTheSameEverywhere: each command that needs a credential says the same
// of one that has run out, before it calls anybody (contract section 5, A4 and A5).
func TestExpiryIsTheSameEverywhere(t *testing.T) {
	home := t.TempDir()
	t.Chdir(home)
	env := []string{"HOME=" + home, "ARCD_SERVER=http://127.0.0.1:1/arc", "ARCD_KEYRING=off", "ARCD_TOKEN=" + expiredToken}
	for name, command := range described().Commands {
		if !command.RequiresAuth {
			continue
		}
		args := words(name)
		for _, p := range command.Parameters {
			switch {
			case p.Required:
				args = append(args, p.made()...)
			case p.Name == "--confirm-destructive":
				args = append(args, p.Name)
			case p.Name == "--message":
				args = append(args, p.made()...)
			}
		}
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			got := run(t, env, args...)
			e := validateEnvelope(t, got.stdout, name)
			if got.code != 10 || e.code() != "CREDENTIALS_EXPIRED" || e.Error["detected_by"] != "client" || e.Error["expired_at"] != "2020-01-01T00:00:00Z" {
				t.Errorf("exit %d: %s", got.code, got.stdout)
			}
		})
	}
}
