package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/outcome"
	"github.com/arcd-io/arcd/internal/ratelimit"
	"github.com/arcd-io/arcd/internal/tracing/otlp"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store"
)

// serveCommand is "arcd serve". Its flags are the settings that one changes by
// hand; the rest is for the file and the environment.
type serveCommand struct {
	configFlags
	Dev            bool   `help:"Try it out: demo agents, a client named dev, and a curl to paste."`
	InsecureNoAuth bool   `help:"Take every call without a token, with all scopes. On loopback only."`
	Listen         string `placeholder:"HOST:PORT" help:"Address to serve on; port 0 takes a free one."`
	PublicURL      string `placeholder:"URL" help:"The URL that callers use."`
	Store          string `placeholder:"STORE" help:"Where the state is: sqlite:FILE or postgres://USER@HOST/DATABASE."`
	HTTPStatus     string `name:"http-status" placeholder:"WORD" help:"standard or always_200."`
	TLSCert        string `name:"tls-cert" placeholder:"FILE" help:"Certificate chain (PEM)."`
	TLSKey         string `name:"tls-key" placeholder:"FILE" help:"Private key (PEM)."`
	InsecureHTTP   bool   `name:"insecure-http" help:"Allow plain http on an address that is not loopback."`
	LogLevel       string `placeholder:"LEVEL" help:"trace, debug, info, warn or error."`
	LogFormat      string `placeholder:"FORMAT" help:"auto, json or console."`
}

// flags gives the settings that were given as flags, by key.
func (c *serveCommand) flags() map[string]string {
	set := map[string]string{}
	for key, value := range map[string]string{
		"listen": c.Listen, "public_url": c.PublicURL, "store": c.Store, "http_status": c.HTTPStatus,
		"tls.cert": c.TLSCert, "tls.key": c.TLSKey, "log.level": c.LogLevel, "log.format": c.LogFormat,
	} {
		if value != "" {
			set[key] = value
		}
	}
	if c.InsecureHTTP {
		set["insecure_http"] = "true"
	}
	return set
}

// gcPercent trades memory for time: what lives long is small beside what each
// call makes, and at Go's default of 100 collecting took a tenth of the
// processor under load. The environment variable GOGC overrides it.
const gcPercent = 400

