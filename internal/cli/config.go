package cli

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// config is the whole configuration of arcd. The koanf tags are the keys, the
// help tags the one description of each key that "arcd config show" and the
// documents use. A field tagged secret is never printed; one text may also come
// from a file, by the key with _file behind it.
//
// In a map (providers, clients, agents) the keys are names that the operator
// chooses.
type config struct {
	Listen       string        `koanf:"listen" help:"address and port to serve on; port 0 takes a free one"`
	PublicURL    string        `koanf:"public_url" help:"the URL that callers use; default: made of listen"`
	ServerID     string        `koanf:"server_id" help:"name of this server in answers"`
	Store        string        `koanf:"store" secret:"true" help:"where the state is: sqlite:FILE, or postgres://USER@HOST/DATABASE for several servers on one database"`
	StoreUnsafe  bool          `koanf:"store_unsafe" help:"take a PostgreSQL that may lose what it has acknowledged (fsync, full_page_writes or synchronous_commit off)"`
	Hints        string        `koanf:"hints" secret:"true" help:"how servers on one PostgreSQL tell each other what happened: notify (default), a URL of NATS such as nats://HOST:4222, or off: each looks once a second"`
	NATS         natsConfig    `koanf:"nats"`
	HTTPStatus   string        `koanf:"http_status" help:"standard, or always_200 for clients that read error bodies only at 200"`
	InsecureHTTP bool          `koanf:"insecure_http" help:"allow plain http on an address that is not loopback (a proxy in front does TLS)"`
	Proxies      []string      `koanf:"trusted_proxies" help:"addresses of proxies whose X-Forwarded-For tells who calls, such as 10.0.0.2 or 10.0.0.0/28"`
	CORSOrigins  []string      `koanf:"cors_origins" help:"web origins that browsers may call from; none: CORS is off"`
	EventGap     time.Duration `koanf:"event_gap" help:"least time between two events of a stream"`
	KeepAlive    time.Duration `koanf:"keep_alive" help:"longest silence of a stream before a keep-alive comment"`
	DrainDelay   time.Duration `koanf:"drain_delay" help:"how long calls are still taken at shutdown while /readyz says 503, so that a proxy can turn away; 5s behind one"`
	DrainTimeout time.Duration `koanf:"drain_timeout" help:"longest wait for open requests at shutdown, after drain_delay"`
	Retention    time.Duration `koanf:"retention" help:"how long ended tasks and chats are kept; 0s: for ever"`
	KeyTTL       time.Duration `koanf:"idempotency_ttl" help:"how long an idempotency key is remembered"`
	ChatIdle     time.Duration `koanf:"chat_idle" help:"how long a chat may be silent before it is closed"`
	Lease        time.Duration `koanf:"lease" help:"how long a claimed task stays with a process that no longer reports"`
	MaxAttempts  int           `koanf:"max_attempts" help:"how often a task is begun before it fails"`
	Patience     time.Duration `koanf:"patience" help:"how long a task waits for an agent that cannot be reached, before it fails"`
	MaxHops      int           `koanf:"max_hops" help:"through how many agents work may be passed on within one trace"`
	ListAgents   bool          `koanf:"list_agents" help:"name the agents there are when a caller asks for one that is not"`

	TLS      tlsConfig              `koanf:"tls"`
	Log      logConfig              `koanf:"log"`
	Limits   limitsConfig           `koanf:"limits"`
	Auth     authConfig             `koanf:"auth"`
	Registry registryConfig         `koanf:"registry"`
	Agents   map[string]agentConfig `koanf:"agents"`
	Outbound outboundConfig         `koanf:"outbound"`
	Webhooks webhooksConfig         `koanf:"webhooks"`
}

// registryConfig is the agent registry: who may register, and for how long.
type registryConfig struct {
	Enabled           bool          `koanf:"enabled" help:"serve the agent registry; it needs the token service"`
	AgentKeys         []string      `koanf:"agent_keys" secret:"list" help:"what agents prove themselves with: KEY for any agent, which the first that uses it keeps, or ID=KEY"`
	AgentKeyFile      string        `koanf:"agent_key_file" help:"more agent keys, one a line; changes count at once; mode 0600"`
	AgentTypes        []string      `koanf:"agent_types" help:"types that an agent may have; none: any"`
	AgentScopes       []string      `koanf:"agent_scopes" help:"scopes of a registered agent's token besides arc.agent.receiver and arc.task.notify"`
	RequireValidation bool          `koanf:"require_validation" help:"an agent's endpoint has to be validated before it can register"`
	EndpointCheck     string        `koanf:"endpoint_check" help:"required: a validated endpoint must answer; reported: what is wrong is a warning; off"`
	EndpointAllow     []string      `koanf:"endpoint_allow" help:"private addresses that agents may be at, such as 10.1.0.0/16; none: public ones only"`
	Provider          string        `koanf:"provider" help:"whose tokens arcd shows to registered agents: arcd, none, or a name below outbound.providers; default arcd"`
	ProviderScopes    []string      `koanf:"provider_scopes" help:"scopes of that token; default as for agents.NAME.provider_scopes"`
	Public            string        `koanf:"public" help:"what anybody may see of an agent: card, full, or off"`
	AgentTokenTTL     time.Duration `koanf:"agent_token_ttl" help:"how long a registered agent's token is valid"`
	TempTokenTTL      time.Duration `koanf:"temp_token_ttl" help:"how long a token for registering is valid"`
	SessionTTL        time.Duration `koanf:"session_ttl" help:"how long a login is valid"`
	RefreshMaxAge     time.Duration `koanf:"refresh_max_age" help:"how long a token can be refreshed after the first of its line"`
	MaxSessions       int           `koanf:"max_sessions" help:"most logins of one administrator; the oldest ends"`
	MaxAgents         int           `koanf:"max_agents" help:"most registered agents"`
	HeartbeatTimeout  time.Duration `koanf:"heartbeat_timeout" help:"silence after which an agent counts as dead"`
	RemoveAfter       time.Duration `koanf:"remove_after" help:"silence after which an agent is removed; 0s: never"`
	AuditRetention    time.Duration `koanf:"audit_retention" help:"how long the audit log is kept; 0s: for ever"`
	ProblemBase       string        `koanf:"problem_base" help:"what the type of a problem document begins with; default: that of the ARCP pages"`
	ScrapeToken       string        `koanf:"scrape_token" secret:"true" help:"bearer token that may read /metrics; none: administrators only"`
}

