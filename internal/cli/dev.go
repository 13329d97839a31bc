package cli

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
)

// devTokenTTL is how long the token that --dev prints is valid.
const devTokenTTL = 24 * time.Hour

// devClient is the client that --dev adds, in memory only.
const devClient = "dev"

// dev adds to the configuration what makes trying out pleasant: every demo
// agent that is not configured otherwise, and the token service with a client.
func (l *loaded) dev() {
	l.forDev = true
	if l.Agents == nil {
		l.Agents = map[string]agentConfig{}
	}
	for _, kind := range methods.DemoKinds() {
		if _, ok := l.Agents[kind]; !ok {
			l.Agents[kind] = agentConfig{Kind: "demo"}
		}
	}
	i := &l.Auth.Issuer
	i.Enabled = true
	if i.Clients == nil {
		i.Clients = map[string]clientConfig{}
	}
	if _, ok := i.Clients[devClient]; !ok {
		secret, hash := auth.NewSecret()
		l.devSecret = secret
		i.Clients[devClient] = clientConfig{SecretHash: hash, Scopes: devScopes()}
	}
	l.devRegistry()
	l.devWebhooks()
}

// The administrators and agent keys of --dev: those of the ARCP pages, so that
// each command of theirs works as it stands. The hashes are of the passwords ARCP
// and your-admin-password; they are always the same, so that a login outlives a
// restart.
var (
	devAdmins = map[string]string{
		"ARCP":  "$argon2id$v=19$m=19456,t=2,p=1$WpbqOv8lUU/Jwj4/hSTdOg$PRbhTMC6iXj6fa/uIa2l48+xB7U6v3QoUtyT0WQIPAE",
		"admin": "$argon2id$v=19$m=19456,t=2,p=1$rwwDnlp6weDFVXuAaOQenA$ZGo7HhVpBvqoxkcAl6ptuH51e+jm0vH9/7bOCDpNAUo",
	}
	devAgentKeys = []string{"valid-agent-key", "agent-key", "your-agent-key"}
)

// devRegistry adds administrators and agent keys that everybody knows, and lets
// agents be on this machine and down.
func (l *loaded) devRegistry() {
	for name, hash := range devAdmins {
		if _, ok := l.Auth.Issuer.Clients[name]; !ok {
			l.Auth.Issuer.Clients[name] = clientConfig{SecretHash: hash, Admin: true}
		}
	}
	r := &l.Registry
	for _, key := range devAgentKeys {
		if !slices.Contains(r.AgentKeys, key) {
			r.AgentKeys = append(r.AgentKeys, key)
		}
	}
	if !l.set("registry.endpoint_check") {
		r.EndpointCheck = "reported"
	}
	if !l.set("registry.endpoint_allow") {
		r.EndpointAllow = devAddresses()
	}
}

// devWebhooks lets receivers of webhooks be on this machine, without TLS.
func (l *loaded) devWebhooks() {
	w := &l.Webhooks
	if !l.set("webhooks.allow") {
		w.Allow = devAddresses()
	}
	if !l.set("webhooks.allow_http") {
		w.AllowHTTP = true
	}
}

// devAddresses are those of this machine.
func devAddresses() []string { return []string{"127.0.0.0/8", "::1/128"} }

// devOrigins lets pages call that are being written on this machine. Our own port
// counts too: a page of localhost is foreign to 127.0.0.1. The address that is
// served on must be known.
func (l *loaded) devOrigins() {
	if l.set("cors_origins") {
		return
	}
	ports := []string{"3000", "8000", "8080"}
	if _, own, err := net.SplitHostPort(l.Listen); err == nil && !slices.Contains(ports, own) {
		ports = append(ports, own)
	}
	for _, port := range ports {
		l.CORSOrigins = append(l.CORSOrigins, "http://localhost:"+port, "http://127.0.0.1:"+port)
	}
}

// devScopes are the scopes of the dev client: every one that a caller needs.
func devScopes() []string {
	return []string{auth.ScopeTask, auth.ScopeChat, auth.ScopeCaller}
}

// greet tells on stderr how to call the server that is about to serve.
func (a *app) greet(io *console) error {
	token, err := a.issuer.Mint(auth.Claims{
		Subject: devClient, ClientID: devClient, Scopes: devScopes(), TTL: devTokenTTL,
	})
	if err != nil {
		return fmt.Errorf("minting the dev token: %w", err)
	}
	io.note("%s", greeting(a.settings.baseURL(), token, a.settings.devSecret, a.settings.TLS.Cert))
	return nil
}

// greeting is the text of greet. Each command stands on a line of its own and
// needs nothing from the lines before it. A certificate that no authority signed
// is named to curl.
func greeting(url, token, secret, cert string) string {
	program := "curl -sS"
	if cert != "" {
		program += " --cacert '" + cert + "'"
	}
	curl := func(body string) string {
		return fmt.Sprintf(program+` %s/arc -H 'Content-Type: application/arc+json' -H 'Authorization: Bearer %s' -d %s`, url, token, body)
	}
	call := func(id int, method, params string) string {
		return fmt.Sprintf(`{"arc":"1.0","id":%d,"method":"%s","requestAgent":"dev","targetAgent":"echo","params":%s}`, id, method, params)
	}
	create := call(1, "task.create", `{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"Hello"}]}}`)
	newest := curl("'"+call(2, "task.list", `{"limit":1}`)+"'") + ` | grep -o '"taskId":"[^"]*"' | head -n 1 | cut -d'"' -f4`
	info := call(3, "task.info", `{"taskId":"'"$(`+newest+`)"'"}`)

	var b strings.Builder
	fmt.Fprintf(&b, "\narcd serves %s/arc with the demo agents %s.\n", url, strings.Join(methods.DemoKinds(), ", "))
	fmt.Fprintf(&b, "Not for production: this text holds a secret, and a token that is valid for %.0f hours.\n", devTokenTTL.Hours())
	fmt.Fprintf(&b, "\nGive the agent echo a task:\n\n%s\n", curl("'"+create+"'"))
	fmt.Fprintf(&b, "\nRead the newest task, with its artifact:\n\n%s\n", curl("'"+info+"'"))
	if secret != "" {
		fmt.Fprintf(&b, "\nGet a token as a machine would:\n\n")
		fmt.Fprintf(&b, program+" %s/oauth/token -u %s:%s -d grant_type=client_credentials\n", url, devClient, secret)
	}
	fmt.Fprintf(&b, "\nRegister agents with the key %s, log in as ARCP with the password ARCP: docs/registry.md.\n", devAgentKeys[0])
	return b.String()
}
