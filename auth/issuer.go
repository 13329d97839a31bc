package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"
)

// IssuerConfig says what an [Issuer] issues and to whom.
type IssuerConfig struct {
	// URL is the claim iss of the tokens: an absolute http or https URL without
	// query and fragment (RFC 8414 section 2). Needed.
	URL string
	// Audience lists the audiences that tokens may be for; the first is the
	// default of a request that names none. Default: URL, and URL/arc, which is how
	// the ARC endpoint calls itself in its metadata (RFC 9728).
	Audience []string
	// KeyFile holds the signing keys. It is made, with mode 0600, if it is missing.
	// Needed.
	KeyFile string
	// ClientsFile holds clients made by [AddClient]; changes count at once. It may
	// be missing. "": there is none.
	ClientsFile string
	// Clients are clients by id. They win over those of ClientsFile.
	Clients map[string]Client
	// TokenTTL is the life of a token: whole seconds, at most 24 h. Default 15 min.
	TokenTTL time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log gets a line when a changed file was taken up or refused. The zero Logger
	// writes nothing.
	Log zerolog.Logger
}

// IssuerName is the name of arcd's own issuer among the providers.
const IssuerName = "arcd"

const (
	defaultTokenTTL = 15 * time.Minute
	maxTokenTTL     = 24 * time.Hour
)

// An Issuer gives out access tokens that arcd itself trusts: JWTs of the profile
// of RFC 9068, signed with Ed25519. It is safe for concurrent use and needs no
// closing. A grant takes this way:
//
//	Grant
//	├─ Authenticate
//	│  ├─ secretChecker.remembers   a good try of late: done
//	│  ├─ failures.admit            too many failures: 429
//	│  └─ secretChecker.verify      argon2id, a few at a time
//	├─ scopesFor, audienceFor       what it may ask for
//	└─ sign                         the key in force
type Issuer struct {
	cfg     IssuerConfig
	keys    watchedFile[*keyFile]
	clients watchedFile[map[string]Client]
	secrets *secretChecker
	failed  *failures
	// verifying makes equal requests side by side one verification.
	verifying singleflight.Group
}

// OpenIssuer checks the configuration, makes the key file if it is missing and
// reads both files. Its errors name what to mend and never show a secret.
func OpenIssuer(cfg IssuerConfig) (*Issuer, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("opening the issuer: %w", err)
	}
	i := &Issuer{cfg: cfg, secrets: newSecretChecker(), failed: newFailures()}
	i.keys.path, i.keys.read = cfg.KeyFile, loadKeyFile
	i.keys.now, i.keys.log = cfg.Now, cfg.Log
	i.clients.path, i.clients.read = cfg.ClientsFile, loadClientFile
	i.clients.now, i.clients.log = cfg.Now, cfg.Log
	i.clients.missing = func() map[string]Client { return nil }
	if err := openKeyFile(cfg.KeyFile, cfg.TokenTTL, cfg.Now()); err != nil {
		return nil, fmt.Errorf("opening the key file: %w", err)
	}
	if err := i.keys.open(); err != nil {
		return nil, fmt.Errorf("opening the key file: %w", err)
	}
	if cfg.ClientsFile != "" {
		if err := i.clients.open(); err != nil {
			return nil, fmt.Errorf("opening the client file: %w", err)
		}
	}
	return i, nil
}

