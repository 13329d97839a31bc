package postgres_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store/postgres"
)

// TestEncoding: a database that cannot keep every text is refused, with the cure.
func TestEncoding(t *testing.T) {
	at := pgtest.Database(t)
	c, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), `CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/narrow"
	_, err = postgres.Open(t.Context(), postgres.Config{URL: u.String(), Unsafe: true})
	if err == nil || !strings.Contains(err.Error(), "LATIN1") || !strings.Contains(err.Error(), "ENCODING 'UTF8'") {
		t.Errorf("Open: %v", err)
	}
}

// TestNoTimeLimits: what limits the statements and transactions of servers does not end
// a copy.
func TestNoTimeLimits(t *testing.T) {
	at := pgtest.Database(t)
	closeIt(t, open(t, at))
	r, err := postgres.OpenReader(t.Context(), at+"&statement_timeout=90000&idle_in_transaction_session_timeout=90000", false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	limits := 0
	err = r.Query(t.Context(), `SELECT name, setting FROM pg_settings WHERE name = ANY($1)`,
		[]any{[]string{"statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"}}, func(v []any) error {
			if limits++; v[1] != "0" {
				t.Errorf("%s is %s, want 0", v[0], v[1])
			}
			return nil
		})
	if err != nil || limits < 2 {
		t.Errorf("%d limits: %v", limits, err)
	}
}
