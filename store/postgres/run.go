package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arcd-io/arcd/store"
)

// querier is what reads need of a connection, a pool or a transaction.
type querier interface {
	Query(ctx context.Context, text string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, text string, args ...any) pgx.Row
}

// read runs f, which reads only, on the pool. Where the connection was lost it is run
// again: f must begin anew each time.
func (s *Engine) read(ctx context.Context, what string, f func(q querier) error) error {
	if err := s.gate.Enter(); err != nil {
		return err
	}
	defer s.gate.Leave()
	ctx, stop := s.untilEnd(ctx)
	defer stop()
	return s.again(ctx, what, func() error {
		attempt, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return f(within{attempt, s.pool})
	})
}

// within is a pool whose statements end with ctx, whatever theirs is.
type within struct {
	ctx  context.Context
	pool *pgxpool.Pool
}

func (w within) Query(_ context.Context, text string, args ...any) (pgx.Rows, error) {
	return w.pool.Query(w.ctx, text, args...)
}

func (w within) QueryRow(_ context.Context, text string, args ...any) pgx.Row {
	return w.pool.QueryRow(w.ctx, text, args...)
}

// untilEnd gives a context that ends with ctx, or when the engine waits no longer.
func (s *Engine) untilEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ending, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// write runs f in a transaction (READ COMMITTED) and commits it. Where that fails
// for a reason that passes, all of it is done again: f must begin anew each time, and use
// the context that it is given. An error that f itself makes (store.ErrConflict) undoes
// the transaction.
//
// Where the connection is lost during the commit nobody knows whether it was made,
// and it may be made twice: f must be such that this does no harm.
func (s *Engine) write(ctx context.Context, what string, f func(ctx context.Context, tx pgx.Tx) error) error {
	if err := s.gate.Enter(); err != nil {
		return err
	}
	defer s.gate.Leave()
	ctx, stop := s.untilEnd(ctx)
	defer stop()
	return s.again(ctx, what, func() error {
		attempt, cancel := context.WithTimeout(ctx, transactionTime)
		defer cancel()
		return pgx.BeginFunc(attempt, s.pool, func(tx pgx.Tx) error { return f(attempt, tx) })
	})
}

const (
	// patience is how long what fails for a reason that passes is tried again.
	patience = 10 * time.Second
	// attemptTime is how long one attempt to write may take. A server that is gone
	// without a word (its machine is off, the network is cut) never says so: what has
	// waited for so long is tried again over another connection.
	attemptTime = patience / 2
	// transactionTime is the same for a transaction of several round trips, which may
	// remove a lot.
	transactionTime = 3 * patience
)

// again calls f until it works, or fails for good, or patience ends.
func (s *Engine) again(ctx context.Context, what string, f func() error) error {
	end := time.Now().Add(patience)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := f()
		if err == nil || known(err) {
			return err
		}
		kind := passing(err)
		if _, refused := errors.AsType[*pgconn.ConnectError](err); refused {
			kind = connection // whatever the server has against us now, it took us at the start
		}
		if ctx.Err() != nil && s.ending.Err() == nil {
			return ctx.Err()
		}
		if kind == forGood || time.Now().After(end) || kind == connection && s.isClosing() {
			if kind == connection {
				err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
			}
			return fmt.Errorf("%s: %w", what, err)
		}
		timer := time.NewTimer(rand.N(pause) + pause/2)
		select {
		case <-timer.C:
		case <-s.closing:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// isClosing tells whether Close was called.
func (s *Engine) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// known tells the errors that are answers.
func known(err error) bool {
	if _, ok := errors.AsType[*store.ReplayError](err); ok {
		return true
	}
	for _, answer := range []error{store.ErrNotFound, store.ErrConflict, store.ErrExists, store.ErrClosed, store.ErrUnavailable} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// errAgain makes a transaction begin anew.
var errAgain = errors.New("somebody else was faster")

// The kinds of failures.
type failure int

const (
	forGood       failure = iota // it will fail again
	serialization                // others were in the way, nothing was done
	connection                   // the server is not there; what was under way may be done or not
)

// passing tells what kind of failure it is (PostgreSQL's appendix A: error codes). A
// time that ran out is that of an attempt: whose caller waits no longer asks nobody.
func passing(err error) failure {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if errors.Is(err, errAgain) {
			return serialization
		}
		return connection
	}
	switch e.Code {
	case "40001", "40P01", "55P03", // serialization failure, deadlock, lock not available
		"0A000", "26000": // a prepared statement whose tables have changed
		return serialization
	case "57P01", "57P02", "57P03", // shutdown, crash, starting
		"57014", "57P05", "25P03", "25P04", // time limits of the server: of statements, sessions, transactions
		"53100", "53200", "53300", // disk full, out of memory, too many connections
		"25006": // read only: a standby
		return connection
	}
	if e.Code[:2] == "08" { // connection exception
		return connection
	}
	return forGood
}
