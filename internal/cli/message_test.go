package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// What is wrong with what is to be said is found before anything is sent, and
// before the credential is looked for.
func TestMessageRefused(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	for name, content := range map[string]string{
		"latin.txt": "caf\xe9", "nul.txt": "a\x00b", "empty.json": "{}", "message.json": `{"role":"user","parts":[],"more":1}`, "notes.txt": "n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newARCStub(t, func(c stubCall) stubReply {
		t.Errorf("%s was sent", c.Method)
		return stubReply{err: stubNoMethod}
	})
	s.env = s.env[:1] // no credential
	for name, c := range map[string]struct {
		args  []string
		stdin string
		exit  int
		code  string
	}{
		"nothing on stdin":      {[]string{"--input-file", "-"}, "", 4, "STDIN_REQUIRED"},
		"blanks on stdin":       {[]string{"--input-file", "-"}, " \n", 4, "STDIN_REQUIRED"},
		"too much on stdin":     {[]string{"--input-file", "-"}, strings.Repeat("a", 65_537), 2, "STDIN_TOO_LARGE"},
		"no UTF-8 on stdin":     {[]string{"--input-file", "-"}, "\xff", 2, "VALIDATION_ERROR"},
		"missing file":          {[]string{"--input-file", "note s.txt"}, "", 2, "FILE_NOT_FOUND"},
		"folder":                {[]string{"--input-file", folder}, "", 2, "VALIDATION_ERROR"},
		"file that is no UTF-8": {[]string{"--input-file", "latin.txt"}, "", 2, "VALIDATION_ERROR"},
		"file with a NUL":       {[]string{"--input-file", "nul.txt"}, "", 2, "VALIDATION_ERROR"},
		"no message":            {[]string{"--input-file", "empty.json", "--input-format", "json"}, "", 2, "VALIDATION_ERROR"},
		"odd message":           {[]string{"--input-file", "message.json", "--input-format", "json"}, "", 2, "VALIDATION_ERROR"},
		"too long":              {[]string{"--message", strings.Repeat("a", 65_537)}, "", 2, "VALIDATION_ERROR"},
		"part without type":     {[]string{"--part", "hello"}, "", 2, "VALIDATION_ERROR"},
		"part of no type":       {[]string{"--part", "video=x"}, "", 2, "VALIDATION_ERROR"},
		"part that is no JSON":  {[]string{"--part", "data={a:1"}, "", 2, "INVALID_JSON"},
		"raw and more":          {[]string{"--raw-payload", "{}", "--message", "hi", "--priority", "LOW"}, "", 2, "VALIDATION_ERROR"},
		"raw list":              {[]string{"--raw-payload", "[]"}, "", 2, "VALIDATION_ERROR"},
		"raw file missing":      {[]string{"--raw-payload", "@none.json"}, "", 2, "FILE_NOT_FOUND"},
		"priority":              {[]string{"--message", "hi", "--priority", "SOON"}, "", 2, "VALIDATION_ERROR"},
		"deadline":              {[]string{"--message", "hi", "--deadline", "tomorrow"}, "", 2, "VALIDATION_ERROR"},
		"key":                   {[]string{"--message", "hi", "--idempotency-key", "a\tb"}, "", 2, "VALIDATION_ERROR"},
		"token from stdin too":  {[]string{"--input-file", "-", "--token", "-"}, "x", 2, "VALIDATION_ERROR"},
		"nothing wrong":         {[]string{"--message", "hi"}, "", 8, "AUTH_REQUIRED"},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.runWith(strings.NewReader(c.stdin), append([]string{"task", "create", "--agent", "a", "--server", s.url}, c.args...)...)
			e := got.envelope(t)
			if e.exit() != c.exit || e.code() != c.code {
				t.Errorf("exit %d %s, want %d %s: %v", e.exit(), e.code(), c.exit, c.code, e.Error["message"])
			}
		})
	}
	e := s.run("task", "create", "--agent", "a", "--input-file", "note.txt").envelope(t)
	if text, _ := e.Error["message"].(string); !strings.Contains(text, folder) {
		t.Errorf("the whole path is not named: %v", e.Error)
	}
	if suggestion, _ := e.Error["suggestion"].(string); !strings.Contains(suggestion, "notes.txt") {
		t.Errorf("the file that was perhaps meant is not named: %v", e.Error)
	}
}

// All problems are told at once.
func TestMessageProblemsAreListed(t *testing.T) {
	e := run(t, nil, "task", "create").envelope(t)
	if missing, _ := json.Marshal(e.Error["missing_args"]); string(missing) != `["--agent","--message"]` {
		t.Errorf("missing_args is %s", missing)
	}
	e = run(t, nil, "task", "create", "--agent", "a%2Fb", "--message", "x", "--part", "y", "--metadata", "z", "--timeout", "soon").envelope(t)
	if problems := e.Error["errors"].([]any); len(problems) != 4 {
		t.Errorf("%d problems are listed, want 4: %v", len(problems), problems)
	}
}

// TestUnknownFlagsAreListed: all of them at once, with what else is wrong, and
// without what follows from a misspelt one.
func TestUnknownFlagsAreListed(t *testing.T) {
	for line, want := range map[string]string{
		"task cancel a --bad1 --bad2=x --confirm-destructive": "--bad1 --bad2",
		"task create --bad1 x --timeout soon --bad2":          "--timeout --bad1 --bad2 --agent --message",
		"task create --agnet echo --message hi":               "--agnet",
		"--bad1 x task list --limit=-1":                       "--bad1 --limit",
	} {
		t.Run(line, func(t *testing.T) {
			e := run(t, nil, strings.Fields(line)...).envelope(t)
			var fields []string
			problems, _ := e.Error["errors"].([]any)
			for _, problem := range problems {
				fields = append(fields, problem.(map[string]any)["field"].(string))
			}
			if got := strings.Join(fields, " "); got != want || e.exit() != 2 {
				t.Errorf("exit %d with %q, want %q", e.exit(), got, want)
			}
		})
	}
}

