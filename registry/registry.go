// Package registry is the agent registry and token service of arcd (ARCP):
// agents register themselves, say that they are alive, and are found; tokens
// for that are given out, refreshed and taken back; people log in; all of it is
// written to an audit log.
//
// Every operation takes the [Caller], params and gives a result or an
// [*arc.Error] that knows its problem document. Nothing here knows HTTP: routes
// and access are in package server.
package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// The audiences of tokens that open no more than a registration. The validator
// of the ARC endpoint takes neither.
const (
	AudienceValidate = "arcp:validate" // temp tokens
	AudienceRegister = "arcp:register" // validated tokens
)

// Config says what a [Registry] works with.
type Config struct {
	// Store keeps everything. Required. The caller closes it, after Run has
	// returned.
	Store store.Registry
	// Alone says that no other process uses the store, as with an engine that one process
	// has to itself. Otherwise the registry looks all the time at what others write
	// ([Registry.Follow]), and takes no token while it cannot.
	Alone bool
	// Issuer signs the tokens and knows the administrators. Required.
	Issuer *auth.Issuer
	// Keys are what agents prove themselves with. Nil: no agent can register.
	Keys *auth.AgentKeys
	// Taken tells whether an id belongs to an agent that is not registered but
	// configured. Nil: none does.
	Taken func(id string) bool

	// Types are the types an agent may have, in any case. Empty: any.
	Types []string
	// AgentScopes are the scopes that a registered agent's token gets besides
	// arc.agent.receiver and arc.task.notify.
	AgentScopes []string
	// RequireValidation refuses a registration with a temp token: its endpoint has
	// to be validated before.
	RequireValidation bool
	// Probe looks at an agent's endpoint. Nil: endpoints are taken as they are.
	Probe Prober
	// ProbeReported lets a validation pass although the endpoint cannot be reached
	// or is somebody else's: that becomes a warning. A refused address stays
	// refused.
	ProbeReported bool
	// Public says what anonymous callers see of an agent: "card" (the default:
	// no endpoint, owner, metadata, metrics), "full", or "off".
	Public string
	// PublicURL stands in for an agent's endpoint on its public card.
	PublicURL string

	AgentTTL     time.Duration // life of a registered agent's token; default 1 h
	TempTTL      time.Duration // of a temp token; default 15 min
	ValidatedTTL time.Duration // of a validated token; default 5 min
	SessionTTL   time.Duration // of a login; default 30 min
	// MaxAge is how long after the first token a refresh still gives another one.
	// Default 7 days.
	MaxAge      time.Duration
	MaxSessions int // most sessions of one administrator; default 5
	// MaxAgents is the most registered agents; default 10,000. Replicas that register
	// agents at the same moment may exceed it by one each.
	MaxAgents int

	// HeartbeatTimeout is the silence after which an agent counts as dead. Default
	// 60 s.
	HeartbeatTimeout time.Duration
	// RemoveAfter is the silence after which an agent is removed. Default 24 h;
	// negative: never.
	RemoveAfter time.Duration
	// AuditRetention is how long the audit log is kept. Default 30 days; negative:
	// for ever.
	AuditRetention time.Duration

	// Observe is told what happened, for counters. Nil: nobody is.
	Observe func(Happening)
	// Now is the clock; one that all replicas share, if there are several. Default
	// time.Now.
	Now func() time.Time
	// Log gets the audit lines. The zero Logger writes nothing to it; the store
	// gets them in any case.
	Log zerolog.Logger
}

// Happening is something that is worth counting.
type Happening struct {
	Event     string // as in the audit log, and heartbeat, search
	Outcome   string // "ok" or "refused"
	AgentType string // of a registration
	AuthType  string // of a login or token: admin, agent, token, client
	Reason    string // of a refusal, or of a removal
}

// Registry owns the agents, sessions and tokens. Its methods are safe for
// concurrent use.
type Registry struct {
	cfg   Config
	store store.Registry
	log   zerolog.Logger
	types map[string]bool // in lower case; empty: any

	secret []byte // of agents' subjects

	others   replicas
	agents   directory
	revoked  revocations
	sessions sessions
	temps    temps
	checks   checks
	audit    auditLog
}

// Open reads what the store has. Nothing runs before [Registry.Run].
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	if cfg.Store == nil || cfg.Issuer == nil {
		return nil, errors.New("registry: Config.Store and Config.Issuer are required")
	}
	for _, audience := range cfg.Issuer.Provider().Audience {
		if audience == AudienceValidate || audience == AudienceRegister {
			return nil, fmt.Errorf("registry: %s is the audience of tokens for registering, and cannot be one of the issuer's", audience)
		}
	}
	setDefaults(&cfg)
	r := &Registry{cfg: cfg, store: cfg.Store, log: cfg.Log, types: map[string]bool{}}
	if err := r.setTypes(); err != nil {
		return nil, err
	}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	r.checks.done = make(map[string]*check)
	r.audit.begin()
	return r, nil
}

// load reads everything for the first time.
func (r *Registry) load(ctx context.Context) error {
	now, o := r.now(), &r.others
	o.self, o.wake = rand.Text(), make(chan struct{}, 1)
	o.good.Store(&[2]time.Time{time.Now(), now})
	c, err := r.store.Changes(ctx, 0) // first: what is written meanwhile is among the next changes
	if err != nil {
		return fmt.Errorf("reading the version: %w", err)
	}
	o.version = c.Version
	if err := r.reload(ctx, now); err != nil {
		return err
	}
	if err := r.loadSecret(ctx, now); err != nil {
		return fmt.Errorf("reading the secret: %w", err)
	}
	return nil
}

func setDefaults(cfg *Config) {
	defaultTo(&cfg.Public, "card")
	defaultTo(&cfg.AgentTTL, time.Hour)
	defaultTo(&cfg.TempTTL, 15*time.Minute)
	defaultTo(&cfg.ValidatedTTL, 5*time.Minute)
	defaultTo(&cfg.SessionTTL, 30*time.Minute)
	defaultTo(&cfg.MaxAge, 7*24*time.Hour)
	defaultTo(&cfg.MaxSessions, 5)
	defaultTo(&cfg.MaxAgents, 10_000)
	defaultTo(&cfg.HeartbeatTimeout, time.Minute)
	defaultTo(&cfg.RemoveAfter, 24*time.Hour)
	defaultTo(&cfg.AuditRetention, 30*24*time.Hour)
	if cfg.Taken == nil {
		cfg.Taken = func(string) bool { return false }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Happening) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ValidType tells whether a text can be an agent's type: 2 to 50 letters, digits, _
// and - (contract section 4.1).
func ValidType(t string) bool { return typeForm.matches(t) }

var typeForm = newForm(`^[A-Za-z0-9_-]{2,50}$`)
