package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/transfer"
)

// Reader gives a database as rows. It implements [transfer.Reader].
type Reader struct {
	conn *pgx.Conn // reads, in one transaction: it sees one moment
	hold *hold     // nil: servers may be there
}

var (
	_ transfer.Reader = (*Reader)(nil)
	_ transfer.Writer = (*Writer)(nil)
)

// OpenReader opens a database to be read whole, as it is now. alone has servers kept
// away until Close, and is refused while there are any; otherwise they may go on.
// Errors: [transfer.ErrVersion], [transfer.ErrUnfinished], [transfer.ErrInUse],
// [transfer.ErrLocked].
func OpenReader(ctx context.Context, url string, alone bool) (*Reader, error) {
	r, err := openReader(ctx, url, alone)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", explain(err))
	}
	return r, nil
}

func openReader(ctx context.Context, url string, alone bool) (_ *Reader, err error) {
	cfg, err := connConfig(url)
	if err != nil {
		return nil, err
	}
	has, known, err := versions(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if has != known {
		return nil, versionError(has, known)
	}
	r := &Reader{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.conn, err = connectForLong(ctx, cfg); err != nil {
		return nil, err
	}
	if err := unfinished(ctx, r.conn); err != nil {
		return nil, err
	}
	if alone {
		if r.hold, err = startHold(ctx, cfg); err != nil {
			return nil, err
		}
	}
	_, err = r.conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
	return r, err
}

// connConfig reads a URL for a connection of its own.
func connConfig(url string) (*pgx.ConnConfig, error) {
	cfg, err := poolConfig(url)
	if err != nil {
		return nil, err
	}
	return cfg.ConnConfig, nil
}

// connect makes a connection. [store.ErrUnavailable] if nobody is there.
func connect(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil && passing(err) == connection && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return c, err
}

// connectForLong is connect for statements and transactions that take as long as there
// are rows, and wait for the other side: limits that role or database have for servers do
// not hold for them.
func connectForLong(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	c, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for _, limit := range []string{"statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"} {
		_, err := c.Exec(ctx, "SET "+limit+" = 0")
		if _, refused := errors.AsType[*pgconn.PgError](err); err != nil && !refused { // PostgreSQL 16 and relatives lack some
			return nil, errors.Join(err, c.Close(ctx))
		}
	}
	return c, nil
}

// closing is how long it may take to say good-bye.
const closing = 5 * time.Second

// Close implements [transfer.Reader].
func (r *Reader) Close() error {
	var err error
	if r.hold != nil {
		err = r.hold.release()
	}
	if r.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closing)
		defer cancel()
		err = errors.Join(err, r.conn.Close(ctx))
	}
	return err
}

// pageRows is how many rows one statement reads.
const pageRows = 1000

// Rows implements [transfer.Reader]. It reads pages by the key: a statement that reads
// all would sort all.
func (r *Reader) Rows(ctx context.Context, t *transfer.Table, each func(transfer.Row) error) error {
	if t.Name == transfer.AuditState {
		_, err := r.page(ctx, t, `SELECT last, late FROM audit_next`, nil, each)
		return err
	}
	if t.Name == transfer.Log {
		return r.logRows(ctx, t, each)
	}
	first, next := pageQueries(t)
	last, err := r.page(ctx, t, first, nil, each)
	for err == nil && last != nil {
		last, err = r.page(ctx, t, next, last, each)
	}
	return err
}

// pageQueries gives the statements for the first page of a table, and for the one
// behind a key.
func pageQueries(t *transfer.Table) (first, next string) {
	key, places := strings.Join(t.Names()[:t.Key], ", "), "$1"
	if t.Key == 2 {
		places = "$1, $2"
	}
	from := `SELECT ` + strings.Join(t.Names(), ", ") + ` FROM ` + t.Name
	order := fmt.Sprintf(" ORDER BY %s LIMIT %d", key, pageRows)
	return from + order, from + " WHERE (" + key + ") > (" + places + ")" + order
}

// logRows gives the rows of the log that belong to threads: those of so many threads at
// a time. A join would be one statement, and its plan a matter of luck.
func (r *Reader) logRows(ctx context.Context, t *transfer.Table, each func(transfer.Row) error) error {
	const someThreads = `SELECT id FROM thread WHERE id > $1 ORDER BY id LIMIT $2`
	for after := ""; ; {
		rows, err := r.conn.Query(ctx, someThreads, after, pageRows)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		next := 0
		_, err = r.page(ctx, t, logRange, []any{ids[0], after}, func(row transfer.Row) error {
			id, _ := row[0].(string)
			for next < len(ids) && got(ids[next]) < id {
				next++
			}
			if next == len(ids) || got(ids[next]) != id {
				return nil // it belongs to nothing
			}
			return each(row)
		})
		if err != nil {
			return err
		}
	}
}

// logRange is the log of the threads with ids from $1 to $2.
const logRange = `SELECT thread, pos, seq, events, items FROM log WHERE thread >= $1 AND thread <= $2 ORDER BY thread, pos`

// page reads a page and gives the key of its last row; nil: there are no more.
func (r *Reader) page(
	ctx context.Context, t *transfer.Table, text string, after []any, each func(transfer.Row) error,
) (last []any, err error) {
	if r.hold != nil && r.hold.lost.Load() {
		return nil, errors.New("the connection was lost that keeps servers away from the database")
	}
	rows, err := r.conn.Query(ctx, text, after...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, err
		}
		if n++; n == pageRows {
			last = values[:t.Key:t.Key]
			values = append([]any(nil), values...)
		}
		for i, v := range values {
			if s, ok := v.(string); ok {
				values[i] = got(s)
			}
		}
		row, err := t.Row(values)
		if err != nil {
			return nil, err
		}
		if err := each(row); err != nil {
			return nil, err
		}
	}
	return last, rows.Err()
}

// hold keeps servers away from a database for as long as it is held.
type hold struct {
	presence *presence
	conn     *pgx.Conn
	lost     atomic.Bool // it could not be renewed: servers may be there
	stop     context.CancelFunc
	work     sync.WaitGroup
}

// startHold takes the database alone.
func startHold(ctx context.Context, cfg *pgx.ConnConfig) (*hold, error) {
	conn, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	h := &hold{presence: newPresence(copyRole), conn: conn}
	held, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	if err := h.presence.announce(ctx, conn); err != nil {
		return nil, errors.Join(err, h.release())
	}
	h.work.Go(func() {
		ticker := time.NewTicker(renewReplica)
		defer ticker.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-ticker.C:
				h.renew()
			}
		}
	})
	return h, nil
}

// renew renews the row. A server that came meanwhile has seen it, and goes again.
func (h *hold) renew() {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if err := h.presence.announce(ctx, h.conn); err != nil && !errors.Is(err, transfer.ErrInUse) {
		h.lost.Store(true)
	}
}

// release lets servers in again.
func (h *hold) release() error {
	h.stop()
	h.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if h.conn.IsClosed() {
		return nil // the row runs out
	}
	return errors.Join(h.presence.leave(ctx, h.conn), h.conn.Close(ctx))
}

// noTable tells whether an error says that a table is not there.
func noTable(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "42P01"
}
