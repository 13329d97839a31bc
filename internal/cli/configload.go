package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// levelSep separates the levels of a key inside koanf. It is not the dot that
// people write, because names of agents, methods and providers hold dots.
const levelSep = "\x1f"

const envPrefix = "ARCD_"

// clientVariables are the environment variables of arcd that are no
// configuration of the server: those of global flags and of credentials.
var clientVariables = []string{
	"ARCD_CONFIG", "ARCD_OUTPUT", "ARCD_SERVER", "ARCD_TOKEN", "ARCD_TOKEN_FILE", "ARCD_AGENT", "ARCD_CHAT_ID", "ARCD_TIMEOUT",
	"ARCD_AUTO_REFRESH", "ARCD_TRACE_ID", "ARCD_CLIENT_ID", "ARCD_CLIENT_SECRET", "ARCD_CLIENT_SECRET_FILE",
	"ARCD_CA_FILE", "ARCD_CONFIG_DIR", "ARCD_CONNECT_TIMEOUT", "ARCD_CONTEXT", "ARCD_DEBUG", "ARCD_INSTANCE_ID", "ARCD_KEYRING",
	"ARCD_MAX_OUTPUT_BYTES", "ARCD_NON_INTERACTIVE", "ARCD_NO_TOKEN_SUCCESSOR", "ARCD_PARENT_TASK", "ARCD_RETRIES", "ARCD_STATE_DIR",
	"ARCD_TASK_ID",
}

// loaded is a configuration and where each set key came from.
type loaded struct {
	config
	// origins maps a key, as people write it, to "flag --x", "env ARCD_X" or
	// the name of the file. A key that is not there has its default.
	origins map[string]string
	// devSecret is the secret of the client that --dev made; "" without --dev.
	devSecret string
	// forDev tells that --dev was given: credentials that everybody knows are there on
	// purpose then.
	forDev bool
}

// set tells whether anybody set the key.
func (l *loaded) set(key string) bool { return l.origins[key] != "" }

// layer is one source of settings.
type layer struct {
	provider koanf.Provider
	parser   koanf.Parser
	text     bool // values are texts to be parsed by the type of their key
	origin   func(key string) string
}

// loadConfig reads the configuration: flag > environment > file > default. An
// error names the key and where it was set. The result is not yet validated.
//
// path is the file, "" for what ARCD_CONFIG says, or none. flags maps keys to
// texts.
func loadConfig(path string, environ []string, flags map[string]string) (*loaded, error) {
	l := &loaded{config: defaults(), origins: map[string]string{}}
	merged := koanf.New(levelSep)
	for _, layer := range layers(path, environ, flags) {
		if err := l.add(merged, layer); err != nil {
			return nil, err
		}
	}
	if err := merged.Unmarshal("", &l.config); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	l.decideIssuer()
	return l, nil
}

// layers lists the sources, weakest first.
func layers(path string, environ []string, flags map[string]string) []layer {
	var all []layer
	if path == "" {
		path = lookup(environ, "ARCD_CONFIG")
	}
	if path != "" {
		all = append(all, layer{
			provider: file.Provider(path), parser: yaml.Parser(),
			origin: func(string) string { return path },
		})
	}
	all = append(all, layer{
		provider: env.Provider(levelSep, env.Opt{
			Prefix: envPrefix, EnvironFunc: func() []string { return environ }, TransformFunc: envKey,
		}),
		text:   true,
		origin: func(key string) string { return "env " + envName(key) },
	})
	return append(all, layer{
		provider: flagLayer(flags), text: true,
		origin: func(key string) string { return "flag --" + flagName(key) },
	})
}

// add reads one layer, checks it against the shape of config and lays it over
// what is there.
func (l *loaded) add(merged *koanf.Koanf, layer layer) error {
	raw := koanf.New(levelSep)
	if err := raw.Load(layer.provider, layer.parser); err != nil {
		return fmt.Errorf("reading %s: %w", layer.origin("…"), err)
	}
	s := settler{layer: layer}
	settled := s.settleAll(raw.Raw())
	if len(s.problems) > 0 {
		return errors.Join(s.problems...)
	}
	for _, key := range s.keys {
		l.origins[key] = layer.origin(key)
	}
	return merged.Load(mapProvider(settled), nil)
}

// decideIssuer fills in the default of auth.issuer.enabled: on, unless nobody
// could call then: a server that nobody set up has to say so at its start.
func (l *loaded) decideIssuer() {
	const key = "auth.issuer.enabled"
	if l.set(key) {
		return
	}
	i := &l.Auth.Issuer
	_, err := os.Stat(i.ClientsFile)
	if len(i.Clients) > 0 || len(l.Auth.Providers) > 0 || err == nil {
		i.Enabled = true
	}
}

// envKey turns ARCD_AUTH__LEEWAY into the key auth.leeway. An empty variable
// counts as not set.
func envKey(name, value string) (string, any) {
	if value == "" || slices.Contains(clientVariables, name) {
		return "", nil
	}
	name = strings.ToLower(strings.TrimPrefix(name, envPrefix))
	return strings.ReplaceAll(name, "__", levelSep), value
}

// envName is the variable that sets a key.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// flagName is the flag that sets a key.
func flagName(key string) string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

// lookup finds a variable in an environment; "" if it is not there. As for a
// process, the last one counts.
func lookup(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
		if k, v, ok := strings.Cut(entry, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// mapProvider hands a map that is already there to koanf.
type mapProvider map[string]any

// Read gives the map.
func (m mapProvider) Read() (map[string]any, error) { return m, nil }

// ReadBytes is part of koanf.Provider and never called, as Read works.
func (m mapProvider) ReadBytes() ([]byte, error) { return nil, errors.ErrUnsupported }

// flagLayer makes a provider of flags: dots in its keys are levels.
func flagLayer(flags map[string]string) mapProvider {
	m := mapProvider{}
	for key, value := range flags {
		level := m
		names := strings.Split(key, ".")
		for _, name := range names[:len(names)-1] {
			next, ok := level[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				level[name] = next
			}
			level = next
		}
		level[names[len(names)-1]] = value
	}
	return m
}
