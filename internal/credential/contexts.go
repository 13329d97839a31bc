package credential

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"time"
)

// Context is a named server and what goes with calls to it. What is "" or nil
// leaves the matter to flags, environment and defaults.
type Context struct {
	Server   string   `json:"server"`              // URL of the ARC endpoint; needed
	Agent    string   `json:"agent,omitempty"`     // requestAgent of its calls
	TokenURL string   `json:"token_url,omitempty"` // token endpoint
	ClientID string   `json:"client_id,omitempty"` // client to get tokens for
	Scopes   []string `json:"scopes,omitempty"`    // scopes to ask for
	Audience string   `json:"audience,omitempty"`  // audience to ask for
	CAFile   string   `json:"ca_file,omitempty"`   // further authorities for TLS, a PEM file
}

// Contexts is the content of contexts.json.
type Contexts struct {
	// Current is the context of those who name none; "" for none.
	Current string `json:"current,omitempty"`
	// Contexts are the contexts by name.
	Contexts map[string]Context `json:"contexts,omitempty"`
}

// Names gives the names of the contexts, sorted.
func (c Contexts) Names() []string { return slices.Sorted(maps.Keys(c.Contexts)) }

// ContextFile is the file contexts.json of a folder. Reading needs no lock and
// writes nothing. Each change reads, changes and writes under a lock.
type ContextFile struct {
	// Folder is the folder for configuration, as of [FindFolders].
	Folder string
	// LockWait is how long to wait for other processes. Default 20 s.
	LockWait time.Duration
}

// Path is the file's path; "" without a folder.
func (f ContextFile) Path() string {
	if f.Folder == "" {
		return ""
	}
	return filepath.Join(f.Folder, "contexts.json")
}

// Load reads the file. One that is not there is an empty one. The error Is
// [ErrDamaged] if it cannot be understood, names and values included.
func (f ContextFile) Load() (Contexts, error) {
	c := Contexts{}
	path := f.Path()
	if path != "" {
		content, err := readFile(path, false)
		if err == nil {
			err = parse(path, content, &c)
		}
		if err != nil {
			return Contexts{}, err
		}
	}
	for _, name := range c.Names() {
		if err := c.Contexts[name].Check(name); err != nil {
			return Contexts{}, damaged(path, err)
		}
	}
	if _, ok := c.Contexts[c.Current]; c.Current != "" && !ok {
		return Contexts{}, damaged(path, invalidf("the current context %q is not there", c.Current))
	}
	if c.Contexts == nil {
		c.Contexts = map[string]Context{}
	}
	return c, nil
}

// Put adds the context or replaces the one of that name, and tells which:
// [Created], [Updated], or [Noop] if it is there already as it is. The first
// context becomes the current one. The error Is [ErrInvalid] for a name or value
// that cannot be used, [ErrLocked], [ErrDamaged], [ErrNoFolder].
func (f ContextFile) Put(ctx context.Context, name string, c Context) (Effect, error) {
	if err := c.Check(name); err != nil {
		return "", err
	}
	return f.change(ctx, func(all *Contexts) Effect {
		old, ok := all.Contexts[name]
		all.Contexts[name] = c
		if len(all.Contexts) == 1 {
			all.Current = name
		}
		switch {
		case !ok:
			return Created
		case reflect.DeepEqual(old, c):
			return Noop
		}
		return Updated
	})
}

// Remove removes a context: [Deleted], or [Noop] if there is none of that name.
// The credential of the context stays; see [Store.Logout]. Errors as of
// [ContextFile.Put].
func (f ContextFile) Remove(ctx context.Context, name string) (Effect, error) {
	return f.change(ctx, func(all *Contexts) Effect {
		if _, ok := all.Contexts[name]; !ok {
			return Noop
		}
		delete(all.Contexts, name)
		if all.Current == name {
			all.Current = ""
		}
		return Deleted
	})
}

// Use makes a context the current one: [Updated], or [Noop] if it is. found is
// false if there is none of that name. Errors as of [ContextFile.Put].
func (f ContextFile) Use(ctx context.Context, name string) (effect Effect, found bool, err error) {
	effect, err = f.change(ctx, func(all *Contexts) Effect {
		if _, found = all.Contexts[name]; !found || all.Current == name {
			return Noop
		}
		all.Current = name
		return Updated
	})
	return effect, found, err
}

// change is one read, change and write under the lock. What changes nothing
// writes nothing.
func (f ContextFile) change(ctx context.Context, edit func(*Contexts) Effect) (Effect, error) {
	if err := makeFolder(f.Folder); err != nil {
		return "", err
	}
	var effect Effect
	err := locked(ctx, f.Path()+".lock", f.LockWait, func() error {
		all, err := f.Load()
		if err != nil {
			return err
		}
		if effect = edit(&all); effect == Noop {
			return nil
		}
		return writeFile(f.Path(), all)
	})
	return effect, err
}

// Check refuses what no command could use: the error Is [ErrInvalid] for a name or
// value that cannot be used. [ContextFile.Put] does the same.
func (c Context) Check(name string) error {
	if !validName(name) {
		return invalidf("%q is no name of a context: 1 to 64 letters, digits, dots, underscores and dashes, the first a letter or digit", name)
	}
	if c.Server == "" {
		return invalidf("context %s: the server is missing", name)
	}
	for _, u := range []struct{ name, text string }{{"server", c.Server}, {"token_url", c.TokenURL}} {
		if err := checkURL(u.text); err != nil {
			return invalidf("context %s: %s %s", name, u.name, err)
		}
	}
	return nil
}

// checkURL takes "" and absolute http and https URLs that hold no secret.
func checkURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return invalidf("must be an http or https URL")
	}
	if u.User != nil {
		return invalidf("must not have a user or password in it")
	}
	return nil
}

// Or gives the context with what it leaves open taken from other.
func (c Context) Or(other Context) Context {
	if len(c.Scopes) == 0 {
		c.Scopes = other.Scopes
	}
	return Context{
		Server: cmp.Or(c.Server, other.Server), Agent: cmp.Or(c.Agent, other.Agent), TokenURL: cmp.Or(c.TokenURL, other.TokenURL),
		ClientID: cmp.Or(c.ClientID, other.ClientID), Scopes: c.Scopes, Audience: cmp.Or(c.Audience, other.Audience),
		CAFile: cmp.Or(c.CAFile, other.CAFile),
	}
}
