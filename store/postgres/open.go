// Package postgres keeps the state in PostgreSQL 15 or later, which many processes
// can share: each is a replica. It uses nothing that CockroachDB, YugabyteDB and Citus
// lack (a test reads its statements), but it was run on PostgreSQL only.
//
// What is in which file:
//
//	open, upgrade, check   connecting, tables, settings
//	commit, batch          changes of threads: group commit, one round trip
//	read, query, ready     threads, histories, lists, queues
//	subscription, claim    who is told what
//	agent, word, mark …    the registry
//	notify, clock          what replicas tell each other, and by which time
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// Config says which database, and how it is used.
type Config struct {
	// URL names the database: postgres://user@host/db, with the parameters of libpq
	// and pgx (sslmode, pool_max_conns, default_query_exec_mode, …). What it leaves out
	// comes from the PG* environment variables and the password file. Required.
	URL string
	// Hints carries hints to and from the other replicas. Nil: NOTIFY does, over a
	// connection of its own.
	Hints store.Hints
	// Unsafe takes a server that may lose what it has acknowledged (fsync,
	// full_page_writes or synchronous_commit off).
	Unsafe bool
	// Now tells the time. Nil: the database server's clock, so that all replicas agree.
	Now func() time.Time
	// Log takes what nobody asked for: lost connections. The zero Logger writes nothing.
	Log zerolog.Logger
	// CacheBytes is how much memory recent threads may take. 0: 64 MiB.
	CacheBytes int
}

// Defaults of a pool. A replica's throughput does not rise beyond.
const (
	maxConns          = 16
	defaultCacheBytes = 64 << 20

	// connectTime is how long it may take to connect to one of the hosts, pingTime how
	// long a connection that was idle may take to answer: a machine that is off does
	// not refuse, and the next one has to get its turn.
	connectTime = 5 * time.Second
	pingTime    = 2 * time.Second
)

// Engine is an open database. It implements [store.Store], [store.Registry] and
// [store.Quota].
type Engine struct {
	cfg     Config
	pool    *pgxpool.Pool
	log     zerolog.Logger
	cache   *engine.Cache // what threads were at the last look: see [store.Store.Recent]
	watch   engine.Watchers
	gate    engine.Gate
	clock   clock
	w       *writers
	hints   store.Hints
	changes changes // of the registry, on their way
	quota   pruning // of [Engine.Take]

	present *presence // this process among those who have the database open

	stop context.CancelFunc // of what runs in the background
	work sync.WaitGroup

	closing  chan struct{} // closed by Hasten
	closeOne sync.Once
	ending   context.Context // ends attemptTime after Hasten, with all that still waits for an answer
	end      context.CancelFunc
}

var (
	_ store.Store    = (*Engine)(nil)
	_ store.Registry = (*Engine)(nil)
	_ store.Quota    = (*Engine)(nil)
)

// Open connects and brings the tables up to date. Errors say what to do; none shows
// a password: *[AccessError], [store.ErrUnavailable], [transfer.ErrNewer],
// [transfer.ErrForeign], [transfer.ErrUnfinished], [transfer.ErrLocked].
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", explain(err))
	}
	return s, nil
}

func open(ctx context.Context, cfg Config) (_ *Engine, err error) {
	pool, err := poolConfig(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, pool.ConnConfig); err != nil {
		return nil, err
	}
	s := &Engine{cfg: cfg, log: cfg.Log, closing: make(chan struct{})}
	s.ending, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if s.pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.end()
			s.pool.Close()
		}
	}()
	if err := s.checkSettings(ctx); err != nil {
		return nil, err
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCacheBytes
	}
	s.cache = engine.NewCache(cfg.CacheBytes)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	if err := s.startClock(ctx, background); err != nil {
		stop()
		return nil, err
	}
	if err := s.startReplica(ctx, background); err != nil {
		stop()
		s.work.Wait()
		return nil, err
	}
	s.w = s.startWriters()
	s.startHints(background, pool.ConnConfig)
	return s, nil
}

// poolConfig reads a URL. pgx's errors show the URL without its password.
func poolConfig(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	own, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if _, set := own.RuntimeParams["pool_max_conns"]; !set {
		cfg.MaxConns = maxConns
	}
	if _, set := own.RuntimeParams["pool_ping_timeout"]; !set {
		cfg.PingTimeout = pingTime
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTime
	}
	cfg.AfterConnect = prepareSession
	if _, set := cfg.ConnConfig.RuntimeParams["application_name"]; !set {
		cfg.ConnConfig.RuntimeParams["application_name"] = "arcd"
	}
	return cfg, nil
}

// prepareSession keeps the planner from reading whole tables. It does so where it
// believes them small, as new ones are until they are first counted; every statement
// here has an index. Relatives of PostgreSQL that do not know the settings need none.
//
// The isolation is that which the statements are made for, whatever the server's
// default: under a stricter one, who waited for a row would not see the subscription
// that was made meanwhile, and wake nobody.
func prepareSession(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SET default_transaction_isolation = 'read committed'; SET enable_seqscan = off; SET jit = off;
		SET plan_cache_mode = force_generic_plan`)
	if _, refused := errors.AsType[*pgconn.PgError](err); refused {
		return nil
	}
	return err
}

// CheckURL tells what is wrong with a URL. The error shows no password.
func CheckURL(url string) error {
	_, err := poolConfig(url)
	return err
}

// Hasten says that Close will follow: nobody waits any more for a server that is away, and
// from attemptTime on for none that says nothing. What becomes of changes that are on
// their way or queued by then is unknown.
func (s *Engine) Hasten() {
	s.closeOne.Do(func() {
		close(s.closing)
		time.AfterFunc(attemptTime, s.end)
	})
}

// Close implements [store.Store]. It waits for the changes that are queued and the
// reads that run; see [Engine.Hasten] for how long.
func (s *Engine) Close() error {
	s.Hasten()
	if !s.gate.Shut() {
		return store.ErrClosed
	}
	s.w.close()
	s.stop()
	s.work.Wait()
	s.end()
	s.closePool()
	return nil
}

// closePool takes leave of the server. Where that says nothing the pool would wait for 15 s
// for the connections on which an answer is missing.
func (s *Engine) closePool() {
	closed := make(chan struct{})
	go func() {
		s.pool.Close()
		close(closed)
	}()
	timer := time.NewTimer(pingTime)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
	}
}

// noRows tells whether a row is not there.
func noRows(err error) bool { return errors.Is(err, pgx.ErrNoRows) }
