package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/arcd-io/arcd/internal/outcome"
)

// configFlags are the flags of every command that reads the configuration.
type configFlags struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file (YAML). ARCD_CONFIG names one as well."`
}

// load reads the configuration, without settings by flag.
func (f configFlags) load(io *console) (*loaded, error) { return readConfig(f.Config, io, nil) }

// file names the configuration file that is read, "" for none.
func (f configFlags) file(io *console) string { return cmp.Or(f.Config, io.variable("ARCD_CONFIG")) }

// readConfig reads the configuration; what cannot be read is the error of a bad
// command line.
func readConfig(path string, io *console, flags map[string]string) (*loaded, error) {
	l, err := loadConfig(path, io.env, flags)
	if err != nil {
		return nil, badConfig(err)
	}
	return l, nil
}

// configCommand groups the commands that look at the configuration.
type configCommand struct {
	Check configCheck `cmd:"" help:"Tell whether the configuration is good."`
	Show  configShow  `cmd:"" help:"Print every value and where it comes from; secrets are hidden."`
}

// configCheck is "arcd config check".
type configCheck struct{ configFlags }

// checkedConfig is the result of "config check".
type checkedConfig struct {
	Good bool   `json:"good"`
	File string `json:"file,omitempty"`
}

func (*configCheck) row() row {
	return row{danger: safe, data: checkedConfig{}, examples: []string{"arcd config check --config arcd.yaml"}}
}

// run fails with every problem.
func (c *configCheck) run(_ context.Context, io *console) (any, error) {
	l, err := c.load(io)
	if err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, badConfig(err)
	}
	if err := l.closed(); err != nil {
		io.warn("NOBODY_CAN_CALL", "%v", err)
	}
	if len(l.Agents) == 0 && !l.Registry.Enabled {
		io.warn("NO_AGENTS", "no agents are named, so there is nobody to call; try agents: {echo: {kind: demo}}")
	}
	return checkedConfig{Good: true, File: c.file(io)}, nil
}

func (checkedConfig) show(p *page) { p.line("the configuration is good") }

// badConfig makes one error of all that is wrong with a configuration.
func badConfig(err error) error {
	var found []outcome.Problem
	for line := range strings.SplitSeq(err.Error(), "\n") {
		key, what, ok := strings.Cut(line, ": ")
		if !ok || strings.ContainsRune(key, ' ') {
			key, what = "configuration", line
		}
		found = append(found, outcome.Problem{Code: outcome.BadConfig, Field: key, Message: what})
	}
	e := outcome.Errorf(outcome.BadConfig, "%d things are wrong with the configuration.", len(found)).Because(err)
	if len(found) == 1 {
		e.Message = outcome.Sentence(err.Error())
	}
	e.Errors = found
	return e
}

// configShow is "arcd config show".
type configShow struct {
	configFlags
	Keys bool `help:"Print what each key means instead."`
}

// setting is one line of "arcd config show".
type setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// shownConfig is the result of "config show".
type shownConfig struct {
	Items []setting `json:"items"`
}

func (*configShow) row() row {
	return row{danger: safe, data: shownConfig{}, examples: []string{"arcd config show", "arcd config show --keys"}}
}

// run gives each key with value and origin; with --keys what each means.
func (c *configShow) run(_ context.Context, io *console) (any, error) {
	if c.Keys {
		return describeKeys(), nil
	}
	l, err := c.load(io)
	if err != nil {
		return nil, err
	}
	result := shownConfig{l.show("", reflect.ValueOf(l.config))}
	if err := l.check(); err != nil {
		return result, badConfig(err)
	}
	return result, nil
}

func (s shownConfig) show(p *page) {
	var rows [][]string
	for _, line := range s.Items {
		rows = append(rows, []string{line.Key, line.Value, line.Origin})
	}
	p.table([]string{"KEY", "VALUE", "ORIGIN"}, rows)
}

// configKeys is the result of "config show --keys".
type configKeys struct {
	Items []configKey `json:"items"`
}

// configKey says what a key means.
type configKey struct {
	Key     string `json:"key"`
	Meaning string `json:"meaning"`
}

func (k configKeys) show(p *page) {
	var rows [][]string
	for _, key := range k.Items {
		rows = append(rows, []string{key.Key, key.Meaning})
	}
	p.table([]string{"KEY", "MEANING"}, rows)
}

// describeKeys gives each key with what it means.
func describeKeys() configKeys {
	var keys configKeys
	for _, info := range allKeys() {
		keys.Items = append(keys.Items, configKey{info.key, info.help})
		if info.secret {
			keys.Items = append(keys.Items, configKey{info.key + "_file", "name of a file that holds " + info.key})
		}
	}
	return keys
}

// show gives a line for each value below key. Inside a named level (a provider,
// say) only what was set is shown, as the rest is that package's business.
func (l *loaded) show(key string, v reflect.Value) []setting {
	var lines []setting
	switch v.Kind() {
	case reflect.Struct:
		for f, field := range v.Fields() {
			path := join(key, f.Tag.Get("koanf"))
			switch f.Tag.Get("secret") {
			case "true":
				lines = append(lines, l.line(path, l.shown(path, field.String())))
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
	return []setting{l.line(key, render(v))}
}

// line makes the line of one key.
func (l *loaded) line(key, value string) setting {
	origin := l.origins[key]
	if origin == "" {
		origin = "default"
	}
	return setting{key, value, origin}
}

// shown gives the value of a key that may hold a secret, without it. The place of a
// store is not secret but for a password in it, and words in place of a URL are none.
func (l *loaded) shown(key, value string) string {
	switch {
	case key == "hints" && value == "" && l.sharedStore():
		return hintsNotify
	case value == "", value == hintsNotify, value == hintsOff:
		return value
	case key == "store" && (strings.HasPrefix(value, "sqlite:") || isDatabase(value)):
		return withoutPassword(value)
	}
	return "(hidden)"
}

// withoutPassword gives the place of a store with xxxxx for its passwords.
func withoutPassword(place string) string {
	if !isDatabase(place) || !holdsPassword(place) {
		return place
	}
	u, err := url.Parse(place)
	if err != nil {
		return "(hidden)"
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
		}
	}
	u.RawQuery = q.Encode()
	return u.Redacted()
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
