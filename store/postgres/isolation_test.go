package postgres_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
)

// TestIsolation: on a server whose transactions are stricter by default, a change that
// waits for the thread's row wakes the subscription for which it waited.
func TestIsolation(t *testing.T) {
	db, ctx := pgtest.Database(t), t.Context()
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	pgtest.Exec(t, db, "ALTER DATABASE "+name+" SET default_transaction_isolation = 'repeatable read'")
	s := open(t, db)
	defer closeIt(t, s)
	th := newThread(t, s)
	other, err := pgx.Connect(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(ctx)
	tx, err := other.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`SELECT seq FROM thread WHERE id = 't' FOR SHARE`,
		`INSERT INTO subscription (id, thread, owner, cursor) VALUES ('s', 't', 'o', 0)`,
	} {
		if _, err := tx.Exec(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	made := make(chan error, 1)
	go func() {
		_, err := s.Commit(ctx, store.Change{Thread: th, Wake: true})
		made <- err
	}()
	for waiting := 0; waiting == 0; {
		err := tx.QueryRow(ctx, `SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid IS NOT NULL`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	if sub, err := s.Subscription(ctx, "s"); err != nil || sub.Due.IsZero() {
		t.Errorf("Subscription: %v, due %v, want one that is due", err, sub.Due)
	}
}
