package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// The profiles of a [Provider].
const (
	// ProfileLoose takes the access tokens of the common providers: typ may be
	// JWT or absent; iss, sub, aud, exp and iat are required.
	ProfileLoose = "loose"
	// ProfileRFC9068 takes tokens of RFC 9068 only: typ at+jwt, and client_id
	// and jti required too.
	ProfileRFC9068 = "rfc9068"
)

// defaultAlgorithms are taken where a provider names none. ES512 is left out
// because one check of it costs as much as forty of the others.
var defaultAlgorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

// knownAlgorithms can be named in the configuration: asymmetric ones only.
var knownAlgorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// Provider is one issuer of tokens that is trusted.
type Provider struct {
	// Name is how configuration, logs and [Principal.Provider] call it.
	// Required, unique.
	Name string
	// Issuer is compared with claim iss byte for byte. Required, unique.
	Issuer string
	// Audience lists the values of claim aud that mean us; one is enough.
	// Required.
	Audience []string
	// JWKSURI is where its key set is. "": found through the issuer's
	// metadata (OpenID Connect Discovery or RFC 8414).
	JWKSURI string
	// Algorithms that its tokens may be signed with. Nil: RS256, PS256, ES256,
	// ES384, EdDSA.
	Algorithms []string
	// ScopeClaims are looked for in this order; the first that is present
	// counts. Nil: scope, scp.
	ScopeClaims []string
	// AgentClaim names the claim that lists the agents a token may send as.
	// "": agent_id.
	AgentClaim string
	// Profile is [ProfileLoose] or [ProfileRFC9068]. "": loose.
	Profile string
	// AllowHTTP lets Issuer and JWKSURI be plain http on a loopback host.
	AllowHTTP bool
	// RefetchCooldown is the least time between two key-set requests for
	// unknown key ids. 0: 10 seconds.
	RefetchCooldown time.Duration
	// Keys, if not nil, gives the key set (RFC 7517) in this process; nothing
	// is fetched then and JWKSURI is not used. It must be quick and safe for
	// concurrent use.
	Keys func() []byte
}

// Config says which tokens a [Providers] takes.
type Config struct {
	// Providers are the trusted issuers. Required.
	Providers []Provider
	// Leeway is how far clocks may differ, for exp, nbf and iat. 0: 30 seconds;
	// negative: none; at most 120 seconds.
	Leeway time.Duration
	// Revoked, if not nil, is asked on every call, for cached tokens too. It
	// must be quick. An error says that it cannot be known now: the token is
	// refused, as one that may be good again soon ([ReasonRevocationsUnknown]).
	Revoked func(context.Context, *Principal) (bool, error)
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
	// Log takes the alarms about keys. The zero value logs nothing.
	Log zerolog.Logger
	// CacheSize is how many verified tokens are remembered. 0: 10,000;
	// negative: none.
	CacheSize int
	// Transport carries the key-set requests. Nil: one of our own, without a
	// proxy and with limits on every phase. Redirects, body size and the time
	// of a request are limited whichever it is.
	Transport http.RoundTripper
}

const maxLeeway = 120 * time.Second

// withDefaults fills what is zero and reports what is wrong, each fault with
// the key of the configuration that it is under.
func (c Config) withDefaults() (Config, error) {
	if c.Leeway == 0 {
		c.Leeway = 30 * time.Second
	}
	if c.CacheSize == 0 {
		c.CacheSize = 10_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var faults []error
	if c.Leeway > maxLeeway {
		faults = append(faults, fmt.Errorf("auth.leeway: %v is more than %v", c.Leeway, maxLeeway))
	}
	c.Leeway = max(c.Leeway, 0)
	if len(c.Providers) == 0 {
		faults = append(faults, errors.New("auth.providers: at least one provider is needed"))
	}
	names, issuers := map[string]bool{}, map[string]string{}
	c.Providers = slices.Clone(c.Providers)
	for i, p := range c.Providers {
		key := "auth.providers." + p.Name
		if p.Name == "" || names[p.Name] {
			faults = append(faults, fmt.Errorf("%s: each provider needs a name of its own", key))
		}
		names[p.Name] = true
		if other, taken := issuers[p.Issuer]; taken {
			faults = append(faults, fmt.Errorf("%s.issuer: %q is the issuer of provider %q already", key, p.Issuer, other))
		}
		issuers[p.Issuer] = p.Name
		for _, fault := range p.faults() {
			faults = append(faults, fmt.Errorf("%s.%w", key, fault))
		}
		c.Providers[i] = p.withDefaults()
	}
	return c, errors.Join(faults...)
}

func (p Provider) withDefaults() Provider {
	if p.Algorithms == nil {
		p.Algorithms = defaultAlgorithms
	}
	if p.ScopeClaims == nil {
		p.ScopeClaims = []string{"scope", "scp"}
	}
	if p.AgentClaim == "" {
		p.AgentClaim = "agent_id"
	}
	if p.Profile == "" {
		p.Profile = ProfileLoose
	}
	if p.RefetchCooldown == 0 {
		p.RefetchCooldown = 10 * time.Second
	}
	return p
}

// faults lists what is wrong with p; each begins with the key of its field.
func (p Provider) faults() []error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if p.Issuer == "" || strings.ContainsFunc(p.Issuer, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		add("issuer: a text without spaces is required")
	}
	if len(p.Audience) == 0 || slices.Contains(p.Audience, "") {
		add("audience: at least one is required, and none may be empty")
	}
	if p.Keys == nil {
		faults = append(faults, p.addressFaults()...)
	}
	for _, alg := range p.Algorithms {
		if !slices.Contains(knownAlgorithms, alg) {
			add("algorithms: %q is not one of %s", alg, strings.Join(knownAlgorithms, ", "))
		}
	}
	if p.Algorithms != nil && len(p.Algorithms) == 0 {
		add("algorithms: an empty list lets no token in")
	}
	if slices.Contains(p.ScopeClaims, "") {
		add("scope_claims: a claim needs a name")
	}
	if p.Profile != "" && p.Profile != ProfileLoose && p.Profile != ProfileRFC9068 {
		add("profile: %q is neither %s nor %s", p.Profile, ProfileLoose, ProfileRFC9068)
	}
	if p.RefetchCooldown < 0 {
		add("refetch_cooldown: must not be negative")
	}
	return faults
}

// addressFaults checks what would be fetched. An issuer that is never fetched,
// because JWKSURI is given, need not be a URL.
func (p Provider) addressFaults() []error {
	var faults []error
	if p.JWKSURI == "" || strings.HasPrefix(p.Issuer, "http://") {
		if err := checkAddress(p.Issuer, p.AllowHTTP); err != nil {
			faults = append(faults, fmt.Errorf("issuer: %w", err))
		}
	}
	if p.JWKSURI != "" {
		if err := checkAddress(p.JWKSURI, p.AllowHTTP); err != nil {
			faults = append(faults, fmt.Errorf("jwks_uri: %w", err))
		}
	}
	return faults
}

// checkAddress refuses everything but https URLs, and plain http ones on a
// loopback host if that is allowed.
func checkAddress(address string, allowHTTP bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not an https URL", address)
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("%q is not an https URL", address)
	case !allowHTTP:
		return fmt.Errorf("%q is plain http; set allow_http if it is on this machine", address)
	case !isLoopback(u.Hostname()):
		return fmt.Errorf("%q is plain http to another machine; allow_http covers loopback only", address)
	}
	return nil
}

// isLoopback tells whether a host name of a URL means this machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
