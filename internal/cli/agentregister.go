package cli

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// agentRegister is "arcd agent register". Flags win over the file.
type agentRegister struct {
	changing
	ID        identifier `arg:"" help:"The id that the agent gets: 3 to 100 letters, digits, _ and -."`
	AgentKey  string     `name:"agent-key" required:"" placeholder:"SOURCE" help:"Where the agent key is that the operator handed out: env:NAME, file:PATH or -."`
	InputFile string     `name:"input-file" placeholder:"FILE" help:"The registration as JSON, as POST /agents/register takes it."`

	Name       string   `placeholder:"TEXT" help:"Its name, 2 to 32 characters. Default: its id."`
	Type       string   `placeholder:"TYPE" help:"Its type, such as automation."`
	Endpoint   string   `placeholder:"URL" help:"Where it is reached."`
	About      string   `placeholder:"TEXT" help:"What it does, 10 to 1,000 characters."`
	Capability []string `placeholder:"WORD" help:"What it can do; several with commas or by repeating."`
	Owner      string   `placeholder:"TEXT" help:"Who runs it."`
	PublicKey  string   `name:"public-key" placeholder:"KEY" help:"Its public key, 32 characters or more of base64, hex or PEM."`
	Metadata   []string `sep:"none" placeholder:"NAME=VALUE" help:"What else there is to say; may be repeated."`
	Release    string   `placeholder:"N.N.N" help:"Its version. Default: 1.0.0."`
	Mode       string   `enum:",remote,local,hybrid" default:"" help:"How it is reached. Default: remote."`

	Unvalidated bool   `help:"Leave out the look at its endpoint, where the server does not insist on it."`
	OutputFile  string `name:"output-file" placeholder:"FILE" help:"Write its token into this file (mode 0600)."`
	Unmask      bool   `help:"Show the token itself."`
}

// registeredData is the result of "agent register".
type registeredData struct {
	mintedToken
	Effect  string  `json:"effect"` // created, would_create
	AgentID string  `json:"agent_id"`
	File    *string `json:"file"` // that the token was written to
	// NextCommand says that the agent is alive, with its own token.
	NextCommand *string `json:"next_command"`
}

func (*agentRegister) row() row {
	return row{
		danger: mutating, data: registeredData{}, stdin: maxSecretLine, timeout: 30 * time.Second, exits: callExits,
		long: "No other credential is sent than the agent key. The server looks at the endpoint first. The agent's token is written to --output-file, or shown with --unmask; " +
			"it is not stored as a login.",
		examples: []string{
			"arcd agent register weather-1 --agent-key file:agent.key --input-file weather.json --output-file weather.token",
			"arcd agent register weather-1 --agent-key env:AGENT_KEY --type automation --endpoint https://weather.example --about 'Forecasts storms and rain' " +
				"--capability forecast --owner 'Weather team' --public-key MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE= --metadata region=north --output-file weather.token",
		},
	}
}

// check finds, without a file, every flag that is missing.
func (r *agentRegister) check(p *problems) {
	checkPairs(p, "--metadata", r.Metadata)
	if _, err := credential.ParseSource(r.AgentKey); err != nil {
		p.report(outcome.Problem{Code: outcome.SecretInArgv, Field: "--agent-key", Message: "must be env:NAME, file:PATH or -, never the key itself"})
	}
	if r.InputFile == "-" {
		p.add("--input-file", "cannot be standard input; name a file")
	}
	if r.InputFile != "" {
		return
	}
	for _, flag := range []struct {
		name    string
		missing bool
	}{
		{"--type", r.Type == ""}, {"--endpoint", r.Endpoint == ""}, {"--about", r.About == ""}, {"--capability", len(r.Capability) == 0},
		{"--owner", r.Owner == ""}, {"--public-key", r.PublicKey == ""}, {"--metadata", len(r.Metadata) == 0},
	} {
		if flag.missing {
			p.report(outcome.Problem{Code: outcome.Validation, Field: flag.name, Message: "is missing", Suggestion: "Give it, or the whole registration with --input-file FILE."})
		}
	}
}

func (r *agentRegister) run(ctx context.Context, c *console) (any, error) {
	registration, err := r.registration(ctx, c)
	if err != nil {
		return nil, err
	}
	l, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	if r.DryRun {
		return registeredData{Effect: "would_create", AgentID: string(r.ID), mintedToken: mintedToken{Masked: true, Scopes: []string{}}}, nil
	}
	from, err := credential.ParseSource(r.AgentKey)
	if err != nil {
		return nil, err
	}
	key, err := l.store.Secret(from)
	if err != nil {
		return nil, c.classify(err)
	}
	if err := r.canKeep(); err != nil {
		return nil, err
	}
	server := l.speak(c, true) // without a credential: the key is one
	done, err := server.Enroll(ctx, client.EnrollParams{Key: key, Registration: *registration, Unvalidated: r.Unvalidated})
	if err != nil {
		return nil, err
	}
	return r.keep(c, done)
}

