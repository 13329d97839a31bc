package auth

import (
	"cmp"
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
	// Needed unless Keys is given; with it, the file is only read, if it is there while
	// Keys has none: an issuer that moves to where several share their keys takes its
	// own along, and its tokens stay good.
	KeyFile string
	// Keys, if not nil, keeps the signing keys in the place of KeyFile, for issuers in
	// several processes that are one to the world. All but the keys has to be configured
	// alike by hand, the clients included.
	Keys Keys
	// ClientsFile holds clients made by [AddClient]; changes count at once. It may
	// be missing. "": there is none.
	ClientsFile string
	// Clients are clients by id. They win over those of ClientsFile.
	Clients map[string]Client
	// TokenTTL is the life of a token: whole seconds, at most 24 h. Default 15 min.
	TokenTTL time.Duration
	// LongestTTL is the longest life that [Issuer.Issue] is asked for again and
	// again: whole seconds from TokenTTL to 31 days. A rotation keeps the old key
	// published for as long. Default: TokenTTL.
	LongestTTL time.Duration
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
	maxLongestTTL   = 31 * 24 * time.Hour
)

// An Issuer gives out access tokens that arcd itself trusts: JWTs of the profile
// of RFC 9068, signed with Ed25519. It is safe for concurrent use and needs no
// closing. A grant takes this way:
//
//	Grant
//	├─ Authenticate
//	│  ├─ secretChecker.remembers   a good try of late with a random secret: done
//	│  ├─ failures.admit            too many failures: 429
//	│  └─ secretChecker.verify      argon2id, a few at a time
//	├─ scopesFor, audienceFor       what it may ask for
//	└─ sign                         the key in force
//
// Whoever decides on other grounds who gets a token (a login, a registration)
// asks [Issuer.Issue] for it.
type Issuer struct {
	cfg     IssuerConfig
	keys    keyHome
	clients watchedFile[map[string]Client]
	secrets *secretChecker
	failed  *failures
	// verifying makes equal requests side by side one verification.
	verifying singleflight.Group
}

// OpenIssuer checks the configuration, makes the keys if there are none and reads keys
// and clients. Its errors name what to mend and never show a secret.
func OpenIssuer(cfg IssuerConfig) (*Issuer, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("opening the issuer: %w", err)
	}
	i := &Issuer{cfg: cfg, secrets: newSecretChecker(), failed: newFailures()}
	i.clients.path, i.clients.read = cfg.ClientsFile, loadClientFile
	i.clients.now, i.clients.log = cfg.Now, cfg.Log
	i.clients.missing = func() map[string]Client { return nil }
	if err := i.openKeys(); err != nil {
		return nil, err
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
	if c.KeyFile == "" && c.Keys == nil {
		return errors.New("neither KeyFile nor Keys is given")
	}
	if c.TokenTTL == 0 {
		c.TokenTTL = defaultTokenTTL
	}
	if c.TokenTTL < time.Second || c.TokenTTL > maxTokenTTL || c.TokenTTL%time.Second != 0 {
		return fmt.Errorf("TokenTTL %v is not whole seconds up to %v", c.TokenTTL, maxTokenTTL)
	}
	c.LongestTTL = cmp.Or(c.LongestTTL, c.TokenTTL)
	if c.LongestTTL < c.TokenTTL || c.LongestTTL > maxLongestTTL || c.LongestTTL%time.Second != 0 {
		return fmt.Errorf("LongestTTL %v is not whole seconds from TokenTTL, %v, to %v", c.LongestTTL, c.TokenTTL, maxLongestTTL)
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

// openKeys opens what keeps the keys.
func (i *Issuer) openKeys() error {
	if i.cfg.Keys == nil {
		file := &fileKeys{watchedFile[*keyFile]{path: i.cfg.KeyFile, read: loadKeyFile, now: i.cfg.Now, log: i.cfg.Log}}
		if err := openKeyFile(i.cfg.KeyFile, i.cfg.LongestTTL, i.cfg.Now()); err != nil {
			return fmt.Errorf("opening the key file: %w", err)
		}
		if err := file.open(); err != nil {
			return fmt.Errorf("opening the key file: %w", err)
		}
		i.keys = file
		return nil
	}
	shared := &sharedKeys{store: i.cfg.Keys, now: i.cfg.Now, log: i.cfg.Log}
	if err := shared.open(i.cfg.KeyFile, i.cfg.LongestTTL); err != nil {
		return fmt.Errorf("opening the signing keys: %w", err)
	}
	i.keys = shared
	return nil
}

// Ready tells whether tokens can be signed: the keys that several processes share have
// been looked at of late. The error is [ErrKeysUnknown].
func (i *Issuer) Ready() error {
	i.keys.get(false)
	return i.keys.current()
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