// complete checks the configuration and fills in the defaults.
func (c *IssuerConfig) complete() error {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.User != nil || strings.ContainsAny(c.URL, "?#") {
		return fmt.Errorf("URL %q is not an absolute http or https URL without user, query and fragment", c.URL)
	}
	if c.KeyFile == "" {
		return errors.New("no KeyFile is given")
	}
	if c.TokenTTL == 0 {
		c.TokenTTL = defaultTokenTTL
	}
	if c.TokenTTL < time.Second || c.TokenTTL > maxTokenTTL || c.TokenTTL%time.Second != 0 {
		return fmt.Errorf("TokenTTL %v is not whole seconds up to %v", c.TokenTTL, maxTokenTTL)
	}
	if err := checkClients(c.Clients); err != nil {
		return err
	}
	c.Clients = maps.Clone(c.Clients)
	if c.Audience = slices.Clone(c.Audience); len(c.Audience) == 0 {
		c.Audience = []string{c.URL, strings.TrimSuffix(c.URL, "/") + "/arc"}
	}
	if slices.Contains(c.Audience, "") {
		return errors.New("one of Audience is empty")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// Provider describes this issuer to [NewProviders]. Its keys are read in this
// process, not fetched.
func (i *Issuer) Provider() Provider {
	return Provider{
		Name: IssuerName, Issuer: i.cfg.URL, Audience: slices.Clone(i.cfg.Audience),
		Algorithms: []string{jwt.SigningMethodEdDSA.Alg()}, ScopeClaims: []string{"scope"}, AgentClaim: "agent_id",
		Profile: ProfileRFC9068, AllowHTTP: strings.HasPrefix(i.cfg.URL, "http://"), Keys: i.JWKS,
	}
}

// JWKS gives the JWK Set document of the keys whose tokens are good now.
func (i *Issuer) JWKS() []byte { return i.keys.get(true).jwks(i.cfg.Now()) }

// Claims says what goes into a token.
type Claims struct {
	Subject  string   // claim sub; needed
	ClientID string   // claim client_id; default: Subject
	Scopes   []string // claim scope
	Agents   []string // claim agent_id; none: the token may speak as any agent
	Audience []string // claim aud; default: the issuer's first
	// TTL is the life of the token. Default: the issuer's. Negative: it has expired
	// that long ago already, which tests want.
	TTL time.Duration
}

// Mint signs a token with any claims, without asking whether somebody may have
// it: that is [Issuer.Grant]. A life beyond the issuer's is noted in the key file,
// so that a rotation keeps its key published for as long.
func (i *Issuer) Mint(c Claims) (token string, err error) {
	if err := checkScopes(c.Scopes); err != nil {
		return "", fmt.Errorf("minting a token: %w", err)
	}
	if c.Subject == "" {
		return "", errors.New("minting a token: the subject is missing")
	}
	if c.TTL == 0 {
		c.TTL = i.cfg.TokenTTL
	}
	if c.TTL > i.cfg.TokenTTL {
		if err := i.noteLongToken(i.cfg.Now().Add(c.TTL + clockSlack)); err != nil {
			return "", fmt.Errorf("minting a token: %w", err)
		}
	}
	token, _, err = i.sign(c)
	return token, err
}

// noteLongToken keeps the signing key published until then, once it is retired.
func (i *Issuer) noteLongToken(until time.Time) error {
	err := changeKeyFile(i.cfg.KeyFile, func(f *keyFile) error {
		if k := f.signing(); k.Until.Before(until) {
			k.Until = until.UTC().Truncate(time.Second)
		}
		return nil
	})
	i.keys.get(true)
	return err
}

// sign makes the token (RFC 9068 section 2) and tells its jti.
func (i *Issuer) sign(c Claims) (token, id string, err error) {
	key := i.keys.get(false).signing()
	issued := i.cfg.Now()
	expires := issued.Add(c.TTL)
	if c.TTL < 0 {
		issued = expires.Add(-i.cfg.TokenTTL) // as if it had been issued in its time
	}
	if c.ClientID == "" {
		c.ClientID = c.Subject
	}
	if len(c.Audience) == 0 {
		c.Audience = i.cfg.Audience[:1]
	}
	bits := make([]byte, 16)
	rand.Read(bits) // never fails, see crypto/rand
	id = base64.RawURLEncoding.EncodeToString(bits)
	claims := jwt.MapClaims{
		"iss": i.cfg.URL, "sub": c.Subject, "aud": oneOrMany(c.Audience), "client_id": c.ClientID,
		"iat": issued.Unix(), "exp": expires.Unix(), "jti": id,
	}
	if len(c.Scopes) > 0 {
		claims["scope"] = strings.Join(c.Scopes, " ")
	}
	if len(c.Agents) > 0 {
		claims["agent_id"] = oneOrMany(c.Agents)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	t.Header["typ"], t.Header["kid"] = "at+jwt", key.ID
	if token, err = t.SignedString(key.private); err != nil {
		return "", "", fmt.Errorf("signing a token: %w", err)
	}
	return token, id, nil
}

// oneOrMany is how JWT writes a list of names: a single one stands alone.
func oneOrMany(names []string) any {
	if len(names) == 1 {
		return names[0]
	}
	return names
}

// Read gives the principal of a token that this issuer signed and that no
// validator refuses yet as expired, whatever its leeway. It knows nothing of
// revocation or audiences: it is for those who ask about a token, not for those
// who present one.
func (i *Issuer) Read(token string) (*Principal, error) {
	file, now := i.keys.get(false), i.cfg.Now()
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(i.cfg.URL),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithLeeway(clockSlack), jwt.WithTimeFunc(func() time.Time { return now }))
	claims := jwt.MapClaims{}
	t, err := parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		for _, k := range file.Keys {
			if k.ID == t.Header["kid"] && k.published(now) {
				return k.public(), nil
			}
		}
		return nil, errors.New("the key is not one of this issuer")
	})
	if err != nil {
		return nil, fmt.Errorf("reading a token: %w", err)
	}
	p := &Principal{Provider: IssuerName, Issuer: i.cfg.URL, Alg: t.Method.Alg(), Claims: claims}
	p.KeyID, _ = t.Header["kid"].(string)
	p.Subject, _ = claims["sub"].(string)
	p.ClientID, _ = claims["client_id"].(string)
	p.TokenID, _ = claims["jti"].(string)
	if scope, _ := claims["scope"].(string); scope != "" {
		p.Scopes = uniqueSorted(strings.Split(scope, " "))
	}
	p.Agents = namesOf(claims["agent_id"])
	p.IssuedAt, p.Expires = timeOf(claims.GetIssuedAt()), timeOf(claims.GetExpirationTime())
	return p, nil
}

// namesOf reads what oneOrMany wrote.
func namesOf(claim any) []string {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case []any:
		names := make([]string, 0, len(c))
		for _, n := range c {
			if s, ok := n.(string); ok {
				names = append(names, s)
			}
		}
		return names
	}
	return nil
}

// timeOf reads a date claim that the signature vouches for.
func timeOf(d *jwt.NumericDate, err error) time.Time {
	if d == nil || err != nil {
		return time.Time{}
	}
	return d.Time
}

// uniqueSorted sorts the names and drops doubles, in place.
func uniqueSorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
