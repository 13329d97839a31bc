package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arcd-io/arcd/store/transfer"
)

// Each process that has the database open keeps a row in replica, so that others know
// of it. A row counts until its time is over: who dies is forgotten.
const (
	replicaLease = 12 * time.Second
	renewReplica = 3 * time.Second
)

// The roles of those who have the database open.
const (
	serverRole = "server"
	copyRole   = "copy" // wants it alone
)

// dbNow is the database server's time in milliseconds.
const dbNow = `(extract(epoch FROM clock_timestamp()) * 1000)::bigint`

// presence is a row in replica.
type presence struct {
	id, role string
	others   atomic.Bool // servers beside this one were there at the last look
}

func newPresence(role string) *presence { return &presence{id: rand.Text(), role: role} }

// database is what a presence needs of a connection or a pool.
type database interface {
	querier
	Exec(ctx context.Context, text string, args ...any) (pgconn.CommandTag, error)
}

const (
	announceReplica = `INSERT INTO replica (id, role, host, since, until)
		VALUES ($1, $2, $3, ` + dbNow + `, ` + dbNow + ` + $4::bigint)
		ON CONFLICT (id) DO UPDATE SET until = excluded.until`
	otherReplicas = `SELECT role, host FROM replica WHERE id <> $1 AND until > ` + dbNow + ` ORDER BY since, id`
)

// announce writes or renews the row, and looks who else is there. Of two who want what
// excludes the other, each has written its row before it looks, so at least one of
// them sees the other. Errors: [transfer.ErrLocked], [transfer.ErrInUse],
// [transfer.ErrUnfinished].
func (p *presence) announce(ctx context.Context, db database) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if _, err := db.Exec(ctx, announceReplica, p.id, p.role, put(host), replicaLease.Milliseconds()); err != nil {
		return err
	}
	return p.look(ctx, db)
}

// look refuses to be there beside those who exclude it.
func (p *presence) look(ctx context.Context, q querier) error {
	rows, err := q.Query(ctx, otherReplicas, p.id)
	if err != nil {
		return err
	}
	var role, host string
	servers := 0
	_, err = pgx.ForEachRow(rows, []any{&role, &host}, func() error {
		if role == serverRole {
			servers++
		}
		switch {
		case role == copyRole:
			return fmt.Errorf("%w (by a process on %s)", transfer.ErrLocked, got(host))
		case p.role == copyRole:
			return fmt.Errorf("%w (one is on %s)", transfer.ErrInUse, got(host))
		}
		return nil
	})
	if err == nil { // or there may be others whose rows were not read
		p.others.Store(servers > 0)
	}
	if err != nil || p.role == copyRole {
		return err
	}
	return unfinished(ctx, q)
}

// unfinished gives an error if a copy into the database was not finished.
func unfinished(ctx context.Context, q querier) error {
	var source string
	err := q.QueryRow(ctx, `SELECT source FROM transfer WHERE id = 1`).Scan(&source)
	switch {
	case noRows(err):
		return nil
	case err == nil:
		err = fmt.Errorf("copy of %s: %w", got(source), transfer.ErrUnfinished)
	}
	return err
}

// leave removes the row.
func (p *presence) leave(ctx context.Context, db database) error {
	_, err := db.Exec(ctx, `DELETE FROM replica WHERE id = $1 OR until < `+dbNow+` - 86400000`, p.id)
	return err
}

// startReplica makes this process known, or refuses to open a database that is being
// copied. Should that begin while the process was away for longer than its row
// counts, it stops writing.
func (s *Engine) startReplica(ctx, background context.Context) error {
	p := newPresence(serverRole)
	if err := p.announce(ctx, s.pool); err != nil {
		return errors.Join(err, p.leave(context.WithoutCancel(ctx), s.pool))
	}
	s.present = p
	s.work.Go(func() {
		ticker := time.NewTicker(renewReplica)
		defer ticker.Stop()
		for {
			select {
			case <-background.Done():
				ending, cancel := context.WithTimeout(context.WithoutCancel(background), time.Second)
				_ = p.leave(ending, s.pool) // or the row runs out
				cancel()
				return
			case <-ticker.C:
				// Over a connection that says nothing the row would run out.
				announcing, cancel := context.WithTimeout(background, renewReplica)
				err := p.announce(announcing, s.pool)
				cancel()
				if excluded(err) && s.gate.Fatal.CompareAndSwap(nil, &err) {
					s.log.Error().Err(err).Msg("store stopped")
				}
			}
		}
	})
	return nil
}

// excluded tells whether somebody else wants the database alone.
func excluded(err error) bool {
	return errors.Is(err, transfer.ErrLocked) || errors.Is(err, transfer.ErrUnfinished)
}