// tlsConfig names the certificate chain and key that TLS is served with.
type tlsConfig struct {
	Cert string `koanf:"cert" help:"PEM file with the certificate chain"`
	Key  string `koanf:"key" help:"PEM file with its private key"`
}

// logConfig says what is logged on standard error, and how.
type logConfig struct {
	Level  string `koanf:"level" help:"trace, debug, info, warn or error"`
	Format string `koanf:"format" help:"json, console, or auto: console on a terminal"`
}

// limitsConfig bounds what one caller can ask for.
type limitsConfig struct {
	BodyBytes         int64 `koanf:"body_bytes" help:"largest request body in bytes"`
	Depth             int   `koanf:"depth" help:"deepest nesting of a request body"`
	Batch             int   `koanf:"batch" help:"most calls in one JSON-RPC batch"`
	StreamsPerSubject int   `koanf:"streams_per_subject" help:"most streams that one subject may hold open on one server"`

	CallsPerSecond float64 `koanf:"calls_per_second" help:"calls of /arc that one subject may make in a second, on all servers together; 0: as many as it likes"`
	CallBurst      int     `koanf:"call_burst" help:"calls that one subject may make at once after a rest; 0: those of one second"`
}

// natsConfig is how NATS is used, where it carries the hints.
type natsConfig struct {
	Credentials string `koanf:"credentials" help:"for hints over NATS: file with a user's credentials (.creds)"`
	CA          string `koanf:"ca" help:"for hints over NATS: PEM file with the authorities of its certificate; none: the system's"`
	Prefix      string `koanf:"prefix" help:"for hints over NATS: what their subject begins with; default arcd"`
}

// authConfig says whose tokens are taken and which scopes a method needs.
type authConfig struct {
	Leeway    time.Duration             `koanf:"leeway" help:"clock difference allowed when a token's times are checked, at most 120s"`
	CacheSize int                       `koanf:"cache_size" help:"most verified tokens to remember"`
	Providers map[string]providerConfig `koanf:"providers"`
	Issuer    issuerConfig              `koanf:"issuer"`
	Scopes    map[string][]string       `koanf:"scopes" help:"scopes that a method needs, in place of the specification's"`
}

// providerConfig is one issuer of tokens that is trusted.
type providerConfig struct {
	Issuer          string        `koanf:"issuer" help:"the claim iss of its tokens, byte for byte"`
	Audience        []string      `koanf:"audience" help:"the claim aud must name one of these"`
	JWKSURI         string        `koanf:"jwks_uri" help:"where its keys are; left out: found by discovery"`
	Algorithms      []string      `koanf:"algorithms" help:"signature algorithms; default RS256, PS256, ES256, ES384, EdDSA"`
	ScopeClaims     []string      `koanf:"scope_claims" help:"claims that hold scopes, first present wins; default scope, scp"`
	AgentClaim      string        `koanf:"agent_claim" help:"claim that lists the agent ids a token may send as; default agent_id"`
	Profile         string        `koanf:"profile" help:"loose, or rfc9068 for strict access tokens"`
	AllowHTTP       bool          `koanf:"allow_http" help:"allow plain http for issuer and keys, on loopback only"`
	RefetchCooldown time.Duration `koanf:"refetch_cooldown" help:"at most one key request in this time for unknown key ids; default 10s"`
}

// issuerConfig is arcd's own token service: the provider named arcd.
type issuerConfig struct {
	Enabled     bool                    `koanf:"enabled" help:"issue tokens at /oauth/token; default: true once there is a client or a provider"`
	Audience    []string                `koanf:"audience" help:"audiences that tokens may be issued for, first is the default; default: public_url, with and without /arc"`
	KeyFile     string                  `koanf:"key_file" help:"signing keys, made on first start with mode 0600; not used with PostgreSQL unless it is set: the keys are in the database then"`
	ClientsFile string                  `koanf:"clients_file" help:"clients added by arcd client add"`
	TokenTTL    time.Duration           `koanf:"token_ttl" help:"how long an issued token is valid"`
	Clients     map[string]clientConfig `koanf:"clients"`
}

