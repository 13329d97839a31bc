package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// statusCommand is "arcd status".
type statusCommand struct {
	ShowConfig bool `name:"show-config" help:"Tell each setting, where it comes from, and what goes before what."`
	ShowFiles  bool `name:"show-files" aliases:"show-state-files" help:"Tell which files hold contexts and credentials."`
}

// currentStatus is the result of "status".
type currentStatus struct {
	LoggedIn         bool    `json:"logged_in"` // there is a credential that has not run out
	User             *string `json:"user"`
	CurrentContext   *string `json:"current_context"`
	Server           *string `json:"server"` // null where it cannot be told
	TokenExpires     *string `json:"token_expires"`
	CredentialState  string  `json:"credential_state"` // as of auth status
	CredentialSource *string `json:"credential_source"`
	Refreshable      bool    `json:"refreshable"`
	Instance         string  `json:"instance"`
	Problem          *string `json:"problem"`       // why something could not be told
	LoginCommand     *string `json:"login_command"` // gets a credential that works; null where there is one
	// Settings and Order are there with --show-config, Files with --show-files.
	Settings []globalSetting `json:"settings"`
	Order    []string        `json:"order"` // of sources; the first that has a value counts
	Files    []stateFile     `json:"files"`
}

// globalSetting is the value of a flag that all commands have.
type globalSetting struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`  // [REDACTED] for secrets; null: not set
	Source string `json:"source"` // flag, env:NAME, context:NAME, default
}

// stateFile is a file or folder that arcd keeps things in.
type stateFile struct {
	Name   string  `json:"name"`
	Path   string  `json:"path"`
	Exists bool    `json:"exists"`
	Mode   *string `json:"mode"` // as 0600
}

func (*statusCommand) row() row {
	return row{
		danger: safe, data: currentStatus{},
		long:     "Nobody is called, and whatever is wrong with contexts or credentials is told in the data: the exit code is 0. See auth status for one that tells.",
		examples: []string{"arcd status", "arcd status --show-config", "arcd status --show-files"},
	}
}

func (s *statusCommand) run(ctx context.Context, c *console) (any, error) {
	data := currentStatus{CredentialState: stateMissing, Instance: c.globals.InstanceID}
	if data.Instance == "" {
		data.Instance = credential.DefaultInstance
	}
	l, err := c.place(ctx)
	if err == nil {
		data.Server, data.CurrentContext = &l.server, optional(l.name)
		err = data.resolve(ctx, c, l)
	}
	if err != nil {
		problem := outcome.Of(err)
		if problem.Exit == outcome.ExitArgument {
			return nil, problem
		}
		data.Problem = &problem.Message
	}
	if !data.LoggedIn && data.Problem == nil {
		command := "auth login"
		if data.Refreshable {
			command = "auth refresh"
		}
		data.LoginCommand = optional(c.nextCommand(command))
	}
	if s.ShowConfig {
		data.Settings = c.settings(l)
		data.Order = []string{"flag", "environment", "context", "default"}
	}
	if s.ShowFiles {
		data.Files = c.stateFiles()
	}
	return data, nil
}

// resolve looks for the credential. None is no error.
func (s *currentStatus) resolve(ctx context.Context, c *console, l *link) error {
	found, err := l.store.Resolve(ctx, l.target)
	switch {
	case errors.Is(err, credential.ErrNone):
		return nil
	case errors.Is(err, credential.ErrUnreadable):
		s.CredentialState = stateInvalid
		return c.classify(err)
	case err != nil:
		return c.classify(err)
	}
	c.hold(l, found)
	s.CredentialState = c.stateOf(found, 0)
	s.LoggedIn = s.CredentialState == stateValid
	s.User, s.CredentialSource, s.Refreshable = user(found.Facts), &found.Source, found.Refreshable
	s.TokenExpires = outcome.Instant(found.Facts.ExpiresAt)
	return nil
}

// settings lists the flags that every command has, and the variables that hold
// credentials. l is nil where the context could not be read.
func (c *console) settings(l *link) []globalSetting {
	var all []globalSetting
	for _, flag := range c.parsed.app.Flags {
		switch flag.Name {
		case "help", "schema", "version", "json", "validate-only":
			continue // they are about one call
		}
		all = append(all, c.setting(flag, l))
	}
	for _, name := range []string{
		credential.EnvToken, credential.EnvTokenFile, credential.EnvClientID, credential.EnvClientSecret, credential.EnvClientSecretFile, credential.EnvKeyring,
	} {
		line := globalSetting{Name: name, Source: "default"}
		if value := c.variable(name); value != "" {
			line.Source = "env:" + name
			line.Value = value
			if name == credential.EnvToken || name == credential.EnvClientSecret {
				line.Value = "[REDACTED]"
			}
		}
		all = append(all, line)
	}
	return all
}

// setting tells the value of one flag that is in force, and where it is from.
func (c *console) setting(flag *kong.Flag, l *link) globalSetting {
	line := globalSetting{Name: flag.Name, Source: c.parsed.origins[flag.Name]}
	value := flag.Target
	if line.Source == "" {
		line.Source = "default"
	}
	if line.Source == "default" && l != nil && l.name != "" {
		if text := map[string]string{"server": l.context.Server, "as": l.context.Agent, "ca-file": l.context.CAFile, "context": l.name}[flag.Name]; text != "" {
			return globalSetting{Name: flag.Name, Value: text, Source: "context:" + l.name}
		}
	}
	if flag.Name == "server" && value.String() == "" {
		line.Value = defaultServer
		return line
	}
	if flag.Name == "timeout" && line.Source == "default" {
		return line // that of each command
	}
	if value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
	}
	switch x := value.Interface().(type) {
	case time.Duration:
		line.Value = short(x)
	case string:
		if x != "" {
			line.Value = x
		}
	case bool, int:
		line.Value = x
	}
	return line
}

// stateFiles lists where contexts and credentials are, there or not.
func (c *console) stateFiles() []stateFile {
	folders, err := credential.FindFolders(c.env, c.globals.InstanceID)
	if err != nil {
		return []stateFile{}
	}
	files := []stateFile{}
	add := func(name, path string) {
		if path == "" {
			return
		}
		f := stateFile{Name: name, Path: path}
		if info, err := os.Stat(path); err == nil {
			mode := modeText(info.Mode())
			f.Exists, f.Mode = true, &mode
		}
		files = append(files, f)
	}
	add("configuration folder", folders.Config)
	add("contexts", credential.ContextFile{Folder: folders.Config}.Path())
	add("state folder", folders.State)
	add("credentials", (&credential.Store{Folder: folders.State}).Path())
	if folders.State != "" {
		locks, _ := filepath.Glob(filepath.Join(folders.State, "*.lock"))
		slices.Sort(locks)
		for _, path := range locks {
			add("lock", path)
		}
	}
	return files
}

// modeText writes a file's rights as chmod takes them.
func modeText(mode os.FileMode) string {
	digits := []byte("0000")
	for i := range 3 {
		digits[3-i] = '0' + byte(mode.Perm()>>(3*i)&7)
	}
	return string(digits)
}

func (s currentStatus) show(p *page) {
	p.field("server", value(s.Server))
	p.field("context", value(s.CurrentContext))
	colour := red
	if s.LoggedIn {
		colour = green
	}
	p.line("%s %s", p.paint(dim, pad("credential:", 12)), p.paint(colour, s.CredentialState))
	p.field("source", value(s.CredentialSource))
	p.field("user", value(s.User))
	p.field("expires", value(s.TokenExpires))
	p.field("problem", value(s.Problem))
	p.field("cure", value(s.LoginCommand))
	if s.Settings != nil {
		var rows [][]string
		for _, line := range s.Settings {
			rows = append(rows, []string{line.Name, shownValue(line.Value), line.Source})
		}
		p.line("")
		p.table([]string{"SETTING", "VALUE", "SOURCE"}, rows)
	}
	if s.Files != nil {
		var rows [][]string
		for _, f := range s.Files {
			mode := "not there"
			if f.Mode != nil {
				mode = *f.Mode
			}
			rows = append(rows, []string{f.Name, mode, f.Path})
		}
		p.line("")
		p.table([]string{"FILE", "MODE", "PATH"}, rows)
	}
}

// shownValue writes the value of a setting for people.
func shownValue(value any) string {
	if value == nil {
		return ""
	}
	if text, ok := value.(string); ok {
		return text
	}
	text, err := encode(value)
	if err != nil {
		return ""
	}
	return string(text[:len(text)-1])
}

func (s currentStatus) plain() []string { return []string{s.CredentialState} }
