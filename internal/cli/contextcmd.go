package cli

import (
	"context"
	"strings"

	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// contextCommand groups the commands about named servers.
type contextCommand struct {
	List   contextList   `cmd:"" aliases:"ls" help:"List the named servers."`
	Show   contextShow   `cmd:"" aliases:"get" help:"Show one named server."`
	Set    contextSet    `cmd:"" aliases:"add" help:"Name a server, or change what belongs to a name."`
	Use    contextUse    `cmd:"" help:"Choose the server of the commands that name none."`
	Remove contextRemove `cmd:"" aliases:"rm,delete" help:"Forget a name. Its stored credential stays; log out first."`
}

// contextItem is a named server.
type contextItem struct {
	Name     string   `json:"name"`
	Current  bool     `json:"current"`
	Server   string   `json:"server"`
	Agent    *string  `json:"agent"`
	TokenURL *string  `json:"token_url"`
	ClientID *string  `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Audience *string  `json:"audience"`
	CAFile   *string  `json:"ca_file"`
}

func newContextItem(name string, all credential.Contexts) contextItem {
	known := all.Contexts[name]
	return contextItem{
		Name: name, Current: name == all.Current, Server: known.Server, Agent: optional(known.Agent), TokenURL: optional(known.TokenURL),
		ClientID: optional(known.ClientID), Scopes: append([]string{}, known.Scopes...), Audience: optional(known.Audience), CAFile: optional(known.CAFile),
	}
}

func (i contextItem) show(p *page) {
	p.field("context", i.Name)
	p.field("current", map[bool]string{true: "yes"}[i.Current])
	p.field("server", i.Server)
	p.field("agent", value(i.Agent))
	p.field("token url", value(i.TokenURL))
	p.field("client", value(i.ClientID))
	showScopes(p, i.Scopes)
	p.field("audience", value(i.Audience))
	p.field("ca file", value(i.CAFile))
}

func (i contextItem) plain() []string { return []string{i.Server} }

// contextFile gives the file of contexts, and its content.
func (c *console) contextFile() (credential.ContextFile, credential.Contexts, error) {
	folders, err := credential.FindFolders(c.env, c.globals.InstanceID)
	if err != nil {
		return credential.ContextFile{}, credential.Contexts{}, c.classify(err)
	}
	file := credential.ContextFile{Folder: folders.Config}
	if c.globals.NoConfig {
		return file, credential.Contexts{}, outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: "--no-config", Message: "leaves out the file that this command is about"})
	}
	all, err := file.Load()
	if err != nil {
		return file, all, c.classify(err)
	}
	if len(all.Contexts) > 0 {
		c.meta.ConfigSources = append(c.meta.ConfigSources, file.Path())
	}
	return file, all, nil
}

// unknownContext is the error of a name that is not there.
func unknownContext(name string, all credential.Contexts) *outcome.Error {
	e := outcome.Errorf(outcome.ContextNotFound, "There is no context %q.", name)
	if near := nearest(name, all.Names()); near != "" {
		e.Suggest("Did you mean %s? arcd context list shows all.", near)
	}
	return e
}

// contextList is "arcd context list".
type contextList struct{}

// contextItems is its result.
type contextItems struct {
	Items   []contextItem `json:"items"`
	Current *string       `json:"current"`
}

func (*contextList) row() row {
	return row{danger: safe, data: contextItems{}, examples: []string{"arcd context list"}}
}

func (*contextList) run(_ context.Context, c *console) (any, error) {
	_, all, err := c.contextFile()
	if err != nil {
		return nil, err
	}
	data := contextItems{Items: []contextItem{}, Current: optional(all.Current)}
	for _, name := range all.Names() {
		data.Items = append(data.Items, newContextItem(name, all))
	}
	c.listed(len(data.Items))
	return data, nil
}

func (d contextItems) show(p *page) {
	if len(d.Items) == 0 {
		p.line("No server has a name. Name one: arcd context set NAME --server URL")
		return
	}
	var rows [][]string
	for _, i := range d.Items {
		rows = append(rows, []string{map[bool]string{true: "*"}[i.Current], i.Name, i.Server, value(i.ClientID)})
	}
	p.table([]string{" ", "NAME", "SERVER", "CLIENT"}, rows)
}

func (d contextItems) plain() []string {
	var names []string
	for _, i := range d.Items {
		names = append(names, i.Name)
	}
	return names
}

// contextShow is "arcd context show".
type contextShow struct {
	Name identifier `arg:"" optional:"" help:"The name. Default: the current one."`
}

func (*contextShow) row() row {
	return row{danger: safe, data: contextItem{}, exits: []outcome.Exit{outcome.ExitNotFound}, examples: []string{"arcd context show staging"}}
}

func (s *contextShow) run(_ context.Context, c *console) (any, error) {
	_, all, err := c.contextFile()
	if err != nil {
		return nil, err
	}
	name := string(s.Name)
	if name == "" {
		name = all.Current
	}
	if name == "" {
		return nil, outcome.Errorf(outcome.ContextNotFound, "No context is the current one.").Suggest("arcd context use NAME chooses one.")
	}
	if _, ok := all.Contexts[name]; !ok {
		return nil, unknownContext(name, all)
	}
	return newContextItem(name, all), nil
}

// contextSet is "arcd context set". Server, agent and authorities are the global
// flags --server, --as and --ca-file.
type contextSet struct {
	changing
	Name     identifier `arg:"" help:"The name."`
	TokenURL string     `name:"token-url" placeholder:"URL" help:"Token endpoint. Default: the server is asked."`
	ClientID string     `name:"client-id" placeholder:"ID" help:"Client to get tokens for."`
	Scope    []string   `placeholder:"SCOPE" help:"Scopes to ask for; several with commas or by repeating."`
	Audience string     `placeholder:"TEXT" help:"Audience to ask for."`
	Use      bool       `help:"Make it the current one."`
}

// contextChange is the result of commands that change a named server.
type contextChange struct {
	Effect  string       `json:"effect"`
	Name    string       `json:"name"`
	Context *contextItem `json:"context"` // null where it is gone
	Path    string       `json:"path"`    // of the file
}

func (d contextChange) show(p *page) {
	words := map[string]string{
		"noop": "is as it was", "created": "was added", "updated": "was changed", "deleted": "was removed",
		"would_create": "would be added", "would_update": "would be changed", "would_delete": "would be removed",
	}
	p.line("The context %s %s.", outcome.Clean(d.Name), words[d.Effect])
	if d.Context != nil {
		d.Context.show(p)
	}
}

func (d contextChange) plain() []string { return []string{d.Effect} }

func (*contextSet) row() row {
	return row{
		danger: mutating, data: contextChange{}, exits: []outcome.Exit{outcome.ExitConflict},
		long: "Give the server with --server, the agent to call as with --as, and further authorities with --ca-file. " +
			"What is not given stays as it is. The first name becomes the current one.",
		examples: []string{"arcd context set staging --server https://arc.example/arc --client-id ci"},
	}
}

func (s *contextSet) run(ctx context.Context, c *console) (any, error) {
	file, all, err := c.contextFile()
	if err != nil {
		return nil, err
	}
	name := string(s.Name)
	old, there := all.Contexts[name]
	// Only what was typed counts here: a variable that happens to be set must not
	// change what belongs to a name.
	typed := func(flag, value string) string {
		if c.fromEnvironment(flag) {
			return ""
		}
		return value
	}
	next := credential.Context{
		Server: typed("--server", c.globals.Server), Agent: typed("--as", c.globals.As), CAFile: typed("--ca-file", c.globals.CAFile),
		TokenURL: s.TokenURL, ClientID: s.ClientID, Scopes: words(s.Scope), Audience: s.Audience,
	}.Or(old)
	if next.Server == "" {
		e := outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: "--server", Message: "is missing", Suggestion: "A new name needs --server URL."})
		e.MissingArgs = []string{"--server"}
		return nil, e
	}
	if err := next.Check(name); err != nil {
		return nil, c.classify(err)
	}
	data := contextChange{Name: name, Path: file.Path()}
	if s.DryRun {
		data.Effect = "would_create"
		if there {
			data.Effect = "would_update"
		}
		all.Contexts[name] = next
		item := newContextItem(name, all)
		data.Context = &item
		return data, nil
	}
	effect, err := file.Put(ctx, name, next)
	if err != nil {
		return nil, c.classify(err)
	}
	if s.Use {
		used, _, err := file.Use(ctx, name)
		if err != nil {
			return nil, c.classify(err)
		}
		if effect == credential.Noop {
			effect = used
		}
	}
	return c.contextChanged(data, effect, file)
}

// contextChanged reads what belongs to the name now.
func (c *console) contextChanged(data contextChange, effect credential.Effect, file credential.ContextFile) (any, error) {
	all, err := file.Load()
	if err != nil {
		return nil, c.classify(err)
	}
	c.meta.WriteScope = "global"
	data.Effect = string(effect)
	if _, ok := all.Contexts[data.Name]; ok {
		item := newContextItem(data.Name, all)
		data.Context = &item
	}
	return data, nil
}

// contextUse is "arcd context use".
type contextUse struct {
	changing
	Name identifier `arg:"" help:"The name."`
}

func (*contextUse) row() row {
	return row{
		danger: mutating, data: contextChange{}, exits: []outcome.Exit{outcome.ExitNotFound, outcome.ExitConflict},
		examples: []string{"arcd context use staging"},
	}
}

func (u *contextUse) run(ctx context.Context, c *console) (any, error) {
	file, all, err := c.contextFile()
	if err != nil {
		return nil, err
	}
	name := string(u.Name)
	if _, ok := all.Contexts[name]; !ok {
		return nil, unknownContext(name, all)
	}
	data := contextChange{Name: name, Path: file.Path()}
	if u.DryRun {
		data.Effect = "would_update"
		if all.Current == name {
			data.Effect = "noop"
		}
		item := newContextItem(name, all)
		data.Context = &item
		return data, nil
	}
	effect, found, err := file.Use(ctx, name)
	if err != nil {
		return nil, c.classify(err)
	}
	if !found {
		return nil, unknownContext(name, all)
	}
	return c.contextChanged(data, effect, file)
}

// contextRemove is "arcd context remove".
type contextRemove struct {
	destroying
	Name identifier `arg:"" help:"The name."`
}

func (*contextRemove) row() row {
	return row{
		danger: destructive, data: contextChange{}, exits: []outcome.Exit{outcome.ExitConflict},
		long:     "A name that is not there is no failure (effect noop).",
		examples: []string{"arcd context remove staging --confirm-destructive"},
	}
}

func (r *contextRemove) run(ctx context.Context, c *console) (any, error) {
	file, all, err := c.contextFile()
	if err != nil {
		return nil, err
	}
	name := string(r.Name)
	data := contextChange{Effect: "noop", Name: name, Path: file.Path()}
	known, there := all.Contexts[name]
	if !there {
		return data, nil
	}
	if err := r.gate(c, "forget", "the context "+name+" ("+strings.TrimSpace(known.Server)+")"); err != nil {
		return nil, err
	}
	if r.DryRun {
		data.Effect = "would_delete"
		return data, nil
	}
	effect, err := file.Remove(ctx, name)
	if err != nil {
		return nil, c.classify(err)
	}
	return c.contextChanged(data, effect, file)
}
