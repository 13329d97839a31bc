package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/cli"
)

// batch runs lines with "arcd exec" and gives the envelopes of the lines and that
// of the batch.
func batch(t *testing.T, env []string, input string, args ...string) (lines []*envelope, whole *envelope) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), append([]string{"exec"}, args...), env, strings.NewReader(input), &stdout, &stderr)
	whole = validateEnvelope(t, stdout.String(), "exec")
	if whole.exit() != code {
		t.Errorf("exit %d, the envelope says %d", code, whole.exit())
	}
	for _, line := range whole.before {
		lines = append(lines, validateEnvelope(t, string(line)+"\n", ""))
	}
	return lines, whole
}

// ran tells of each line its number, command and error code.
func ran(lines []*envelope) []string {
	var all []string
	for _, e := range lines {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%v %v %s", e.Meta["_line"], e.Meta["_cmd"], e.code())))
	}
	return all
}

// TestExec is contract section 5, E14.
func TestExec(t *testing.T) {
	const input = `{"argv":["version"]}
{"argv":["agent","list","--limit","x"]}

{"argv":["errors","list"]}
`
	for name, c := range map[string]struct {
		input   string
		args    []string
		want    []string
		code    string
		summary string
	}{
		"all good":          {`{"argv":["version"]}` + "\n" + `{"argv":["errors","list"]}`, nil, []string{"1 version", "2 errors list"}, "", "2 2 0 0"},
		"stops at failures": {input, nil, []string{"1 version", "2 agent list VALIDATION_ERROR"}, "LINE_FAILED", "3 1 1 1"},
		"ignores failures": {
			input, []string{"--ignore-errors"}, []string{"1 version", "2 agent list VALIDATION_ERROR", "4 errors list"}, "LINE_FAILED", "3 2 1 0",
		},
		"from a line":     {input, []string{"--from-line", "3"}, []string{"4 errors list"}, "", "1 1 0 0"},
		"no JSON":         {"{'argv': 1}", nil, []string{"1 ? INVALID_JSON"}, "LINE_FAILED", "1 0 1 0"},
		"unknown members": {`{"argv":["version"],"args":[]}`, nil, []string{"1 ? INVALID_JSON"}, "LINE_FAILED", "1 0 1 0"},
		"no words":        {`{"argv":[]}`, nil, []string{"1 ? INVALID_JSON"}, "LINE_FAILED", "1 0 1 0"},
		"unknown command": {`{"argv":["frobnicate"]}`, nil, []string{"1 frobnicate UNKNOWN_COMMAND"}, "LINE_FAILED", "1 0 1 0"},
		"nested":          {`{"argv":["exec"]}`, nil, []string{"1 exec VALIDATION_ERROR"}, "LINE_FAILED", "1 0 1 0"},
		"a daemon":        {`{"argv":["serve","--dev"]}`, nil, []string{"1 serve VALIDATION_ERROR"}, "LINE_FAILED", "1 0 1 0"},
		"help":            {`{"argv":["task","--help"]}`, nil, []string{"1 task VALIDATION_ERROR"}, "LINE_FAILED", "1 0 1 0"},
		"a token of the batch's input": {
			`{"argv":["agent","list","--token","-"]}`, nil, []string{"1 agent list VALIDATION_ERROR"}, "LINE_FAILED", "1 0 1 0",
		},
		"pretends": {
			`{"argv":["agent","unregister","a"]}`, []string{"--dry-run"}, []string{"1 agent unregister AUTH_REQUIRED"}, "LINE_FAILED", "1 0 1 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := []string{"HOME=" + t.TempDir(), "ARCD_SERVER=http://127.0.0.1:1/arc", "ARCD_KEYRING=off"}
			lines, whole := batch(t, env, c.input, c.args...)
			if diff := cmp.Diff(c.want, ran(lines)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			var data struct {
				Summary struct{ Total, Succeeded, Failed, Skipped int }
			}
			if err := json.Unmarshal(whole.Data, &data); err != nil {
				t.Fatal(err)
			}
			if got := strings.Trim(fmt.Sprint(data.Summary), "{}"); got != c.summary || whole.code() != c.code {
				t.Errorf("summary %s, code %s; want %s, %s", got, whole.code(), c.summary, c.code)
			}
		})
	}
}

