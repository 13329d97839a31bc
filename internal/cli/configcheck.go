package cli

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
)

// maxLeeway is the largest clock difference that is accepted: beyond it,
// expired tokens live noticeably longer than their issuer meant.
const maxLeeway = 120 * time.Second

// checker collects what is wrong with a configuration, key by key.
type checker struct {
	*loaded
	problems []error
}

// check reports everything that is wrong with the configuration; nil if it is
// good. It asks no network and opens no store.
func (l *loaded) check() error {
	c := &checker{loaded: l}
	c.checkListen()
	c.checkServing()
	c.checkTimes()
	c.checkLimits()
	c.checkProviders()
	c.checkIssuer()
	c.checkRegistry()
	c.checkOutbound()
	c.checkWebhooks()
	for _, id := range slices.Sorted(maps.Keys(l.Agents)) {
		c.checkAgent("agents."+id, id, l.Agents[id])
	}
	return errors.Join(c.problems...)
}

// closed reports that nobody could call: no provider, and the operator did not
// ask for a server without authentication. It is a question of how the server
// is started, so check does not ask it.
func (l *loaded) closed() error {
	if len(l.Auth.Providers) > 0 || l.Auth.Issuer.Enabled {
		return nil
	}
	return errors.New("no token would be accepted: name a provider in auth.providers, " +
		"make a client with \"arcd client add\" (or set auth.issuer.enabled: true), " +
		"or try it out with \"arcd serve --dev\"")
}

// problem adds one fault, with the place where the key was set, so that the
// operator knows which file or variable to mend.
func (c *checker) problem(key, format string, args ...any) {
	origin := ""
	if o := c.origins[key]; o != "" {
		origin = o + ": "
	}
	c.problems = append(c.problems, fmt.Errorf("%s%s: "+format, append([]any{origin, key}, args...)...))
}

// checkListen wants a server that others can reach to be reached over TLS:
// bearer tokens are as good as passwords (RFC 6750, section 5.3).
func (c *checker) checkListen() {
	_, port, err := net.SplitHostPort(c.Listen)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
		c.problem("listen", "must be host:port, not %q", c.Listen)
	} else if !loopback(c.Listen) && c.TLS.Cert == "" && !c.InsecureHTTP {
		c.problem("listen", "%s can be reached from other machines: set tls.cert and tls.key, "+
			"or insecure_http: true if a proxy in front does TLS", c.Listen)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		c.problem("tls", "needs both tls.cert and tls.key")
	}
	for key, file := range map[string]string{"tls.cert": c.TLS.Cert, "tls.key": c.TLS.Key} {
		if _, err := os.Stat(file); file != "" && err != nil {
			c.problem(key, "%w", err)
		}
	}
	if c.PublicURL != "" {
		if err := checkURL(c.PublicURL); err != nil {
			c.problem("public_url", "%w", err)
		}
	}
	if _, err := addresses(c.Proxies); err != nil {
		c.problem("trusted_proxies", "%w", err)
	}
	// An origin is what a browser sends: scheme and host, nothing behind it
	// (RFC 6454, section 6.2). One with a path would never match.
	for _, origin := range c.CORSOrigins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host) {
			c.problem("cors_origins", "must be origins such as https://app.example, not %q", origin)
		}
	}
}

// checkServing checks the words among the settings.
func (c *checker) checkServing() {
	c.checkStore()
	c.checkHints()
	c.oneOf("http_status", c.HTTPStatus, "standard", "always_200")
	c.oneOf("log.format", c.Log.Format, "auto", "json", "console")
	if level, err := zerolog.ParseLevel(c.Log.Level); err != nil || level < zerolog.TraceLevel || level > zerolog.ErrorLevel || c.Log.Level == "" {
		c.problem("log.level", "must be one of trace, debug, info, warn, error, not %q", c.Log.Level)
	}
	if c.ServerID == "" || !arc.ValidAgentID(c.ServerID) {
		c.problem("server_id", "%s", arc.AgentIDIssue)
	}
	c.checkScopes("auth.scopes", c.Auth.Scopes)
}

// checkTimes keeps times within what makes sense: a typing mistake such as 30m
// for 30ms should be found here and not in service.
func (c *checker) checkTimes() {
	c.within("auth.leeway", c.Auth.Leeway, 0, maxLeeway)
	c.within("event_gap", c.EventGap, 0, time.Second)
	c.within("keep_alive", c.KeepAlive, time.Second, time.Hour)
	c.within("drain_delay", c.DrainDelay, 0, time.Hour)
	c.within("drain_timeout", c.DrainTimeout, 100*time.Millisecond, time.Hour)
	if c.Retention != 0 { // 0: for ever
		c.within("retention", c.Retention, time.Minute, 36500*24*time.Hour)
	}
	c.within("idempotency_ttl", c.KeyTTL, time.Minute, 365*24*time.Hour)
	c.within("chat_idle", c.ChatIdle, time.Minute, 365*24*time.Hour)
	c.within("lease", c.Lease, time.Second, 24*time.Hour)
	c.within("patience", c.Patience, time.Second, 365*24*time.Hour)
	for key, n := range map[string]int{"max_attempts": c.MaxAttempts, "max_hops": c.MaxHops} {
		if n < 1 {
			c.problem(key, "must be at least 1")
		}
	}
}

