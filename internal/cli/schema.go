package cli

import (
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// schemaData is the answer to --schema: what the manifest says, and what a
// program has to know besides to call a command well.
type schemaData struct {
	SchemaVersion    string                 `json:"schema_version"`
	FrameworkVersion string                 `json:"framework_version"`
	Etag             string                 `json:"etag"` // that of the manifest
	Runtime          string                 `json:"runtime"`
	Commands         map[string]schemaEntry `json:"commands"`
	Globals          []parameter            `json:"global_parameters"` // every command takes them, anywhere on the line
	Environment      []variable             `json:"environment"`
	Exits            []outcome.ExitEntry    `json:"exit_codes"`
	Codes            []errorCode            `json:"error_codes"`
}

// schemaEntry is a command, or a group of them, in full.
type schemaEntry struct {
	manifestEntry
	Detail          string          `json:"detail"` // further text, "" for none
	Parameters      []parameter     `json:"parameters"`
	Method          *string         `json:"method"`          // of the server that it calls; null: none or several
	RequiredScopes  []string        `json:"required_scopes"` // that its token needs
	RequiresAuth    bool            `json:"requires_auth"`
	AuthMethods     []string        `json:"auth_methods"`
	ReadOnly        bool            `json:"read_only"`
	SafeDefault     bool            `json:"safe_default"` // it changes nothing unless told to
	Cancellable     bool            `json:"cancellable"`  // SIGINT and SIGTERM end it with an envelope
	Interactive     bool            `json:"interactive"`  // it needs a person; where one is missing it fails
	Streaming       bool            `json:"streaming"`    // JSON lines come before the envelope
	Daemon          bool            `json:"daemon"`       // it runs until a signal
	Timeout         int64           `json:"timeout_ms"`   // default of --timeout; 0: none
	Stdin           *stdinLimit     `json:"stdin_input"`  // null: standard input is not read
	MaxOutput       int64           `json:"max_output_bytes"`
	OptionPlacement string          `json:"option_placement"`
	ErrorCodes      []outcome.Code  `json:"error_codes"` // that go with its exit codes
	ArgGroups       []argumentGroup `json:"arg_groups"`
	Standard        string          `json:"numbering"` // whose exit codes these are
}

// stdinLimit says how much standard input a command reads.
type stdinLimit struct {
	MaxBytes int `json:"max_bytes"`
}

// parameter is a flag or an argument.
type parameter struct {
	Name      string   `json:"name"` // --flag or <argument>
	Kind      string   `json:"kind"` // flag, argument
	Type      string   `json:"type"` // as in the manifest
	Required  bool     `json:"required"`
	Default   any      `json:"default"`
	Enum      []string `json:"enum"`
	Pattern   *string  `json:"pattern"`   // that values are held to
	Env       []string `json:"env"`       // variables that give the default
	Sensitive bool     `json:"sensitive"` // it says where a secret is; it never takes the secret itself
	Nargs     string   `json:"nargs"`     // 0 (no value), 1, +, *, ?
	Short     *string  `json:"short"`
	Aliases   []string `json:"aliases"`
	Help      string   `json:"help"`
}

// variable is an environment variable that arcd reads.
type variable struct {
	Name      string `json:"name"`
	Help      string `json:"help"`
	Flag      string `json:"flag"` // that wins over it, "" for none
	Sensitive bool   `json:"sensitive"`
}

// describeInFull describes a node and those below it.
func describeInFull(node *kong.Node) (any, error) {
	root := node
	for root.Parent != nil {
		root = root.Parent
	}
	manifest, err := describe(&kong.Application{Node: root})
	if err != nil {
		return nil, err
	}
	data := schemaData{
		SchemaVersion: manifest.SchemaVersion, FrameworkVersion: manifest.FrameworkVersion, Etag: manifest.Etag, Runtime: "none",
		Commands: map[string]schemaEntry{}, Globals: []parameter{}, Environment: environment(root),
		Exits: exitEntries(), Codes: errorCodes(),
	}
	for _, flag := range visible(root.Flags) {
		data.Globals = append(data.Globals, describeParameter(flag.Value))
	}
	for _, n := range allNodes(node) {
		data.Commands[dotted(n)] = describeEntry(n, manifest.Commands[dotted(n)])
	}
	return data, nil
}

func describeEntry(node *kong.Node, known manifestEntry) schemaEntry {
	r := rowOf(node)
	_, runs := commandOf(node)
	e := schemaEntry{
		manifestEntry: known, Detail: r.long, Parameters: []parameter{}, RequiredScopes: append([]string{}, r.requiredScopes()...),
		RequiresAuth: r.auth, AuthMethods: []string{}, ReadOnly: r.danger == safe, Cancellable: runs, Streaming: r.streams,
		Daemon: r.daemon, Timeout: r.defaultTimeout().Milliseconds(), MaxOutput: defaultMaxOutput, OptionPlacement: "any",
		ErrorCodes: errorCodesOf(node), ArgGroups: append([]argumentGroup{}, r.groups...), Standard: "CLI agent specification §53: 10 expired, 8 denied, 7 timeout",
	}
	if r.method != "" {
		e.Method = &r.method
	}
	if r.auth {
		for _, way := range authMethods() {
			e.AuthMethods = append(e.AuthMethods, way.Type+":"+way.Name)
		}
	}
	if r.stdin > 0 {
		e.Stdin = &stdinLimit{r.stdin}
	}
	for _, argument := range node.Positional {
		e.Parameters = append(e.Parameters, describeParameter(argument))
	}
	for _, flag := range visible(node.Flags) {
		if node.Parent != nil { // those of arcd itself stand in global_parameters
			e.Parameters = append(e.Parameters, describeParameter(flag.Value))
		}
	}
	return e
}

// defaultMaxOutput is the default of --max-output, in bytes.
const defaultMaxOutput = 1 << 20

// errorCodesOf lists the codes that go with the exit codes of a node.
func errorCodesOf(node *kong.Node) []outcome.Code {
	codes, exits := []outcome.Code{}, exitsOf(node)
	for _, code := range outcome.Codes() {
		for _, exit := range exits {
			if code.Exit() == exit {
				codes = append(codes, code)
			}
		}
	}
	return codes
}

func describeParameter(v *kong.Value) parameter {
	p := parameter{
		Name: "<" + v.Name + ">", Kind: "argument", Type: valueType(v), Required: v.Required, Enum: []string{}, Env: []string{}, Aliases: []string{},
		Nargs: nargs(v), Help: v.Help,
	}
	if v.HasDefault {
		p.Default = defaultOf(v)
	}
	if v.Enum != "" {
		p.Enum = enumOf(v)
	}
	if pattern := patternOf(v); pattern != "" {
		p.Pattern = &pattern
	}
	if f := v.Flag; f != nil {
		p.Name, p.Kind, p.Sensitive = "--"+f.Name, "flag", sensitive(f)
		p.Env = append(p.Env, variablesOf(f)...)
		p.Aliases = append(p.Aliases, f.Aliases...)
		if f.Short != 0 {
			short := string(f.Short)
			p.Short = &short
		}
	}
	return p
}

// sensitive tells whether a flag says where a secret is.
func sensitive(f *kong.Flag) bool { return f.PlaceHolder == "SOURCE" }

// variablesOf lists the variables that give a flag its default.
func variablesOf(f *kong.Flag) []string {
	if names := f.Tag.Get("from"); names != "" {
		return strings.Split(names, ",")
	}
	return nil
}

// nargs says how many values a flag or an argument takes: each time that it is
// given, for a flag.
func nargs(v *kong.Value) string {
	switch {
	case v.Flag != nil && v.IsBool():
		return "0"
	case v.Flag != nil:
		return "1"
	case v.IsCumulative() && v.Required:
		return "+"
	case v.IsCumulative():
		return "*"
	case v.Required:
		return "1"
	}
	return "?"
}

// environment lists the variables that arcd reads: those that flags name, and
// those that have no flag.
func environment(root *kong.Node) []variable {
	all := map[string]variable{}
	for _, node := range allNodes(root) {
		for _, flag := range visible(node.Flags) {
			for _, name := range variablesOf(flag) {
				all[name] = variable{name, flag.Help, "--" + flag.Name, sensitive(flag)}
			}
		}
	}
	for _, v := range otherVariables {
		all[v.Name] = v
	}
	list := []variable{}
	for _, name := range sortedNames(all) {
		list = append(list, all[name])
	}
	return list
}

// otherVariables are those without a flag of the same meaning.
var otherVariables = []variable{
	{credential.EnvToken, "An access token.", "--token", true},
	{credential.EnvTokenFile, "File that holds an access token.", "--token", true},
	{credential.EnvClientID, "Client credentials: the id.", "", false},
	{credential.EnvClientSecret, "Client credentials: the secret.", "", true},
	{credential.EnvClientSecretFile, "Client credentials: file that holds the secret.", "", true},
	{credential.EnvKeyring, "auto (default), off or require: whether credentials are kept in the keyring of the system.", "", false},
	{credential.EnvConfigDir, "Folder of the file of contexts.", "", false},
	{credential.EnvStateDir, "Folder of stored credentials.", "", false},
	{"ARCD_CONFIG", "Configuration file of the server.", "--config", false},
	{"ARCD_*", "Any key of the server's configuration, two underscores for a level: ARCD_AUTH__LEEWAY. See arcd config show --keys.", "", false},
	{"CI", "Not empty: JSON on a terminal as well, and nobody is asked.", "--output", false},
	{"NO_COLOR", "Set, be it empty: no colours.", "", false},
	{"TERM", "dumb: no colours.", "", false},
	{"HTTPS_PROXY", "Proxy for https; HTTP_PROXY for http, NO_PROXY for hosts that need none.", "", true},
	{"TRACEPARENT", "The span that calls belong to (W3C Trace Context); what is none is left out.", "", false},
	{"SSL_CERT_FILE", "Authorities to trust in place of those of the system.", "--ca-file", false},
}

func (s schemaData) show(p *page) {
	for _, name := range sortedNames(s.Commands) {
		e := s.Commands[name]
		if len(e.Subcommands) > 0 {
			continue
		}
		p.line("%s  %s", p.paint(bold, strings.ReplaceAll(name, ".", " ")), p.paint(dim, string(e.Danger)))
		p.field("  scopes", strings.Join(e.RequiredScopes, " "))
		p.field("  exit codes", strings.Join(numbers(e.Exits), " "))
		for _, parameter := range e.Parameters {
			p.line("    %s %s", pad(parameter.Name, 24), parameter.Type)
		}
	}
}

// numbers lists exit codes in order.
func numbers(exits map[string]manifestExit) []string {
	var list []string
	for _, exit := range outcome.Exits() {
		if _, ok := exits[strconv.Itoa(int(exit))]; ok {
			list = append(list, strconv.Itoa(int(exit)))
		}
	}
	return list
}
