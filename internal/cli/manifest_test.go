package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestManifest is contract section 5, B5 and B6.
func TestManifest(t *testing.T) {
	began := time.Now()
	got := run(t, nil, "manifest", "--max-output", "0")
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	e := validateEnvelope(t, got.stdout, "manifest")
	if err := contractSchema().matches("manifest.json", e.Data); err != nil {
		t.Fatal(err)
	}
	var data struct {
		Etag     string
		Commands map[string]struct {
			Subcommands []string
			Danger      string `json:"danger_level"`
			Flags       map[string]json.RawMessage
			Output      json.RawMessage `json:"output_schema"`
			Examples    []struct{ Command string }
		}
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	for name, command := range data.Commands {
		for _, child := range command.Subcommands {
			if _, ok := data.Commands[child]; !ok {
				t.Errorf("%s names %s, which is not there", name, child)
			}
		}
		if _, err := compileSchema(name, command.Output); err != nil {
			t.Errorf("output_schema of %s: %v", name, err)
		}
		if _, ok := command.Flags["dry-run"]; !ok && command.Danger == "destructive" {
			t.Errorf("%s is destructive and has no --dry-run", name)
		}
		if len(command.Subcommands) == 0 && len(command.Examples) == 0 {
			t.Errorf("%s has no example", name)
		}
	}
	hit := run(t, nil, "manifest", "--etag", data.Etag)
	known := validateEnvelope(t, hit.stdout, "manifest")
	if hit.code != 0 || known.Meta["not_modified"] != true || string(known.Data) != "null" {
		t.Errorf("with its own etag: exit %d, %s", hit.code, hit.stdout)
	}
	if miss := validateEnvelope(t, run(t, nil, "manifest", "--etag", "other").stdout, "manifest"); string(miss.Data) == "null" {
		t.Error("with another etag there is no data")
	}
}

// TestSchema is contract section 5, B4.
func TestSchema(t *testing.T) {
	got := run(t, nil, "--schema", "--max-output", "0")
	e := validateEnvelope(t, got.stdout, "")
	var data struct {
		Commands    map[string]map[string]json.RawMessage
		Environment []struct{ Name string }
		Exits       []struct{ Code int }    `json:"exit_codes"`
		Codes       []struct{ Code string } `json:"error_codes"`
		Runtime     string
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	for name, command := range data.Commands {
		for _, member := range []string{
			"parameters", "output_schema", "danger_level", "required_scopes", "requires_auth", "auth_methods", "read_only", "cancellable", "interactive",
			"streaming", "stdin_input", "max_output_bytes", "exit_codes", "error_codes",
		} {
			if _, ok := command[member]; !ok {
				t.Errorf("%s has no %s", name, member)
			}
		}
	}
	names := []string{}
	for _, v := range data.Environment {
		names = append(names, v.Name)
	}
	for _, want := range []string{"ARCD_TOKEN", "ARCD_SERVER", "ARCD_OUTPUT", "TOOL_TRACE_ID", "NO_COLOR"} {
		if !slices.Contains(names, want) {
			t.Errorf("environment has no %s", want)
		}
	}
	if len(data.Exits) == 0 || len(data.Codes) == 0 || data.Runtime != "none" {
		t.Errorf("%d exit codes, %d error codes, runtime %q", len(data.Exits), len(data.Codes), data.Runtime)
	}
}

// TestSchemaOfOneCommand has that command alone.
func TestSchemaOfOneCommand(t *testing.T) {
	for name, want := range map[string]int{"agent.list": 1, "errors": 2} {
		e := validateEnvelope(t, run(t, nil, append(words(name), "--schema")...).stdout, name)
		var data struct{ Commands map[string]json.RawMessage }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		if _, ok := data.Commands[name]; !ok || len(data.Commands) != want {
			t.Errorf("%s --schema has %d commands, want %d", name, len(data.Commands), want)
		}
	}
}

// TestExamplesCanBeTyped: each example of the manifest is a command line that arcd
// can read, of the command that it stands at.
func TestExamplesCanBeTyped(t *testing.T) {
	e := validateEnvelope(t, run(t, nil, "manifest", "--max-output", "0").stdout, "manifest")
	var data struct {
		Commands map[string]struct{ Examples []struct{ Command string } }
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	for name, command := range data.Commands {
		for _, example := range command.Examples {
			args := arguments(example.Command)
			if args == nil {
				t.Errorf("%s: %q does not call arcd", name, example.Command)
				continue
			}
			got := run(t, nil, append(args, "--schema", "--fields", "commands")...)
			if got.code != 0 || !strings.Contains(got.stdout, `"commands":{"`+name+`":`) {
				t.Errorf("%s: %q: exit %d: %.300s", name, example.Command, got.code, got.stdout)
			}
		}
	}
}

// shellWord finds a word of a shell with its quotes.
var shellWord = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)

// arguments gives the arguments of arcd in a line of a shell, nil if arcd is not
// called.
func arguments(line string) []string {
	line = " " + strings.ReplaceAll(line, "(", " ")
	at := strings.LastIndex(line, " arcd ")
	if at < 0 {
		return nil
	}
	args := []string{}
	for _, word := range shellWord.FindAllString(line[at+6:], -1) {
		if strings.ContainsAny(word[:1], "|<>)&;") {
			break
		}
		args = append(args, strings.NewReplacer("'", "", `"`, "", ")", "").Replace(word))
	}
	return args
}

// TestErrorsList is contract section 5, B14.
func TestErrorsList(t *testing.T) {
	e := validateEnvelope(t, run(t, nil, "errors", "list").stdout, "errors.list")
	var data struct {
		Items []struct {
			Code      string
			Exit      *int `json:"exit_code"`
			Retryable *bool
			Meaning   string
			Cure      string
			DocsURL   string `json:"docs_url"`
		}
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	for _, code := range data.Items {
		if code.Exit == nil || code.Retryable == nil || code.Meaning == "" || code.Cure == "" || !strings.HasSuffix(code.DocsURL, "#"+strings.ToLower(code.Code)) {
			t.Errorf("%+v", code)
		}
	}
	if len(data.Items) < 30 {
		t.Errorf("%d codes", len(data.Items))
	}
	page, err := os.ReadFile(filepath.Join(schemaFolder, "../../../../docs/errors.md")) // where docs_url leads
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range data.Items {
		section := fmt.Sprintf("\n## %s\n\nExit code %d (", code.Code, *code.Exit)
		_, rest, ok := strings.Cut(string(page), section)
		rest, _, _ = strings.Cut(rest, "\n## ")
		if !ok || !strings.Contains(rest, code.Meaning+" "+code.Cure) {
			t.Errorf("docs/errors.md has no section like this: %s…)\n\n%s %s", section, code.Meaning, code.Cure)
		}
	}
}

// named finds the flags and variables of arcd in a page.
var named = regexp.MustCompile(`--[a-z][a-z-]+[a-z]|\b(?:ARCD|TOOL)_[A-Z_]+[A-Z]\b`)

// TestPagesNameWhatThereIs: every flag and variable that the pages for agents name is
// in the schema (contract section 5, E18).
func TestPagesNameWhatThereIs(t *testing.T) {
	var schema struct {
		Commands map[string]struct {
			Parameters []struct {
				Name    string
				Aliases []string
			}
		}
		Globals []struct {
			Name    string
			Aliases []string
		} `json:"global_parameters"`
		Environment []struct{ Name string }
	}
	e := validateEnvelope(t, run(t, nil, "--schema", "--max-output", "0").stdout, "")
	if err := json.Unmarshal(e.Data, &schema); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"TOOL_FAILED": true} // what stderr says, no variable
	for _, p := range schema.Globals {
		known[p.Name] = true
		for _, alias := range p.Aliases {
			known["--"+alias] = true
		}
	}
	for _, command := range schema.Commands {
		for _, p := range command.Parameters {
			known[p.Name] = true
			for _, alias := range p.Aliases {
				known["--"+alias] = true
			}
		}
	}
	for _, v := range schema.Environment {
		known[v.Name] = true
	}
	for _, name := range []string{"AGENTS.md", "docs/cli.md"} {
		page, err := os.ReadFile(filepath.Join(schemaFolder, "../../../..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range named.FindAllString(string(page), -1) {
			if !known[word] && !strings.Contains(word, "__") {
				t.Errorf("%s names %s, which arcd does not have", name, word)
			}
		}
	}
}