// checkLimits refuses 0, which the packages below would take for their default.
func (c *checker) checkLimits() {
	l := c.Limits
	for key, n := range map[string]int64{
		"limits.body_bytes": l.BodyBytes, "limits.depth": int64(l.Depth), "limits.batch": int64(l.Batch),
		"limits.streams_per_subject": int64(l.StreamsPerSubject), "auth.cache_size": int64(c.Auth.CacheSize),
	} {
		if n < 1 {
			c.problem(key, "must be at least 1")
		}
	}
	c.checkCallLimit()
	if l.Depth > 1000 { // reading is recursive in places: the stack is the limit
		c.problem("limits.depth", "must be at most 1000")
	}
}

// checkProviders has package auth judge the providers, so that its rules stand
// in one place. Each of its faults begins with a key.
func (c *checker) checkProviders() {
	if _, ok := c.Auth.Providers[auth.IssuerName]; ok {
		c.problem("auth.providers."+auth.IssuerName, "the name is taken by arcd's own token service")
	}
	if len(c.Auth.Providers) == 0 {
		return
	}
	_, err := auth.NewProviders(auth.Config{Providers: providerConfigs(c.Auth.Providers)})
	if err == nil {
		return
	}
	for fault := range strings.SplitSeq(err.Error(), "\n") {
		key, text, _ := strings.Cut(fault, ": ")
		c.problem(key, "%s", text)
	}
}

// checkIssuer checks the token service without opening it: that would make the
// key file.
func (c *checker) checkIssuer() {
	i := c.Auth.Issuer
	c.within("auth.issuer.token_ttl", i.TokenTTL, time.Second, 24*time.Hour)
	if i.TokenTTL%time.Second != 0 { // expires_in counts seconds (RFC 6749, section 5.1)
		c.problem("auth.issuer.token_ttl", "must be whole seconds")
	}
	if i.Enabled && i.KeyFile == "" {
		c.problem("auth.issuer.key_file", "is needed")
	}
	for _, id := range slices.Sorted(maps.Keys(i.Clients)) {
		client, key := i.Clients[id], "auth.issuer.clients."+id
		if !strings.HasPrefix(client.SecretHash, "$argon2id$") {
			c.problem(key+".secret_hash", "must be an argon2id hash; \"arcd client add\" makes one")
		}
		if len(client.Scopes) == 0 && !client.Admin {
			c.problem(key+".scopes", "is needed: what may its tokens hold?")
		}
		for _, agent := range client.Agents {
			if !arc.ValidAgentID(agent) {
				c.problem(key+".agents", "%q %s", agent, arc.AgentIDIssue)
			}
		}
	}
}

// demoKind is which demo agent this is: the one named, or the one like the id.
func (a agentConfig) demoKind(id string) string {
	if a.Demo != "" {
		return a.Demo
	}
	return id
}

// checkScopes checks scope overrides. That the methods exist is checked by
// package methods, which has their table.
func (c *checker) checkScopes(key string, scopes map[string][]string) {
	for _, method := range slices.Sorted(maps.Keys(scopes)) {
		c.oneOf(key, method, methods.Names()...)
		c.checkScopeWords(key+"."+method, scopes[method])
	}
}

// checkScopeWords checks the form of scopes.
func (c *checker) checkScopeWords(key string, scopes []string) {
	if slices.ContainsFunc(scopes, func(s string) bool { return s == "" || strings.ContainsAny(s, " \"\\") }) {
		c.problem(key, "a scope is a word without spaces and quotes (RFC 6749, 3.3)")
	}
}

// oneOf wants one of a few words, and guesses which one was meant.
func (c *checker) oneOf(key, value string, words ...string) {
	if slices.Contains(words, value) {
		return
	}
	hint := ""
	if near := nearest(value, words); near != "" {
		hint = "; did you mean " + near + "?"
	}
	c.problem(key, "must be one of %s, not %q%s", strings.Join(words, ", "), value, hint)
}

// within wants a duration from least to most.
func (c *checker) within(key string, d, least, most time.Duration) {
	if d < least || d > most {
		c.problem(key, "must be from %s to %s, not %s", short(least), short(most), short(d))
	}
}

// checkURL wants an absolute http or https URL without user, query and fragment.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("must be a URL that begins with http:// or https://, not %q", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("must be a URL without user, query and fragment, not %q", s)
	}
	return nil
}