// TestWordsAreUTF8: what is no text is refused, not sent as another one.
func TestWordsAreUTF8(t *testing.T) {
	for _, args := range [][]string{
		{"task", "create", "--agent", "a", "--message", "caf\xe9"}, {"chat", "end", "c1", "--reason", "\xff"}, {"task", "list", "--trace=\xff"},
	} {
		if e := run(t, nil, args...).envelope(t); e.exit() != 2 || e.code() != "VALIDATION_ERROR" {
			t.Errorf("%q: exit %d, %v", args, e.exit(), e.Error)
		}
	}
}

// TestVariableIsNamed: who typed no flag learns which variable is wrong.
func TestVariableIsNamed(t *testing.T) {
	for name, text := range map[string]string{"ARCD_TIMEOUT": "soon", "ARCD_DEBUG": "perhaps", "ARCD_SERVER": "x", "ARCD_OUTPUT": "xml"} {
		e := run(t, []string{name + "=" + text}, "task", "list").envelope(t)
		if suggestion, _ := e.Error["suggestion"].(string); e.exit() != 2 || !strings.Contains(suggestion, name) {
			t.Errorf("%s: exit %d, suggestion %q", name, e.exit(), suggestion)
		}
	}
}

// The parts go in the order of text, parts, file; JSON may have comments and
// commas too many.
func TestMessageParts(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"in.txt": "\xef\xbb\xbffrom a file", "p.png": "\x89PNG\r\n", "parts.json": `[{"type":"text","content":"from JSON"},] // one`} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	type part struct{ Type, Content, MimeType, Filename any }
	var sent []part
	var params map[string]json.RawMessage
	s := newARCStub(t, func(c stubCall) stubReply {
		var p struct{ InitialMessage struct{ Parts []part } }
		if err := json.Unmarshal(c.Params, &p); err != nil {
			t.Error(err)
		}
		sent, params = p.InitialMessage.Parts, map[string]json.RawMessage{}
		_ = json.Unmarshal(c.Params, &params)
		return stubTask("t1", "SUBMITTED")
	})
	create := func(stdin string, args ...string) {
		t.Helper()
		if got := s.runWith(strings.NewReader(stdin), append([]string{"task", "create", "--agent", "a"}, args...)...); got.code != 0 {
			t.Fatalf("exit %d: %s", got.code, got.stdout)
		}
	}
	create("", "--message", "a, b", "--part", `data={"x":[1,],}`, "--part", "image=p.png", "--input-file", "in.txt", "--metadata", "k=v=w", "--deadline", "2026-02-03T04:05:06Z")
	if len(sent) != 4 || sent[0].Content != "a, b" || sent[1].Type != "DataPart" || sent[3].Content != "from a file" {
		t.Errorf("sent %v", sent)
	}
	if p := sent[2]; p.Type != "ImagePart" || p.MimeType != "image/png" || p.Filename != "p.png" || p.Content != base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n")) {
		t.Errorf("the image is %v", p)
	}
	var metadata map[string]any
	if err := json.Unmarshal(params["metadata"], &metadata); err != nil || metadata["k"] != "v=w" || metadata["deadline"] != "2026-02-03T04:05:06Z" {
		t.Errorf("metadata %s", params["metadata"])
	}
	create("from stdin", "--input-file", "-")
	if len(sent) != 1 || sent[0].Content != "from stdin" {
		t.Errorf("sent %v", sent)
	}
	create("", "--input-file", "parts.json", "--input-format", "json")
	if len(sent) != 1 || sent[0].Content != "from JSON" {
		t.Errorf("sent %v", sent)
	}
	create("", "--raw-payload", `{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"raw, with a comma"}]},"odd":[1.50],} /* c */`, "--idempotency-key", "k")
	if sent[0].Content != "raw, with a comma" || string(params["odd"]) != "[1.50]" || string(params["idempotencyKey"]) != `"k"` {
		t.Errorf("params %s", params)
	}
}

// JSON in the style of other languages is refused with what was perhaps meant.
func TestInvalidJSONIsCorrected(t *testing.T) {
	for text, want := range map[string]string{
		`{taskId: "x"}`:                     `{"taskId":"x"}`,
		`{'taskId': 'it\'s "x"'}`:           `{"taskId":"it's \"x\""}`,
		`{"a": True, "b": None, c: [1,2,]}`: `{"a":true,"b":null,"c":[1,2]}`,
		`{"a":1,"a":2}`:                     "",
		`{"a":`:                             "",
		`{"u":"http://x",k:"a: b, 'c'"}`:    `{"u":"http://x","k":"a: b, 'c'"}`,
	} {
		t.Run(text, func(t *testing.T) {
			e := run(t, nil, "call", "task.info", "--raw-payload", text).envelope(t)
			problem := e.Error["errors"].([]any)[0].(map[string]any)
			got, _ := problem["corrected_input"].(string)
			if e.exit() != 2 || e.code() != "INVALID_JSON" || got != want {
				t.Errorf("exit %d %s, corrected %s, want %s", e.exit(), e.code(), got, want)
			}
		})
	}
}
