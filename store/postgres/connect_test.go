package postgres_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
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

// TestRefusedLater: a server that does not let a running replica in any more (a changed
// password, say) is one that is away.
func TestRefusedLater(t *testing.T) {
	at := pgtest.Database(t)
	s := open(t, at)
	defer closeIt(t, s)
	th := newThread(t, s)
	c, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	admin := func(text string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	admin(`CREATE ROLE guest LOGIN SUPERUSER`)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User("guest")
	guest := open(t, u.String())
	defer closeIt(t, guest)
	admin(`ALTER ROLE guest NOLOGIN`)
	admin(`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'guest'`)
	guest.Hasten() // or it would be tried for ten seconds
	for range 20 { // the first find connections that were cut
		if _, err := guest.Thread(t.Context(), th.ID); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("Thread: %v, want ErrUnavailable", err)
		}
	}
}
