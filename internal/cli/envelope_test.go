package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arcd-io/arcd/internal/cli"
)

// envelope is the document that a command wrote.
type envelope struct {
	OK       bool            `json:"ok"`
	Data     json.RawMessage `json:"data"`
	Error    map[string]any  `json:"error"`
	Warnings []string        `json:"warnings"`
	Meta     map[string]any  `json:"meta"`

	before [][]byte // JSON lines that came before it
}

// code is error.code, "" without an error.
func (e *envelope) code() string { code, _ := e.Error["code"].(string); return code }

// exit is meta.exit_code.
func (e *envelope) exit() int { n, _ := e.Meta["exit_code"].(float64); return int(n) }

// validateEnvelope fails the test unless stdout holds exactly one envelope, after
// JSON lines where the command streams, that keeps the contract: its schema, that
// of the command's data, exit codes that the command declares, and the invariants
// of contract section 1.4. command is its name with dots ("task.get"), "" for
// whatever meta.command says. It gives the envelope.
func validateEnvelope(t *testing.T, stdout, command string) *envelope {
	t.Helper()
	e, err := checkEnvelope(stdout, command)
	if err != nil {
		t.Fatalf("%v\nstdout: %s", err, stdout)
	}
	return e
}

// checkEnvelope is validateEnvelope for those who have no *testing.T.
func checkEnvelope(stdout, command string) (*envelope, error) {
	lines := bytes.Split(bytes.TrimSuffix([]byte(stdout), []byte("\n")), []byte("\n"))
	if !strings.HasSuffix(stdout, "\n") {
		return nil, fmt.Errorf("stdout does not end with a newline")
	}
	last := len(lines) - 1
	e := &envelope{before: lines[:last]}
	for i, line := range lines {
		var object map[string]any
		if err := json.Unmarshal(line, &object); err != nil {
			return nil, fmt.Errorf("line %d of stdout is no JSON object: %w", i+1, err)
		}
	}
	if err := json.Unmarshal(lines[last], e); err != nil {
		return nil, fmt.Errorf("the last line is no envelope: %w", err)
	}
	if err := contractSchema().matches("envelope.json", lines[last]); err != nil {
		return nil, fmt.Errorf("the envelope: %w", err)
	}
	named, _ := e.Meta["command"].(string)
	if command != "" && command != named {
		return nil, fmt.Errorf("meta.command is %q, not %q", named, command)
	}
	if said, _ := e.Error["message"].(string); e.Error != nil && (said == "" || !strings.Contains(".!?", said[len(said)-1:])) {
		return nil, fmt.Errorf("error.message is no whole sentence: %q", said)
	}
	if len(e.before) > 0 && !described().streaming(named) {
		return nil, fmt.Errorf("%s is no command that streams, but wrote %d lines", named, len(lines))
	}
	return e, e.check(named)
}

// check compares an envelope with what its command declares.
func (e *envelope) check(command string) error {
	if bytes.ContainsRune(e.Data, 0x1b) {
		return fmt.Errorf("there is an escape character in data")
	}
	if e.Error != nil && e.Error["exit_code"] != e.Meta["exit_code"] {
		return fmt.Errorf("error.exit_code is %v, meta.exit_code %v", e.Error["exit_code"], e.Meta["exit_code"])
	}
	if command == "" {
		command = "arcd"
	}
	declared, ok := described().Commands[command]
	if !ok {
		return fmt.Errorf("the schema has no command %q", command)
	}
	exit := strconv.Itoa(e.exit())
	x, ok := declared.Exits[exit]
	switch {
	case !ok:
		return fmt.Errorf("%s ended with exit code %s (%s), which it does not declare", command, exit, e.code())
	case e.Error != nil && e.Error["exit_name"] != x.Name && len(declared.Subcommands) == 0 && !overlaid(exit):
		return fmt.Errorf("error.exit_name is %v, declared is %s", e.Error["exit_name"], x.Name)
	case e.Error != nil && e.Error["retryable"] == true && !x.Retryable && e.Error["retry_after_ms"] == nil:
		return fmt.Errorf("%s says that it can be repeated, and exit code %s of %s cannot", e.code(), exit, command)
	}
	whole := e.Meta["truncated"] == nil && string(e.Data) != "null" && e.Meta["schema_ref"] == nil
	if !whole || !strings.HasPrefix(string(e.Data), "{") {
		return nil
	}
	if err := described().matches(command, e.Data); err != nil {
		return fmt.Errorf("data of %s: %w", command, err)
	}
	return nil
}

// overlaid tells whether commands may give an exit code a name of their own
// (contract section 1.5).
func overlaid(exit string) bool { return exit == "3" || exit == "4" }

// parameter is a flag or an argument of a command.
type parameter struct {
	Name, Type string
	Required   bool
	Enum       []string
}

// describedCommands is what --schema says about the commands.
type describedCommands struct {
	Commands map[string]struct {
		Danger string `json:"danger_level"`
		Exits  map[string]struct {
			Name      string
			Retryable bool
			Effects   string `json:"side_effects"`
		} `json:"exit_codes"`
		Output       json.RawMessage `json:"output_schema"`
		Subcommands  []string
		Streaming    bool
		Parameters   []parameter
		RequiresAuth bool `json:"requires_auth"`
		Daemon       bool
	}

	compiled sync.Map // of the commands' output schemas, by name
}

// described asks arcd for its schema, once.
var described = sync.OnceValue(func() *describedCommands {
	var stdout, stderr bytes.Buffer
	if exit := cli.Run(context.Background(), []string{"--schema", "--max-output", "0"}, nil, strings.NewReader(""), &stdout, &stderr); exit != 0 {
		panic(fmt.Sprintf("arcd --schema ended with %d: %s", exit, &stderr))
	}
	var reply struct{ Data describedCommands }
	if err := json.Unmarshal(stdout.Bytes(), &reply); err != nil {
		panic(err)
	}
	return &describedCommands{Commands: reply.Data.Commands}
})

// streaming tells whether a command may write lines before its envelope.
func (d *describedCommands) streaming(command string) bool { return d.Commands[command].Streaming }

// matches validates data of a command against the schema that it declares.
func (d *describedCommands) matches(command string, doc []byte) error {
	known, ok := d.compiled.Load(command)
	if !ok {
		schema, err := compileSchema(command+".json", d.Commands[command].Output)
		if err != nil {
			return err
		}
		known, _ = d.compiled.LoadOrStore(command, schema)
	}
	return validate(known.(*jsonschema.Schema), doc)
}

// contractSchemas are the JSON Schemas of testdata/schema.
type contractSchemas struct{ byName map[string]*jsonschema.Schema }

var schemaFolder, _ = filepath.Abs(filepath.Join("testdata", "schema")) // tests change the folder

var contractSchema = sync.OnceValue(func() contractSchemas {
	c := jsonschema.NewCompiler()
	s := contractSchemas{map[string]*jsonschema.Schema{}}
	for _, name := range []string{"envelope.json", "error.json", "manifest.json"} {
		s.byName[name] = c.MustCompile(filepath.Join(schemaFolder, name))
	}
	return s
})

func (s contractSchemas) matches(name string, doc []byte) error { return validate(s.byName[name], doc) }

// compileSchema compiles a schema that is no file.
func compileSchema(name string, text []byte) (*jsonschema.Schema, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	if err := c.AddResource("arcd://"+name, value); err != nil {
		return nil, err
	}
	return c.Compile("arcd://" + name)
}

// validate validates a document.
func validate(s *jsonschema.Schema, doc []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return err
	}
	return s.Validate(value)
}
