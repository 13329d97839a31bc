package cli

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// configFlags are the flags of every command that reads the configuration.
type configFlags struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file (YAML). ARCD_CONFIG names one as well."`
}

// load reads the configuration, without settings by flag.
func (f configFlags) load(io *console) (*loaded, error) { return loadConfig(f.Config, io.env, nil) }

// configCommand groups the commands that look at the configuration.
type configCommand struct {
	Check configCheck `cmd:"" help:"Tell whether the configuration is good."`
	Show  configShow  `cmd:"" help:"Print every value and where it comes from; secrets are hidden."`
}

// configCheck is "arcd config check".
type configCheck struct{ configFlags }

// Run prints "ok", or fails with every problem.
func (c *configCheck) Run(io *console) error {
	l, err := c.load(io)
	if err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	if err := l.closed(); err != nil {
		io.note("note: %v", err)
	}
	if len(l.Agents) == 0 {
		io.note("note: no agents are named, so there is nobody to call; try agents: {echo: {kind: demo}}")
	}
	return io.print("the configuration is good", map[string]any{"ok": true})
}

// configShow is "arcd config show".
type configShow struct {
	configFlags
	Keys bool `help:"Print what each key means instead."`
}

// shown is one line of "arcd config show".
type shown struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// Run prints a line for each key: key, value, origin.
func (c *configShow) Run(io *console) error {
	if c.Keys {
		return io.table(describeKeys())
	}
	l, err := c.load(io)
	if err != nil {
		return err
	}
	lines := l.show("", reflect.ValueOf(l.config))
	rows := make([][]string, 0, len(lines))
	for _, s := range lines {
		rows = append(rows, []string{s.Key, s.Value, s.Origin})
	}
	if io.json {
		return errors.Join(io.print("", lines), l.check())
	}
	return errors.Join(io.table(rows), l.check())
}

// describeKeys gives a line for each key: its name and what it means.
func describeKeys() [][]string {
	var rows [][]string
	for _, info := range allKeys() {
		rows = append(rows, []string{info.key, info.help})
		if info.secret {
			rows = append(rows, []string{info.key + "_file", "name of a file that holds " + info.key})
		}
	}
	return rows
}

// show gives a line for each value below key. Inside a named level (a provider,
// say) only what was set is shown, as the rest is that package's business.
func (l *loaded) show(key string, v reflect.Value) []shown {
	var lines []shown
	switch v.Kind() {
	case reflect.Struct:
		for f, field := range v.Fields() {
			path := join(key, f.Tag.Get("koanf"))
			switch f.Tag.Get("secret") {
			case "true":
				lines = append(lines, l.line(path, hide(field.String())))
				continue
			case "list":
				lines = append(lines, l.line(path, fmt.Sprintf("(%d hidden)", field.Len())))
				continue
			}
			lines = append(lines, l.show(path, field)...)
		}
		return lines
	case reflect.Map:
		for _, name := range sortedKeys(v) {
			for _, line := range l.show(join(key, name), v.MapIndex(reflect.ValueOf(name))) {
				if line.Origin != "default" {
					lines = append(lines, line)
				}
			}
		}
		return lines
	}
	return []shown{l.line(key, render(v))}
}

// line makes the line of one key.
func (l *loaded) line(key, value string) shown {
	origin := l.origins[key]
	if origin == "" {
		origin = "default"
	}
	return shown{key, value, origin}
}

// hide keeps a secret from being shown. The place of a store is not secret
// unless it holds a password.
func hide(value string) string {
	if value == "" || strings.HasPrefix(value, "sqlite:") {
		return value
	}
	return "(hidden)"
}

// render writes a value as it could stand in the file.
func render(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return short(x)
	case []string:
		return "[" + strings.Join(x, ", ") + "]"
	default:
		return fmt.Sprint(x)
	}
}

// short writes a duration without empty parts: 15m, not 15m0s.
func short(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
