package registry_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store/sqlite"
)

const issuerURL = "http://127.0.0.1:8001"

// clock is set by tests.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a registry on a real store, with a real issuer and validator.
type world struct {
	t       *testing.T
	clock   *clock
	folder  string
	cfg     registry.Config
	keys    []string
	db      *sqlite.Engine
	reg     *registry.Registry
	all     auth.Validator // of the registry's routes
	arcOnly auth.Validator // of /arc
	hooks   *hookedStore   // nil: none
	closed  bool
}

// start makes a world with administrators root and second, password "pass word"
// each, and the agent keys key-1, key-2, key-3 and bound=key-b.
func start(t *testing.T, change func(*registry.Config)) *world {
	t.Helper()
	w := &world{
		t: t, folder: t.TempDir(), clock: &clock{at: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)},
		keys: []string{"key-1", "key-2", "key-3", "bound=key-b"},
	}
	if change != nil {
		change(&w.cfg)
	}
	w.open()
	t.Cleanup(w.close)
	return w
}

// clients is the file of further clients.
func (w *world) clients() string { return filepath.Join(w.folder, "clients.json") }

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db, err = sqlite.Open(w.t.Context(), sqlite.Config{File: filepath.Join(w.folder, "arcd.db")}); err != nil {
		w.t.Fatal(err)
	}
	issuer, err := auth.OpenIssuer(auth.IssuerConfig{
		URL: issuerURL, KeyFile: filepath.Join(w.folder, "keys.json"), LongestTTL: time.Hour, Now: w.clock.Now,
		ClientsFile: w.clients(),
		Clients: map[string]auth.Client{
			"root":   {SecretHash: cheapHash("pass word"), Admin: true},
			"second": {SecretHash: cheapHash("pass word"), Admin: true},
			"plain":  {SecretHash: cheapHash("pass word"), Scopes: []string{auth.ScopeCaller}},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{Entries: w.keys, Now: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := w.cfg
	cfg.Store, cfg.Issuer, cfg.Keys, cfg.Now, cfg.PublicURL = w.db, issuer, keys, w.clock.Now, issuerURL
	if w.hooks != nil {
		w.hooks.Registry, cfg.Store = w.db, w.hooks
	}
	if w.reg, err = registry.Open(w.t.Context(), cfg); err != nil {
		w.t.Fatal(err)
	}
	providers, err := auth.NewProviders(auth.Config{
		Providers: []auth.Provider{issuer.Provider()}, Revoked: w.reg.Revoked, Now: w.clock.Now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.arcOnly = providers
	w.all = providers.For(auth.IssuerName, registry.AudienceValidate, registry.AudienceRegister)
	w.closed = false
}

func (w *world) close() {
	if w.closed {
		return
	}
	w.closed = true
	// Run writes what is left when its context ends.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.reg.Run(ctx); err != nil {
		w.t.Errorf("Run: %v", err)
	}
	if err := w.db.Close(); err != nil {
		w.t.Errorf("closing the store: %v", err)
	}
}

// restart opens everything anew on the same files.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
}

// cheapHash is a valid argon2id hash that costs next to nothing to verify.
func cheapHash(secret string) string {
	salt := []byte("0123456789abcdef")
	enc := base64.RawStdEncoding
	return "$argon2id$v=19$m=8,t=1,p=1$" + enc.EncodeToString(salt) + "$" +
		enc.EncodeToString(argon2.IDKey([]byte(secret), salt, 1, 8, 1, 32))
}

// caller is who presents the token, as the server makes it; fatal if the token is
// refused.
func (w *world) caller(token string) *registry.Caller {
	w.t.Helper()
	p, err := w.all.Validate(w.t.Context(), token)
	if err != nil {
		w.t.Fatalf("Validate: %v", err)
	}
	return &registry.Caller{Principal: p, Remote: "127.0.0.1", RequestID: "req_" + rand.Text(), Fingerprint: "fp"}
}

// revoked tells whether a principal's token is over; fatal if that is not known.
func (w *world) revoked(p *auth.Principal) bool {
	w.t.Helper()
	over, err := w.reg.Revoked(w.t.Context(), p)
	if err != nil {
		w.t.Fatalf("Revoked: %v", err)
	}
	return over
}

func nobody() *registry.Caller {
	return &registry.Caller{Remote: "127.0.0.1", RequestID: "req_test", Fingerprint: "fp"}
}

// temp gets a temp token.
func (w *world) temp(id, key string) string {
	w.t.Helper()
	got, err := w.reg.RequestTempToken(w.t.Context(), nobody(), arc.TempTokenParams{AgentID: id, AgentType: "testing", AgentKey: key})
	if err != nil {
		w.t.Fatalf("RequestTempToken(%s, %s): %v", id, key, err)
	}
	return got.TempToken
}

// login opens a session of root.
func (w *world) login() *registry.Caller {
	w.t.Helper()
	got, err := w.reg.Login(w.t.Context(), nobody(), arc.LoginParams{Username: "root", Password: "pass word"})
	if err != nil {
		w.t.Fatalf("Login: %v", err)
	}
	return w.caller(got.AccessToken)
}

// form is a registration that is good.
func form(id string) arc.Registration {
	return arc.Registration{
		AgentID: id, Name: "Agent " + id[:min(len(id), 20)], AgentType: "testing", Endpoint: "http://127.0.0.1:9/agent",
		ContextBrief: "Processes incoming data for tests", Capabilities: []string{"data-processing"}, Owner: "tests",
		PublicKey: strings.Repeat("A", 40), Metadata: map[string]any{"region": "north"}, Version: "1.0.0", CommunicationMode: "remote",
	}
}

// register registers an agent with a key and gives its caller.
func (w *world) register(id, key string) *registry.Caller {
	w.t.Helper()
	got, err := w.reg.Register(w.t.Context(), w.caller(w.temp(id, key)), form(id))
	if err != nil {
		w.t.Fatalf("Register(%s): %v", id, err)
	}
	return w.caller(got.AccessToken)
}

// tokenOf registers an agent with a key and gives its token.
func (w *world) tokenOf(id, key string) string {
	w.t.Helper()
	got, err := w.reg.Register(w.t.Context(), w.caller(w.temp(id, key)), form(id))
	if err != nil {
		w.t.Fatalf("Register(%s): %v", id, err)
	}
	return got.AccessToken
}

// wantProblem checks the kind of a refusal and its error_code.
func wantProblem(t *testing.T, err error, kind arc.Problem, code string) {
	t.Helper()
	e, ok := errors.AsType[*arc.Error](err)
	if !ok {
		t.Fatalf("got %v, want the problem %s %s", err, kind, code)
	}
	if e.Kind() != kind || e.ErrorCode() != code {
		t.Fatalf("got the problem %s %s (%s), want %s %s", e.Kind(), e.ErrorCode(), e.Message, kind, code)
	}
}

// wantRefused checks that a validator refuses the token for this reason.
func (w *world) wantRefused(v auth.Validator, token, reason string) {
	w.t.Helper()
	_, err := v.Validate(w.t.Context(), token)
	e, ok := errors.AsType[*arc.Error](err)
	if !ok || e.Reason() != reason {
		w.t.Fatalf("Validate gave %v, want the reason %s", err, reason)
	}
}
