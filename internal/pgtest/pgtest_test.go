package pgtest_test

import (
	"os"
	"testing"

	"github.com/arcd-io/arcd/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestRestart: what was committed is there after a stop and after a crash.
func TestRestart(t *testing.T) {
	s, err := pgtest.New(pgtest.Config{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	url := s.URL("postgres")
	pgtest.Exec(t, url, "CREATE TABLE kept (n int PRIMARY KEY)")
	for n, end := range []func(){s.Stop, s.Kill} {
		pgtest.Exec(t, url, "INSERT INTO kept VALUES ($1)", n)
		end()
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, url, "DELETE FROM kept WHERE n = $1", n)
	}
}

func TestDatabase(t *testing.T) {
	a, b := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, a, "CREATE TABLE x (n int)")
	pgtest.Exec(t, b, "CREATE TABLE x (n int)")
}
