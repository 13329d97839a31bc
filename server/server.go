// Package server is the HTTP face of arcd: the ARC endpoint over POST and
// WebSocket, its metadata and health pages, and the routes of the token
// service. It turns bytes into calls and results into bytes; what a call does
// is decided in package methods.
package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/rpc"
)

// Config says what a [Server] serves and within which limits.
type Config struct {
	// Service does the work behind the methods. It is needed.
	Service *methods.Service
	// Validator turns bearer tokens into principals. Without one, and without
	// InsecureNoAuth, every call is refused.
	Validator auth.Validator
	// Issuer is arcd's own token service; nil: its routes do not exist.
	Issuer *auth.Issuer
	// Registry is the agent registry; it needs Issuer. Nil: its routes do not exist,
	// and tokens of Issuer cannot be revoked.
	Registry *registry.Registry
	// RegistryValidator is Validator for the registry's routes: it also takes the
	// tokens that are for registering only.
	RegistryValidator auth.Validator
	// Metrics counts what happens, for /metrics. Nil: nothing is counted.
	Metrics *Metrics
	// ScrapeToken is a bearer token that may read /metrics. "": none is.
	ScrapeToken string
	// Sockets knows the agents that dial in at the ARC endpoint. Nil: none can.
	Sockets *carrier.Sockets
	// Notify tells registered agents something. Nil: nobody is told anything.
	Notify Notifier
	// Tracer makes a span of each call. Nil: there are no spans, and traces are passed
	// on as they come.
	Tracer trace.Tracer
	// AuthServers lists the issuers whose tokens Validator takes, for the
	// metadata of RFC 9728. Issuer's own is added.
	AuthServers []string
	// Ready tells whether what Validator depends on is there; nil: it is. An error that
	// is [ErrStore] is about the store.
	Ready func(context.Context) error

	// PublicURL is the scheme, host and path prefix that callers use, without a
	// slash at its end. It goes into challenges and metadata.
	PublicURL string
	// ServerID is the responseAgent of answers that no agent gave. Default "arcd".
	ServerID string
	// Version is shown by /health and /agent-info. Default "dev".
	Version string

	// ProblemBase stands before the kind of a problem in the type of problem
	// documents; it ends in a slash. Default "https://arcp.0x001.tech/docs/problems/".
	// The server has the same pages below its own /docs/problems/.
	ProblemBase string

	// Environment is a word for what the server is for, which the metrics show.
	// Default "production".
	Environment string

	// Limits bounds what callers may send and hold.
	Limits Limits
	// Calls bounds how many calls each caller may make. Nil: as many as it likes.
	Calls CallLimiter
	// HTTPStatus is "standard" (the default) or "always_200": every answer to a
	// body that was read comes with status 200.
	HTTPStatus string
	// CORSOrigins lists the origins (scheme://host[:port]) that browsers may
	// call from, or is just "*". Empty: none.
	CORSOrigins []string

	// TrustedProxies are the addresses of proxies whose X-Forwarded-For tells who
	// calls. Empty: none, and whoever connects is who calls.
	TrustedProxies []netip.Prefix

	// EventGap is the least time between two events of a stream. Default 0.
	EventGap time.Duration
	// KeepAlive is the longest silence on a stream or socket. Default 15 s.
	KeepAlive time.Duration
	// ReadTimeout is the longest that the body of a request may take. Default 30 s.
	ReadTimeout time.Duration
	// WriteTimeout is the longest that one answer, event or frame may take to
	// leave; a slower reader is cut. Default 10 s.
	WriteTimeout time.Duration
	// DrainDelay is how long Serve goes on as before at its end, while /readyz says
	// 503 already: so long a proxy in front may take to notice. Default 0.
	DrainDelay time.Duration
	// DrainTimeout is the longest that Serve waits after that for running calls.
	// Default 20 s.
	DrainTimeout time.Duration

	// TLS, if set, makes Serve speak HTTPS, HTTP/2 included.
	TLS *tls.Config
	// InsecureNoAuth lets every call run as one anonymous principal with all
	// scopes.
	InsecureNoAuth bool

	// Log gets the access and audit lines. The zero Logger writes nothing.
	Log zerolog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Limits bounds what one caller may send or hold. Zero values mean the default.
type Limits struct {
	BodyBytes         int64 // largest body or WebSocket message; default 10 MiB
	Depth             int   // deepest nesting of JSON; default 64
	Batch             int   // most items of a JSON-RPC batch; default 50
	StreamsPerSubject int   // most open streams and sockets, each, of one owner; default 100
	SocketCalls       int   // most calls in flight on one WebSocket; default 64

	// Most open WebSockets of GET /agents/ws, and as many of GET /public/ws:
	ListSockets           int // altogether; default 100
	ListSocketsPerAddress int // from one address; default 10
}

// Server is the HTTP face of arcd. Make one with [New].
type Server struct {
	cfg        Config
	service    *methods.Service
	mux        *rpc.Mux
	log        zerolog.Logger
	handler    http.Handler
	protection *http.CrossOriginProtection // nil: any origin may call
	anonymous  *auth.Principal             // nil: tokens are needed
	streams    slots
	sockets    slots
	outbound   chan struct{} // one slot taken per call to an agent's endpoint
	outboundTo slots         // of them by agent
	guard      *guard        // of what tokens hold open

	agentPlaces, publicPlaces              *places
	agentRoster, publicRoster, statsRoster *roster // nil without a Registry

	leaving      atomic.Bool     // calls should go elsewhere; set before draining
	moving       chan struct{}   // closed when leaving is set
	draining     atomic.Bool     // set under socketMu
	socketCtx    context.Context // of all sockets; ended by closeSockets
	closeSockets context.CancelFunc
	socketMu     sync.Mutex // keeps sockets from opening while they are waited for
	socketWork   sync.WaitGroup
}

// New makes a Server. It panics if cfg.Service is nil or an entry of
// CORSOrigins is no origin: both are start-up misuse.
func New(cfg Config) *Server {
	if cfg.Service == nil {
		panic("server.New: Config.Service is nil")
	}
	setDefaults(&cfg)
	s := &Server{
		cfg: cfg, service: cfg.Service, mux: cfg.Service.Mux(), log: cfg.Log,
		streams:    slots{most: cfg.Limits.StreamsPerSubject},
		sockets:    slots{most: cfg.Limits.StreamsPerSubject},
		outbound:   make(chan struct{}, notifying),
		outboundTo: slots{most: notifyingOne},
		moving:     make(chan struct{}),
	}
	s.guard = newGuard(min(socketCheck, cfg.KeepAlive), cfg.Now)
	s.agentPlaces, s.publicPlaces = newPlaces(cfg.Limits), newPlaces(cfg.Limits)
	if cfg.Registry != nil {
		s.guard.revocations = cfg.Registry.Revocations
		s.agentRoster = &roster{changes: cfg.Registry.Changes, encode: s.agentListFrames}
		s.publicRoster = &roster{changes: cfg.Registry.Changes, encode: s.publicListFrames}
		s.statsRoster = &roster{changes: cfg.Registry.Changes, encode: s.publicStatsFrames}
	}
	s.socketCtx, s.closeSockets = context.WithCancel(context.Background())
	if cfg.InsecureNoAuth {
		s.anonymous = &auth.Principal{
			Provider: "none", Issuer: auth.AnonymousIssuer, Subject: "anonymous", ClientID: "anonymous", Scopes: s.mux.AllScopes(),
		}
	}
	if !slices.Contains(cfg.CORSOrigins, "*") {
		s.protection = http.NewCrossOriginProtection()
		for _, origin := range cfg.CORSOrigins {
			if err := s.protection.AddTrustedOrigin(origin); err != nil {
				panic("server.New: Config.CORSOrigins: " + err.Error())
			}
		}
	}
	if cfg.Metrics != nil {
		cfg.Metrics.serve(s)
	}
	s.handler = s.frame(s.routes())
	return s
}

// setDefaults fills in what Config documents as defaults.
func setDefaults(cfg *Config) {
	orDefault(&cfg.ServerID, "arcd")
	orDefault(&cfg.Version, "dev")
	orDefault(&cfg.Environment, "production")
	orDefault(&cfg.HTTPStatus, "standard")
	orDefault(&cfg.ProblemBase, "https://arcp.0x001.tech/docs/problems/")
	orDefault(&cfg.KeepAlive, 15*time.Second)
	orDefault(&cfg.ReadTimeout, 30*time.Second)
	orDefault(&cfg.WriteTimeout, 10*time.Second)
	orDefault(&cfg.DrainTimeout, 20*time.Second)
	orDefault(&cfg.Limits.BodyBytes, 10<<20)
	orDefault(&cfg.Limits.StreamsPerSubject, 100)
	orDefault(&cfg.Limits.SocketCalls, 64)
	orDefault(&cfg.Limits.ListSockets, 100)
	orDefault(&cfg.Limits.ListSocketsPerAddress, 10)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

// orDefault sets a field that is zero.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Handler gives the whole surface as one handler, for embedding and tests.
// [Server.Serve] also drains; with the handler alone that is up to the caller.
func (s *Server) Handler() http.Handler { return s.handler }

// routes is the route table.
//
//	POST /arc          calls, both envelopes; GET upgrades to a WebSocket
//	GET  /agent-info   who is here
//	GET  /openrpc.json what can be called
//	GET  /health …     is it well
//	GET  /docs/problems what problem documents mean
//	     /oauth/…      the token service, if there is one
//	     /auth/… /tokens/… /agents/… /public/…  the registry, if there is one
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/arc", s.endpoint)
	mux.HandleFunc("/arc/{$}", s.endpoint)
	mux.HandleFunc("/health", s.get(s.health))
	mux.HandleFunc("/livez", s.get(s.live))
	mux.HandleFunc("/readyz", s.get(s.ready))
	mux.HandleFunc("/agent-info", s.get(s.agentInfo))
	mux.HandleFunc("/agent-info/{id...}", s.get(s.agentInfo))
	mux.HandleFunc("/openrpc.json", s.get(s.openRPC))
	mux.HandleFunc("/openapi.json", s.get(s.openAPIPage()))
	mux.HandleFunc("/docs/problems", s.get(s.problemList))
	mux.HandleFunc("/docs/problems/{slug}", s.get(s.problemPage))
	mux.HandleFunc("/.well-known/oauth-protected-resource", s.get(s.protectedResource("")))
	mux.HandleFunc("/.well-known/oauth-protected-resource/arc", s.get(s.protectedResource("/arc")))
	if s.cfg.Issuer != nil {
		s.oauthRoutes(mux)
	}
	if s.cfg.Registry != nil {
		s.addRegistry(mux)
	}
	mux.HandleFunc("/", s.index)
	return mux
}