// serveEvent is the line that tells on stdout that calls are served.
type serveEvent struct {
	Event   string `json:"event"` // ready
	URL     string `json:"url"`
	Address string `json:"listening"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
}

// served is the result of "serve".
type served struct {
	Address string `json:"listening"`
	Reason  string `json:"reason"`
}

// show says nothing: people have read the log.
func (served) show(*page) {}

func (*serveCommand) row() row {
	return row{
		danger: safe, daemon: true, streams: true, exits: storeExits, data: served{},
		long:     "It writes a JSON line when it is ready, unless stdout is a terminal, and ends with exit code 0 after SIGTERM or SIGINT. Its log is on stderr.",
		examples: []string{"arcd serve --dev", "arcd serve --config arcd.yaml"},
	}
}

// run serves until ctx ends, as it does at SIGINT and SIGTERM, then drains.
//
//	run
//	├─ settings   read, checked, refused if nobody could call
//	├─ net.Listen
//	├─ assemble   store → methods → auth → server
//	└─ serve      until the end; drain; close in reverse order
func (c *serveCommand) run(ctx context.Context, io *console) (any, error) {
	settings, err := c.settings(io)
	if err != nil {
		return nil, err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", settings.Listen)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, outcome.Errorf(outcome.AddressInUse, "Something else listens on %s.", settings.Listen).Because(err).
				Suggest("Stop what serves there, or choose another with --listen (port 0 takes a free one).")
		}
		return nil, outcome.Errorf(outcome.Precondition, "Nothing can be served on %s: %v.", settings.Listen, err).Because(err)
	}
	defer listener.Close()
	settings.Listen = listener.Addr().String() // port 0 has become a number
	if c.Dev {
		settings.devOrigins()
	}

	app := &app{settings: settings, log: newLog(io.stderr, settings.Log)}
	if err := app.assemble(ctx, c.InsecureNoAuth); err != nil {
		return nil, errors.Join(err, app.close())
	}
	if c.Dev {
		if err := app.greet(io); err != nil {
			return nil, errors.Join(err, app.close())
		}
	}
	if io.form == "json" {
		ready := serveEvent{"ready", settings.baseURL() + "/arc", settings.Listen, os.Getpid(), version()}
		if err := io.line(ready, nil); err != nil {
			app.log.Warn().Str("event", "stdout").Err(err).Msg("nobody reads the ready line")
		}
	}
	if err := errors.Join(app.serve(ctx, listener), app.close()); err != nil {
		return nil, err
	}
	return served{settings.Listen, fmt.Sprint(context.Cause(ctx))}, nil
}

// settings reads and checks the configuration.
func (c *serveCommand) settings(io *console) (*loaded, error) {
	l, err := readConfig(c.Config, io, c.flags())
	if err != nil {
		return nil, err
	}
	if c.Dev {
		if !loopback(l.Listen) {
			return nil, notLoopback("--dev", "has an administrator and agent keys that everybody knows: it is for a loopback address, and "+l.Listen+" is not one")
		}
		l.dev()
	}
	if err := l.check(); err != nil {
		return nil, badConfig(err)
	}
	if !c.InsecureNoAuth {
		if err := l.closed(); err != nil {
			return nil, badConfig(err)
		}
		return l, nil
	}
	if !loopback(l.Listen) {
		return nil, notLoopback("--insecure-no-auth", "is for a loopback address, and "+l.Listen+" is not one")
	}
	return l, nil
}

// notLoopback refuses a flag that is not for an address which others reach.
func notLoopback(flag, what string) error {
	return outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: flag, Message: what})
}

// app is a running arcd: all its parts.
type app struct {
	settings  *loaded
	log       zerolog.Logger
	traces    *otlp.Exporter // nil: nobody asked for them
	store     engine
	registry  *registry.Registry                                   // nil: no agent registry
	elsewhere *carriers                                            // agents outside this process
	revoked   func(context.Context, *auth.Principal) (bool, error) // nil: nothing can be
	follow    *registry.Registry                                   // knows what other replicas revoke; nil: there is no token service
	service   *methods.Service
	issuer    *auth.Issuer       // nil: no token service
	providers *auth.Providers    // nil: no authentication
	limiter   *ratelimit.Limiter // nil: callers may call as often as they like
	server    *server.Server
}

// assemble makes the parts and connects them. What was made is closed by close,
// also after an error.
func (a *app) assemble(ctx context.Context, noAuth bool) (err error) {
	c := &a.settings.config
	a.openTraces(ctx)
	if a.store, err = openStore(ctx, c, a.log); err != nil {
		return storeFailed(err)
	}
	a.logStore(ctx)
	agents, err := demoAgents(c.Agents)
	if err != nil {
		return err
	}
	// In the order in which they ask each other: the registry signs with the issuer,
	// the service asks the registry for agents, the validator for what was revoked,
	// and the server all of them.
	metrics := server.NewMetrics(version())
	if err := a.openIssuer(ctx); err != nil {
		return err
	}
	calls, err := a.openRegistry(ctx, metrics)
	if err != nil {
		return err
	}
	if a.elsewhere, err = a.openCarriers(agents); err != nil {
		return err
	}
	service := serviceConfig(c, a.store, agents, a.registry, a.log)
	service.Remote, service.Tracer = a.elsewhere.directory, a.traces.Tracer()
	if c.sharedStore() {
		service.Marks, service.Presence = a.store, a.elsewhere.sockets
	}
	if service.Webhooks, err = a.openWebhooks(); err != nil {
		return err
	}
	if a.service, err = methods.New(service); err != nil {
		return err
	}
	a.elsewhere.sockets.Wake = a.service.Wake
	if err := a.openProviders(); err != nil {
		return err
	}
	cfg := serverConfig(c, a.log)
	if a.settings.forDev {
		cfg.Environment = "development"
	}
	cfg.Service, cfg.Issuer, cfg.Registry, cfg.Metrics, cfg.InsecureNoAuth = a.service, a.issuer, a.registry, metrics, noAuth
	cfg.Sockets, cfg.Tracer = a.elsewhere.sockets, a.traces.Tracer()
	if calls != nil {
		cfg.Notify = notifier(calls)
	}
	if a.limiter = callLimiter(c, a.store, a.log); a.limiter != nil {
		cfg.Calls = a.limiter
	}
	if a.providers != nil && a.issuer != nil {
		cfg.RegistryValidator = a.providers.For(auth.IssuerName, registry.AudienceValidate, registry.AudienceRegister)
	}
	if noAuth { // there may be providers all the same: of the registry's own tokens
		a.log.Warn().Str("event", "insecure").Msg("no authentication: every call is taken, with all scopes")
	} else {
		cfg.Validator = a.providers
		cfg.Ready = a.judges
	}
	if c.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return fmt.Errorf("reading tls.cert and tls.key: %w", err)
		}
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	a.server = server.New(cfg)
	return nil
}

// logStore tells which store is served.
func (a *app) logStore(ctx context.Context) {
	place, err := keptAt(a.settings.Store)
	if err != nil {
		return // it has been opened, so this does not happen
	}
	event := a.log.Info().Str("event", "store_open").Stringer("store", place)
	if tables, _, err := place.pending(ctx); err == nil {
		event.Int64("tables_version", tables)
	}
	event.Msg("the state is in " + place.String())
	if a.settings.sharedStore() {
		a.comparePublicURL(ctx)
	}
}

// comparePublicURL warns if a server that shares the store has been started within a day
// with another public URL: it is the issuer of tokens, so that callers of one are nobody
// to the other.
func (a *app) comparePublicURL(ctx context.Context) {
	const kind = "public_url"
	own, now := a.settings.baseURL(), a.store.Now()
	marks, err := a.store.Marks(ctx, kind, now)
	for _, m := range marks {
		if m.Value != own {
			a.log.Warn().Str("event", "other_public_url").Str("public_url", own).Str("other", m.Value).
				Msg("a server that shares the store was started with another public_url, not long ago; with two at once tokens and tasks of one are unknown at the other")
		}
	}
	if err == nil {
		err = a.store.SetMark(ctx, store.Mark{Kind: kind, Value: own, Expires: now.Add(24 * time.Hour)})
	}
	if err != nil {
		a.log.Warn().Str("event", "public_url_unknown").Err(err).Msg("whether others have the same public_url is not known")
	}
}

// openProviders sets up the trusted providers, which the token service is one of.
func (a *app) openProviders() (err error) {
	c := &a.settings.Auth
	trusted := providerConfigs(c.Providers)
	if a.issuer != nil {
		trusted = append(trusted, a.issuer.Provider())
	}
	if len(trusted) == 0 { // --insecure-no-auth
		return nil
	}
	leeway := c.Leeway
	if leeway == 0 {
		leeway = -1 // none; 0 would be the default
	}
	cfg := auth.Config{
		Providers: trusted, Leeway: leeway, CacheSize: c.CacheSize, Log: a.log, Revoked: a.revoked, Now: a.store.Now,
	}
	a.providers, err = auth.NewProviders(cfg)
	if err != nil {
		return fmt.Errorf("setting up auth.providers: %w", err)
	}
	return nil
}

// serve runs the parts until ctx ends or one of them fails. The background work
// outlives the server, so that calls which are being drained can end well.
func (a *app) serve(ctx context.Context, listener net.Listener) error {
	serving, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	var serviceErr error
	running.Go(func() {
		if serviceErr = a.service.Run(background); serviceErr != nil {
			fail(serviceErr)
		}
	})
	var registryErr error
	switch {
	case a.registry != nil:
		running.Go(func() { registryErr = a.registry.Run(background) })
	case a.follow != nil:
		running.Go(func() { a.follow.Follow(background) })
	}
	if a.follow != nil {
		defer a.store.Watch(func(h store.Hint) {
			if h.Registry && h.Elsewhere {
				a.follow.Look()
			}
		})()
	}
	if a.providers != nil {
		running.Go(func() { a.providers.Run(background) })
	}

	if a.settings.InsecureHTTP {
		a.log.Warn().Str("event", "insecure").Msg("plain http: tokens can be read on the way")
	}
	a.log.Info().Str("event", "serving").Str("addr", listener.Addr().String()).
		Str("url", a.settings.baseURL()).Str("version", version()).Msg("serving")
	err := a.server.Serve(serving, listener)
	stop()
	if s, ok := a.store.(interface{ Hasten() }); ok {
		s.Hasten()
	}
	running.Wait()
	a.log.Info().Str("event", "stopped").AnErr("cause", serviceErr).Msg("stopped")
	return errors.Join(err, serviceErr, registryErr)
}

// close closes what assemble opened.
func (a *app) close() error {
	defer a.closeTraces()
	if a.elsewhere != nil {
		a.elsewhere.close()
	}
	if a.limiter != nil {
		a.limiter.Close()
	}
	if a.store == nil {
		return nil
	}
	if err := a.store.Close(); err != nil {
		return fmt.Errorf("closing the store: %w", err)
	}
	return nil
}
