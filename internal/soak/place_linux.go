package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/pgtest"
)

// owners are those whose tasks must stay apart.
var owners = []string{"alice", "bob", "carol"}

// place is where a soak runs: replicas on one store, behind a front.
type place struct {
	engine   string // postgres or sqlite
	dir      string
	database *pgtest.Server // nil: the store is a SQLite file
	disk     disk           // of that; nil: PostgreSQL
	store    string         // as the configuration names it
	replicas []*replica
	front    *front
	tokens   []string // of the owners
	agent    string   // token of the agent that dials in
}

const callerScopes = "arc.task.controller,arc.chat.controller,arc.agent.caller"

// newPlace makes one and starts its replicas.
func newPlace(ctx context.Context, engine, dir, binary string) (_ *place, err error) {
	p := &place{engine: engine, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	replicas := 3
	if engine == "sqlite" {
		replicas = 1
		folder := filepath.Join(dir, "disk")
		p.store = "sqlite:" + filepath.Join(folder, "arcd.db")
		if p.disk, err = newDisk(folder); err != nil {
			return nil, err
		}
	} else {
		if p.database, err = pgtest.New(pgtest.Config{Durable: true}); err != nil {
			return nil, err
		}
		p.store = p.database.URL("postgres")
	}
	var addrs []string
	for n := range replicas {
		port, err := pgtest.FreePort()
		if err != nil {
			return nil, err
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		addrs = append(addrs, addr)
		p.replicas = append(p.replicas, &replica{name: fmt.Sprint("replica ", n+1), dir: filepath.Join(dir, fmt.Sprint("replica", n+1)), addr: addr, binary: binary, code: -1})
	}
	if p.front, err = newFront(addrs); err != nil {
		return nil, err
	}
	return p, p.begin(ctx)
}

// begin starts the replicas and makes the tokens.
func (p *place) begin(ctx context.Context) error {
	for _, r := range p.replicas {
		if err := os.MkdirAll(r.dir, 0o700); err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(r.config(), []byte(p.config(r)), 0o600), setClock(r.clock(), 0)); err != nil {
			return err
		}
		if err := r.start(ctx); err != nil {
			return err
		}
	}
	for _, name := range owners {
		token, err := p.token(ctx, "--sub", name, "--scope", callerScopes)
		if err != nil {
			return err
		}
		p.tokens = append(p.tokens, token)
	}
	var err error
	p.agent, err = p.token(ctx, "--sub", "live", "--agent", "live", "--scope", "arc.agent.receiver,arc.task.notify")
	return err
}

// config is that of a replica. Leases are short, so that work of those that were killed
// goes on soon, and there are as many attempts as there may be kills.
func (p *place) config(r *replica) string {
	return fmt.Sprintf(`listen: %s
public_url: %s
store: %s
log: {format: json, level: warn}
auth: {issuer: {enabled: true}}
lease: 3s
max_attempts: 100
drain_delay: 200ms
drain_timeout: 3s
event_gap: 5ms
webhooks: {allow: [127.0.0.0/8], allow_http: true}
agents:
  echo: {kind: demo}
  slow: {kind: demo}
  input: {kind: demo}
  stream: {kind: demo}
  live: {kind: websocket}
`, r.addr, p.front.url(), p.store)
}

// token mints one that outlasts the run.
func (p *place) token(ctx context.Context, flags ...string) (string, error) {
	args := append([]string{"dev", "token", "--unmask", "-o", "plain", "--ttl", "12h"}, flags...)
	out, err := p.run(ctx, args...)
	return strings.TrimSpace(out), err
}

// run runs a command of arcd with the configuration of the first replica.
func (p *place) run(ctx context.Context, args ...string) (string, error) {
	r := p.replicas[0]
	cmd := exec.CommandContext(ctx, r.binary, append(args, "--config", r.config())...)
	cmd.Dir = r.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("arcd %s: %w\n%s%s", strings.Join(args[:2], " "), err, out, &stderr)
	}
	return string(out), nil
}

// client gives one of a caller, which repeats by its usual rule, but longer: faults follow
// each other here. Every connection is a new one if fresh, so that each call meets another
// replica.
func (p *place) client(token string, fresh bool) *client.Client {
	return &client.Client{
		URL: p.front.url(), Token: client.StaticToken(token), Attempts: 12, Retries: 40,
		HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableKeepAlives: fresh, IdleConnTimeout: 10 * time.Second}},
	}
}

// ask is a message of a caller.
func ask(text string) *arc.Message {
	m := arc.Text(arc.RoleUser, text)
	return &m
}

// remove ends everything that runs.
func (p *place) remove() error {
	for _, r := range p.replicas {
		r.kill()
	}
	if p.front != nil {
		p.front.close()
	}
	if p.database != nil {
		p.database.Remove()
	}
	if p.disk != nil {
		return p.disk.remove()
	}
	return nil
}