// registration reads the file and puts the flags over it.
func (r *agentRegister) registration(ctx context.Context, c *console) (*arc.Registration, error) {
	reg := &arc.Registration{}
	if r.InputFile != "" {
		text, err := c.readInput(ctx, "--input-file", r.InputFile, maxFile)
		if err != nil {
			return nil, err
		}
		object, err := readObject("--input-file", text)
		if err != nil {
			return nil, err
		}
		if err := jsonv2.Unmarshal(object, reg, jsonv2.RejectUnknownMembers(true)); err != nil {
			return nil, outcome.Invalid(outcome.Problem{
				Code: outcome.Validation, Field: "--input-file", Message: "is no registration: " + outcome.Clean(err.Error()),
			})
		}
	}
	reg.AgentID = string(r.ID)
	reg.Name = cmp.Or(r.Name, reg.Name, reg.AgentID)
	reg.AgentType = cmp.Or(r.Type, reg.AgentType)
	reg.Endpoint = cmp.Or(r.Endpoint, reg.Endpoint)
	reg.ContextBrief = cmp.Or(r.About, reg.ContextBrief)
	reg.Owner = cmp.Or(r.Owner, reg.Owner)
	reg.PublicKey = cmp.Or(r.PublicKey, reg.PublicKey)
	reg.Version = cmp.Or(r.Release, reg.Version, "1.0.0")
	reg.CommunicationMode = cmp.Or(r.Mode, reg.CommunicationMode, "remote")
	if len(r.Capability) > 0 {
		reg.Capabilities = r.Capability
	}
	for name, text := range readPairs(r.Metadata) {
		if reg.Metadata == nil {
			reg.Metadata = map[string]any{}
		}
		reg.Metadata[name] = text
	}
	return reg, nil
}

// canKeep makes sure, before anything is sent, that the token can be written: the
// agent could not register again before its registration has ended.
func (r *agentRegister) canKeep() error {
	if r.OutputFile == "" {
		return nil
	}
	err := replaceable(r.OutputFile)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(filepath.Dir(r.OutputFile), ".arcd-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		return outcome.Errorf(outcome.Precondition, "The token could not be written: %s.", fileCause(err)).Because(err)
	}
	return nil
}

// keep hands out the token of a registration that was made.
func (r *agentRegister) keep(c *console, done *arc.Registered) (any, error) {
	data := registeredData{
		mintedToken: newMintedToken(done.AccessToken, r.Unmask && r.OutputFile == ""), Effect: "created", AgentID: string(r.ID),
	}
	if r.OutputFile == "" {
		if !r.Unmask {
			c.warn("TOKEN_NOT_KEPT", "the agent's token was not kept; with --output-file or --unmask the same command gives another one once this registration has ended")
		}
		return data, nil
	}
	path, err := filepath.Abs(r.OutputFile)
	if err == nil {
		err = writePrivate(path, done.AccessToken+"\n")
	}
	if err != nil {
		return data, outcome.Errorf(outcome.Precondition, "The agent is registered, but its token cannot be written: %s.", fileCause(err)).Because(err)
	}
	data.File = &path
	if !strings.ContainsAny(path, " \t\n\"'\\$`") {
		next := c.nextCommand("agent heartbeat " + string(r.ID) + " --token file:" + path)
		data.NextCommand = &next
	}
	return data, nil
}

func (d registeredData) show(p *page) {
	if d.Effect == "would_create" {
		p.line("would register %s", d.AgentID)
		return
	}
	p.line("registered %s", d.AgentID)
	p.field("token", textOr(d.File, d.Token))
	p.command("next", value(d.NextCommand))
}

// agentUnregister is "arcd agent unregister".
type agentUnregister struct {
	destroying
	ID identifier `arg:"" help:"The agent."`
}

// unregisteredData is the result of "agent unregister".
type unregisteredData struct {
	Effect  string `json:"effect"` // deleted, would_delete
	AgentID string `json:"agent_id"`
	Audit   *audit `json:"audit"` // null: nothing was destroyed
}

func (*agentUnregister) row() row {
	return row{
		danger: destructive, auth: true, data: unregisteredData{},
		long:     "It takes the agent's own token, or an administrator's.",
		examples: []string{"arcd agent unregister weather-1 --token file:weather.token --confirm-destructive", "arcd agent unregister weather-1 --dry-run"},
	}
}

func (u *agentUnregister) run(ctx context.Context, c *console) (any, error) {
	id := string(u.ID)
	if err := u.gate(c, "end", "the registration of "+id+" and its tokens"); err != nil {
		return nil, err
	}
	server, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	if u.DryRun {
		if _, err := server.GetAgent(ctx, id); err != nil {
			return nil, c.agentError(err)
		}
		return unregisteredData{"would_delete", id, nil}, nil
	}
	if _, err := server.UnregisterAgent(ctx, id); err != nil {
		return nil, c.agentError(err)
	}
	return unregisteredData{"deleted", id, c.auditOf(id)}, nil
}

// agentError makes the error of a call about one registered agent.
func (c *console) agentError(err error) *outcome.Error {
	e := c.classify(err)
	if e.Code == outcome.NotFound {
		e.Code, e.Suggestion, e.Aliases = outcome.AgentNotFound, outcome.AgentNotFound.Cure(), outcome.AgentNotFound.Aliases()
	}
	return e
}

func (d unregisteredData) show(p *page) {
	if d.Effect == "would_delete" {
		p.line("would end the registration of %s", d.AgentID)
		return
	}
	p.line("%s is no longer registered", d.AgentID)
}

func (d unregisteredData) plain() []string { return []string{d.Effect} }
