package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/cli"
)

// outcome is what a command did.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs a command to its end, with no terminal.
func run(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), args, env, strings.NewReader(""), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// file writes a file into a new folder and gives its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// reply is the envelope that a command answers with, as far as tests look at it.
type reply struct {
	OK    bool            `json:"ok"`
	Data  json.RawMessage `json:"data"`
	Error *struct {
		Code       string
		Message    string
		Suggestion string
		Errors     []struct{ Field, Message string }
	} `json:"error"`
	Warnings []string `json:"warnings"`
}

// reply reads the envelope, the last line of stdout.
func (o outcome) reply(t *testing.T) reply {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	var r reply
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("exit %d, no envelope: %v\n%s%s", o.code, err, o.stdout, o.stderr)
	}
	return r
}

// into reads the data of a command that must have gone well.
func (o outcome) into(t *testing.T, data any) {
	t.Helper()
	r := o.reply(t)
	if o.code != 0 || !r.OK {
		t.Fatalf("exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
	if err := json.Unmarshal(r.Data, data); err != nil {
		t.Fatalf("the data is not as expected: %v\n%s", err, o.stdout)
	}
}

// complaint gives all that a command says is wrong, a line for each, after the
// message itself. "" if it went well.
func (o outcome) complaint(t *testing.T) string {
	t.Helper()
	r := o.reply(t)
	if r.Error == nil {
		return ""
	}
	lines := []string{r.Error.Message}
	for _, p := range r.Error.Errors {
		lines = append(lines, p.Field+": "+p.Message)
	}
	return strings.Join(lines, "\n")
}

// show gives value and origin of each key that "config show" prints.
func show(t *testing.T, env []string, args ...string) map[string][2]string {
	t.Helper()
	got := run(t, env, append([]string{"config", "show"}, args...)...)
	var list struct {
		Items []struct{ Key, Value, Origin string }
	}
	got.into(t, &list)
	shown := map[string][2]string{}
	for _, l := range list.Items {
		shown[l.Key] = [2]string{l.Value, l.Origin}
	}
	return shown
}

func TestConfigOrder(t *testing.T) {
	path := file(t, "arcd.yaml", "listen: 127.0.0.1:1\nlimits: {depth: 7}\nauth: {leeway: 10s}\n")
	env := []string{"ARCD_AUTH__LEEWAY=5s", "ARCD_LIMITS__BATCH=3", "ARCD_STORE=", "HOME=/nowhere", "ARCD_TOKEN=not-a-key"}
	got := show(t, env, "--config", path)
	want := map[string][2]string{
		"listen":       {"127.0.0.1:1", path},
		"limits.depth": {"7", path},
		"auth.leeway":  {"5s", "env ARCD_AUTH__LEEWAY"},
		"limits.batch": {"3", "env ARCD_LIMITS__BATCH"},
		"store":        {"sqlite:arcd.db", "default"},
	}
	for key, w := range want {
		if diff := cmp.Diff(w, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if _, ok := got["token"]; ok {
		t.Error("ARCD_TOKEN was taken for a setting")
	}
}

func TestConfigFromVariable(t *testing.T) {
	path := file(t, "arcd.yaml", "server_id: from-file\n")
	got := show(t, []string{"ARCD_CONFIG=" + path})
	if diff := cmp.Diff([2]string{"from-file", path}, got["server_id"]); diff != "" {
		t.Errorf("server_id (-want +got):\n%s", diff)
	}
}

// sharedExample is the frozen example of the configuration, with a hash that is
// one, and more agents.
const sharedExample = `
listen: 127.0.0.1:8001
public_url: http://127.0.0.1:8001
store: sqlite:arcd.db
http_status: standard
limits: {body_bytes: 10485760, depth: 64, batch: 50, streams_per_subject: 100}
auth:
  leeway: 30s
  providers:
    okta:
      issuer: https://your-domain.okta.com/oauth2/default
      audience: api://default
      jwks_uri: https://your-domain.okta.com/oauth2/default/v1/keys
      algorithms: [RS256, PS256, ES256, ES384, EdDSA]
      scope_claims: [scope, scp]
      agent_claim: ""
      profile: loose
      allow_http: false
      refetch_cooldown: 10s
  issuer:
    enabled: true
    key_file: arcd-keys.json
    clients:
      ci: {secret_hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", scopes: [arc.task.controller, arc.agent.caller], agents: [ci-agent], audience: ""}
  scopes: {task.create: [arc.task.controller]}
agents:
  echo: {kind: demo}
  my.agent/v1: {kind: demo, demo: slow, concurrency: 2, scopes: {task.create: []}}
  finance: {kind: http, endpoint: https://finance.example/arc}
  inside: {kind: http, endpoint: http://10.1.2.3:9000/arc, provider: none, concurrency: 4}
  ledger: {kind: http, endpoint: https://ledger.example/arc, provider: auth0, provider_scopes: [ledger]}
  phone: {kind: websocket, name: Phone, capabilities: [calls]}
  newcomer: {kind: registered, concurrency: 2, provider: none}
outbound:
  timeout: 10s
  providers:
    auth0: {token_url: https://t.example/oauth/token, client_id: arcd, client_secret: s3cret, audience: https://ledger.example, style: json}
webhooks: {allow: [10.1.0.0/16], provider: auth0, token_origins: [https://app.example]}
patience: 1h
max_hops: 4
tls: {}
cors_origins: ["https://app.example"]
log: {level: info, format: json}
retention: 30d
event_gap: 5ms
keep_alive: 15s
drain_timeout: 10s
`

func TestConfigExample(t *testing.T) {
	path := file(t, "arcd.yaml", sharedExample)
	if got := run(t, nil, "config", "check", "-c", path); got.code != 0 || !got.reply(t).OK || got.stderr != "" {
		t.Fatalf("config check: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	got := show(t, nil, "-c", path)
	for key, want := range map[string]string{
		"auth.providers.okta.audience":           "[api://default]",
		"auth.providers.okta.refetch_cooldown":   "10s",
		"auth.issuer.clients.ci.secret_hash":     "(hidden)",
		"auth.issuer.clients.ci.agents":          "[ci-agent]",
		"auth.scopes.task.create":                "[arc.task.controller]",
		"agents.my.agent/v1.demo":                "slow",
		"agents.my.agent/v1.concurrency":         "2",
		"retention":                              "30d",
		"agents.finance.endpoint":                "https://finance.example/arc",
		"agents.phone.kind":                      "websocket",
		"outbound.providers.auth0.client_secret": "(hidden)",
		"outbound.timeout":                       "10s",
		"outbound.stream_idle":                   "2m",
		"outbound.answer_bytes":                  "16777216",
		"registry.provider":                      "arcd",
		"webhooks.token_origins":                 "[https://app.example]",
		"webhooks.timeout":                       "10s",
		"patience":                               "1h",
		"max_hops":                               "4",
		"event_gap":                              "5ms",
	} {
		if got[key][0] != want {
			t.Errorf("%s: got %q, want %q", key, got[key][0], want)
		}
	}
}

func TestConfigEnvironmentReachesNamedLevels(t *testing.T) {
	got := show(t, []string{
		"ARCD_AUTH__PROVIDERS__OKTA__ISSUER=https://okta.example",
		"ARCD_AUTH__PROVIDERS__OKTA__AUDIENCE=api://a, api://b",
		"ARCD_AGENTS__ECHO__KIND=demo",
		"ARCD_AGENTS__ECHO__KEEP_TURNS=true",
		"ARCD_INSECURE_HTTP=1",
	})
	for key, want := range map[string]string{
		"auth.providers.okta.audience": "[api://a, api://b]",
		"agents.echo.keep_turns":       "true",
		"insecure_http":                "true",
	} {
		if got[key][0] != want {
			t.Errorf("%s: got %q, want %q", key, got[key][0], want)
		}
	}
}

func TestConfigSecretFile(t *testing.T) {
	hash := file(t, "hash", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g\n")
	yaml := "auth: {issuer: {clients: {ci: {secret_hash_file: " + hash + ", scopes: [x]}}}}"
	got := show(t, nil, "-c", file(t, "arcd.yaml", yaml))
	if got["auth.issuer.clients.ci.secret_hash"][0] != "(hidden)" {
		t.Errorf("the secret hash was not read from its file: %v", got)
	}
	both := "auth: {issuer: {clients: {ci: {secret_hash: x, secret_hash_file: " + hash + ", scopes: [x]}}}}"
	if got := run(t, nil, "config", "check", "-c", file(t, "arcd.yaml", both)); got.code != 2 || !strings.Contains(got.complaint(t), "must not be set beside it") {
		t.Errorf("secret given twice: exit %d: %s", got.code, got.stderr)
	}
}

// TestConfigRefused has one bad setting for each rule; the text must name the
// key and say what to do.
func TestConfigRefused(t *testing.T) {
	provider := func(s string) string {
		return "auth: {providers: {x: {issuer: 'https://x.example', audience: a, " + s + "}}}"
	}
	source := func(s string) string {
		return "outbound: {providers: {x: {client_id: a, client_secret: b, " + s + "}}}"
	}
	agent := func(s string) string { return "agents: {mine: {" + s + "}}" }
	for yaml, want := range map[string]string{
		// keys and types
		"lisen: x":                              "lisen: there is no such key; did you mean listen?",
		"limits: {dept: 1}":                     "limits.dept: there is no such key; did you mean limits.depth?",
		"leeway: 3s":                            "leeway: there is no such key; did you mean auth.leeway?",
		provider("jwks_url: x"):                 "auth.providers.x.jwks_url: there is no such key; did you mean auth.providers.x.jwks_uri?",
		"xyzzyxyzzy: 1":                         "xyzzyxyzzy: there is no such key",
		"limits: 3":                             `limits: must be a level with keys below it, not "3"`,
		"limits: {depth: deep}":                 `limits.depth: must be a whole number, not "deep"`,
		"limits: {depth: '5'}":                  `limits.depth: must be a whole number, not "5"`,
		"limits: {depth: 1.5}":                  `limits.depth: must be a whole number, not "1.5"`,
		"insecure_http: maybe":                  `insecure_http: must be true or false, not "maybe"`,
		"server_id: 7":                          `server_id: must be a text, not "7"`,
		"retention: 30":                         `retention: must be a duration such as 30s, 5m or 30d, not "30"`,
		"cors_origins: [1]":                     `cors_origins: must be a list of texts, but holds "1"`,
		"cors_origins: {a: b}":                  "cors_origins: must be a text or a list of texts",
		"listen: a\nlisten: b":                  "already defined",
		"store_file: /does/not/exist":           "store_file: cannot be read",
		"auth: {providers: {x: hello}}":         `auth.providers.x: must be a level with keys below it, not "hello"`,
		"agents: {echo: {kind: demo, nam: x}}":  "agents.echo.nam: there is no such key; did you mean agents.echo.name?",
		"auth: {issuer: {clients: {a: {b: 1}}}": "yaml",
		// values
		"listen: nowhere":                               "listen: must be host:port",
		"listen: 127.0.0.1:99999":                       "listen: must be host:port",
		"listen: 0.0.0.0:8001":                          "listen: 0.0.0.0:8001 can be reached from other machines",
		"listen: ':8001'":                               "can be reached from other machines",
		"listen: box.example:8001":                      "can be reached from other machines",
		"tls: {cert: a.pem}":                            "tls: needs both tls.cert and tls.key",
		"public_url: ftp://x":                           "public_url: must be a URL that begins with http:// or https://",
		"public_url: 'https://x/?q'":                    "public_url: must be a URL without user, query and fragment",
		"cors_origins: https://a.example/path":          "cors_origins: must be origins such as",
		"store: postgres:db":                            "store: must be sqlite:FILE, such as sqlite:arcd.db, or postgres://",
		"store: postgres://u:secret@h:port/db":          "store: cannot parse",
		"store_unsafe: true":                            "store_unsafe: is for PostgreSQL",
		"store: arcd.db":                                "store: must be sqlite:FILE",
		"http_status: always200":                        "http_status: must be one of standard, always_200, not \"always200\"; did you mean always_200?",
		"log: {level: loud}":                            "log.level: must be one of",
		"log: {format: xml}":                            "log.format: must be one of",
		"server_id: 'a b'":                              "server_id: must be",
		"auth: {leeway: 121s}":                          "auth.leeway: must be from 0s to 2m, not 2m1s",
		"auth: {leeway: -1s}":                           "auth.leeway: must be from",
		"keep_alive: 1ms":                               "keep_alive: must be from",
		"retention: 1s":                                 "retention: must be from",
		"max_attempts: 0":                               "max_attempts: must be at least 1",
		"limits: {body_bytes: 0}":                       "limits.body_bytes: must be at least 1",
		"limits: {depth: 5000}":                         "limits.depth: must be at most 1000",
		"auth: {providers: {arcd: {}}}":                 "auth.providers.arcd: the name is taken",
		"auth: {providers: {x: {audience: a}}}":         "auth.providers.x.issuer: a text without spaces is required",
		"auth: {providers: {x: {issuer: 'https://x'}}}": "auth.providers.x.audience: at least one is required",
		"auth: {providers: {x: {issuer: 'http://x', audience: a}}}": `auth.providers.x.issuer: "http://x" is plain http`,
		provider("jwks_uri: 'http://x/keys'"):                       `auth.providers.x.jwks_uri: "http://x/keys" is plain http`,
		provider("algorithms: [HS256]"):                             `auth.providers.x.algorithms: "HS256" is not one of`,
		provider("profile: strict"):                                 `auth.providers.x.profile: "strict" is neither`,
		"auth: {issuer: {token_ttl: 48h}}":                          "auth.issuer.token_ttl: must be from 1s to 1d, not 2d",
		"auth: {issuer: {clients: {a: {secret_hash: plain}}}}":      "auth.issuer.clients.a.secret_hash: must be an argon2id hash",
		"auth: {scopes: {task.create: ['a b']}}":                    "auth.scopes.task.create: a scope is a word",
		"agents: {'a b': {kind: demo, demo: echo}}":                 "agents.a b: an agent's id must be",
		"agents: {mine: {kind: demo}}":                              "agents.mine.demo: must be one of echo, fail",
		"agents: {mine: {}}":                                        "agents.mine.kind: must be one of demo, http, websocket, registered",
		"agents: {echo: {kind: demo, concurrency: -1}}":             "agents.echo.concurrency: must not be negative",
		"auth: {issuer: {token_ttl: 1500ms}}":                       "auth.issuer.token_ttl: must be whole seconds",
		"patience: 1ms":                                             "patience: must be from 1s",
		"max_hops: 0":                                               "max_hops: must be at least 1",
		// agents elsewhere
		agent("kind: htp"):                                                                         "did you mean http?",
		agent("kind: http"):                                                                        "agents.mine.endpoint: is needed",
		agent("kind: http, endpoint: finance.example"):                                             "agents.mine.endpoint: must be a URL that begins with",
		agent("kind: http, endpoint: 'https://u:p@x.example'"):                                     "agents.mine.endpoint: must be a URL without user",
		agent("kind: http, endpoint: 'https://x.example', demo: echo"):                             "agents.mine.demo: is for kind demo only",
		agent("kind: http, endpoint: 'https://x.example', provider: okta"):                         "agents.mine.provider: must be one of arcd, none, not",
		agent("kind: http, endpoint: 'https://x.example', provider_scopes: ['a b']"):               "agents.mine.provider_scopes: a scope is a word",
		agent("kind: websocket, endpoint: 'https://x.example'"):                                    "agents.mine.endpoint: an agent of kind websocket dials in",
		agent("kind: registered, endpoint: 'https://x.example'"):                                   "agents.mine.endpoint: an agent of kind registered says so itself",
		"agents: {echo: {kind: demo, endpoint: 'https://x.example'}}":                              "agents.echo.endpoint: is for kind http only",
		agent("kind: registered, name: x"):                                                         "agents.mine.name: an agent that registers itself says so itself",
		agent("kind: websocket, provider: none"):                                                   "agents.mine.provider: is for agents that are called",
		"registry: {enabled: false}\n" + agent("kind: registered"):                                 "agents.mine.kind: registered needs registry.enabled: true",
		"registry: {provider: okta}":                                                               "registry.provider: must be one of arcd, none",
		"registry: {provider_scopes: ['']}":                                                        "registry.provider_scopes: a scope is a word",
		"auth: {issuer: {enabled: true}}\n" + agent("kind: http, endpoint: 'http://10.1.2.3/arc'"): "agents.mine.endpoint: is plain http, where a token can be read",
		// tokens for agents
		source("style: json"):                                    "outbound.providers.x.token_url: is needed",
		source("token_url: 'http://t.example/token'"):            "outbound.providers.x.token_url: is plain http",
		source("token_url: t.example"):                           "outbound.providers.x.token_url: must be a URL that begins with",
		source("token_url: 'https://t.example', style: xml"):     "outbound.providers.x.style: must be one of basic, form, json",
		source("token_url: 'https://t.example', scopes: ['\"']"): "outbound.providers.x.scopes: a scope is a word",
		"outbound: {providers: {x: {token_url: 'https://t'}}}":   "outbound.providers.x.client_secret: is needed",
		"outbound: {providers: {arcd: {}}}":                      "outbound.providers.arcd: the name is taken",
		"outbound: {providers: {none: {}}}":                      "outbound.providers.none: the name is taken",
		"outbound: {timeout: 1ms}":                               "outbound.timeout: must be from 100ms",
		"outbound: {stream_idle: 0s}":                            "outbound.stream_idle: must be from",
		"outbound: {answer_bytes: 10}":                           "outbound.answer_bytes: must be at least 1024",
		// webhooks
		"webhooks: {allow: [here]}":                                    `webhooks.allow: "here" is neither an address nor a prefix`,
		"webhooks: {timeout: 1m}":                                      "webhooks.timeout: must be from 100ms to 15s",
		"webhooks: {content_type: text/plain}":                         "webhooks.content_type: must be one of application/arc+json, application/json",
		"webhooks: {provider: okta}":                                   "webhooks.provider: must be one of arcd, none",
		"webhooks: {token_origins: app.example}":                       "webhooks.token_origins: must be origins",
		source("token_url: 'https://t'") + "\nwebhooks: {provider: x}": "webhooks.token_origins: is needed with webhooks.provider: x",
	} {
		t.Run(yaml, func(t *testing.T) {
			got := run(t, nil, "config", "check", "-c", file(t, "arcd.yaml", yaml))
			if got.code != 2 || !strings.Contains(got.complaint(t), want) {
				t.Errorf("exit %d, want 2 and %q; got:\n%s", got.code, want, got.stdout)
			}
		})
	}
}

func TestConfigRefusedVariable(t *testing.T) {
	got := run(t, []string{"ARCD_LISTN=x"}, "config", "check")
	if want := "env ARCD_LISTN: listn: there is no such key; did you mean listen?"; got.code != 2 || !strings.Contains(got.complaint(t), want) {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

func TestConfigMissingFile(t *testing.T) {
	got := run(t, nil, "config", "check", "-c", "/does/not/exist.yaml")
	if got.code != 2 || !strings.Contains(got.complaint(t), "/does/not/exist.yaml") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

// TestConfigDocumented holds the documents to the code: every key that there is
// stands in docs/configuration.md.
func TestConfigDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var listing struct {
		Items []struct{ Key string }
	}
	run(t, nil, "config", "show", "--keys").into(t, &listing)
	for _, line := range listing.Items {
		if !bytes.Contains(doc, []byte("`"+line.Key+"`")) {
			t.Errorf("docs/configuration.md does not have the key `%s`", line.Key)
		}
	}
}