// TestExecRefusesBeforeItRuns: too much input is refused as a whole.
func TestExecRefusesBeforeItRuns(t *testing.T) {
	long := `{"argv":["version","` + strings.Repeat("x", 65_536) + `"]}`
	for name, c := range map[string]struct {
		input string
		file  bool
		args  []string
		code  string
	}{
		"nothing":       {"", false, nil, "STDIN_REQUIRED"},
		"blanks":        {" \n\n", false, nil, "STDIN_REQUIRED"},
		"too much":      {long, false, nil, "STDIN_TOO_LARGE"},
		"a long line":   {long, true, nil, "VALIDATION_ERROR"},
		"many lines":    {strings.Repeat(`{"argv":["version"]}`+"\n", 1001), true, nil, "VALIDATION_ERROR"},
		"no such line":  {`{"argv":["version"]}`, false, []string{"--from-line", "2"}, "VALIDATION_ERROR"},
		"line zero":     {`{"argv":["version"]}`, false, []string{"--from-line", "0"}, "VALIDATION_ERROR"},
		"a file's name": {"", false, []string{"--input-file", "/does/not/exist"}, "FILE_NOT_FOUND"},
	} {
		t.Run(name, func(t *testing.T) {
			args, input := c.args, c.input
			if c.file {
				args, input = []string{"--input-file", file(t, "lines.jsonl", input)}, ""
			}
			lines, whole := batch(t, nil, input, args...)
			if len(lines) > 0 || whole.code() != c.code {
				t.Errorf("%d lines ran, code %s; want none and %s", len(lines), whole.code(), c.code)
			}
		})
	}
}

// TestExecStopsAtExpiry: a credential that runs out stops the batch even with
// --ignore-errors, and the envelope says how to renew it and where to go on
// (contract section 2.7).
func TestExecStopsAtExpiry(t *testing.T) {
	env := []string{"HOME=" + t.TempDir(), "ARCD_SERVER=http://127.0.0.1:1/arc", "ARCD_KEYRING=off", "ARCD_TOKEN=" + expiredToken}
	lines, whole := batch(t, env, `{"argv":["version"]}`+"\n"+`{"argv":["agent","list"]}`+"\n"+`{"argv":["version"]}`, "--ignore-errors")
	if diff := cmp.Diff([]string{"1 version", "2 agent list CREDENTIALS_EXPIRED"}, ran(lines)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if lines[1].exit() != 10 || whole.exit() != 1 || whole.code() != "LINE_FAILED" {
		t.Errorf("exit codes %d and %d, code %s", lines[1].exit(), whole.exit(), whole.code())
	}
	for member, want := range map[string]any{"cause": "CREDENTIALS_EXPIRED", "resume_from": "--from-line 2", "expired": true, "failed_step": "2"} {
		if whole.Error[member] != want {
			t.Errorf("error.%s is %v, want %v", member, whole.Error[member], want)
		}
	}
	if command, _ := whole.Error["reauth_command"].(string); command == "" {
		t.Error("there is no reauth_command")
	}
}

// TestExecPassesFlagsOn: the batch's flags hold for each line, and a line's own
// flags win.
func TestExecPassesFlagsOn(t *testing.T) {
	input := `{"argv":["agent","list"]}` + "\n" + `{"argv":["agent","list","--server","http://127.0.0.1:2/arc"]}`
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off"}
	lines, _ := batch(t, env, input, "--ignore-errors", "--server", "http://127.0.0.1:1/arc", "--trace-id", "t-1", "--instance-id", "a")
	for i, want := range []string{"http://127.0.0.1:1/arc", "http://127.0.0.1:2/arc"} {
		meta := lines[i].Meta
		if meta["server"] != want || meta["trace_id"] != "t-1" || meta["instance_id"] != "a" {
			t.Errorf("line %d: %v", i+1, meta)
		}
	}
}

// TestExecPassesDefaultsOn: a flag that says what is the default anyway, or 0, wins
// over a variable for each line, too.
func TestExecPassesDefaultsOn(t *testing.T) {
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_RETRIES=5", "ARCD_CONNECT_TIMEOUT=9s", "ARCD_AUTO_REFRESH=1"}
	lines, _ := batch(t, env, `{"argv":["status","--show-config"]}`, "--retries", "0", "--connect-timeout", "5s", "--auto-refresh=false")
	var data struct {
		Settings []struct {
			Name          string
			Value, Source any
		}
	}
	if err := json.Unmarshal(lines[0].Data, &data); err != nil {
		t.Fatal(err)
	}
	for _, setting := range data.Settings {
		switch setting.Name {
		case "retries", "connect-timeout", "auto-refresh":
			if setting.Source != "flag" {
				t.Errorf("%s is %v, from %v", setting.Name, setting.Value, setting.Source)
			}
		}
	}
	if len(data.Settings) == 0 {
		t.Error("there are no settings")
	}
}

// expiredToken is a token that says of itself that it ran out in 2020.
const expiredToken = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4IiwiZXhwIjoxNTc3ODM2ODAwfQ.c2lnbmF0dXJl"