// clientConfig is one client of the token service.
type clientConfig struct {
	SecretHash string   `koanf:"secret_hash" secret:"true" help:"argon2id hash of its secret"`
	Scopes     []string `koanf:"scopes" help:"the most that its tokens may hold"`
	Agents     []string `koanf:"agents" help:"agent ids that its tokens may send as; none: any"`
	Audience   string   `koanf:"audience" help:"audience of its tokens; default: the token service's"`
	Admin      bool     `koanf:"admin" help:"it may log in at /auth/login as an administrator of the registry; then scopes may be left out"`
}

// agentConfig is one agent that callers can name as targetAgent.
type agentConfig struct {
	Kind           string              `koanf:"kind" help:"demo; http: it is called at its endpoint; websocket: it dials in; registered: settings for one that registers itself"`
	Demo           string              `koanf:"demo" help:"which demo agent: echo, slow, fail, input, stream or flaky; default: the agent's id"`
	Endpoint       string              `koanf:"endpoint" help:"for kind http: the URL where the agent speaks ARC; any address, since the operator names it"`
	Provider       string              `koanf:"provider" help:"whose tokens arcd shows to it: arcd, none, or a name below outbound.providers; default: arcd where the token service is on"`
	ProviderScopes []string            `koanf:"provider_scopes" help:"scopes of that token; default: the provider's, and of arcd arc.task.controller, arc.chat.controller and arc.agent.caller"`
	Name           string              `koanf:"name" help:"name for people"`
	Description    string              `koanf:"description" help:"one sentence for people"`
	Version        string              `koanf:"version" help:"version of the agent"`
	Capabilities   []string            `koanf:"capabilities" help:"words that say what it can do"`
	Concurrency    int                 `koanf:"concurrency" help:"most tasks that run at the same time; default 16, of an agent elsewhere 100"`
	Turns          int                 `koanf:"turns" help:"most chat turns that run at the same time; default 1000"`
	Scopes         map[string][]string `koanf:"scopes" help:"scopes that a method needs for this agent"`
	KeepTurns      bool                `koanf:"keep_turns" help:"a chat turn goes on when its caller disconnects"`
}

// defaults is the configuration before anything was set. Bounds that a package
// owns (algorithms, claims, cooldown) stay zero here and are filled in there.
func defaults() config {
	return config{
		Listen:       "127.0.0.1:8001",
		ServerID:     "arcd",
		Store:        "sqlite:arcd.db",
		HTTPStatus:   "standard",
		KeepAlive:    15 * time.Second,
		DrainTimeout: 20 * time.Second,
		Retention:    24 * time.Hour,
		KeyTTL:       24 * time.Hour,
		ChatIdle:     24 * time.Hour,
		Lease:        15 * time.Second,
		MaxAttempts:  3,
		Patience:     15 * time.Minute,
		MaxHops:      16,
		Log:          logConfig{Level: "info", Format: "auto"},
		Limits:       limitsConfig{BodyBytes: 10 << 20, Depth: 64, Batch: 50, StreamsPerSubject: 100},
		Auth: authConfig{
			Leeway:    30 * time.Second,
			CacheSize: 10_000,
			Issuer: issuerConfig{
				KeyFile:     "arcd-keys.json",
				ClientsFile: "arcd-clients.json",
				TokenTTL:    15 * time.Minute,
			},
		},
		Registry: registryConfig{
			Enabled: true, AgentKeyFile: "arcd-agent-keys", EndpointCheck: "required", Public: "card",
			AgentTokenTTL: time.Hour, TempTokenTTL: 15 * time.Minute, SessionTTL: 30 * time.Minute, RefreshMaxAge: 7 * 24 * time.Hour,
			MaxSessions: 5, MaxAgents: 10_000, HeartbeatTimeout: time.Minute, RemoveAfter: 24 * time.Hour,
			AuditRetention: 30 * 24 * time.Hour, Provider: auth.IssuerName,
		},
		Outbound: outboundConfig{Timeout: time.Minute, StreamIdle: 2 * time.Minute, AnswerBytes: 16 << 20},
		Webhooks: webhooksConfig{Enabled: true, Provider: noProvider, Timeout: 10 * time.Second, ContentType: arc.MediaARC},
	}
}

// loopback tells whether listen can be reached from this machine only. A name
// other than localhost may mean anything, so it counts as reachable.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// baseURL is the URL that callers use: public_url, or what listen gives. An
// unspecified host (all interfaces) is written as 127.0.0.1.
func (c *config) baseURL() string {
	if c.PublicURL != "" {
		return strings.TrimRight(c.PublicURL, "/")
	}
	scheme := "http"
	if c.TLS.Cert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return scheme + "://" + c.Listen
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return (&url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}).String()
}
