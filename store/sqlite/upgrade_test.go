package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
)

// makeOld makes a database as the first version of arcd left it, with a task,
// its log, an idempotency key and two revocations.
func makeOld(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.UpTo(t.Context(), 1)
	ms := epoch.UnixMilli()
	for _, text := range []string{
		`PRAGMA application_id = 0x61726364`, `PRAGMA journal_mode = WAL`,
		fmt.Sprintf(`INSERT INTO thread (n, id, kind, owner, sender, agent, status, priority, created, updated, rev, seq, items, ready, rank, body)
			VALUES (1, 'task-1', 1, 'o', 'c', 'echo', 'SUBMITTED', 'NORMAL', %d, %d, 1, 1, 0, 1, 7, x'00')`, ms, ms),
		`INSERT INTO log (pos, seq, events) VALUES ((1 << 24) + 1, 1, x'01780000')`, // type "x", time 0, no data
		`INSERT INTO idem (owner, name, thread) VALUES ('o', 'k', 'task-1')`,
		fmt.Sprintf(`INSERT INTO revocation (kind, value, expires) VALUES ('jti', 'old', %d), ('jti', 'new', %d)`, ms-1, ms+1),
	} {
		if err == nil {
			_, err = db.ExecContext(t.Context(), text)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestUpgradeFromTheFirst opens a database without the tables of the registry:
// what it holds stays, and the registry works.
func TestUpgradeFromTheFirst(t *testing.T) {
	dir := t.TempDir()
	makeOld(t, filepath.Join(dir, "arcd.db"))
	for range 2 {
		s := openIn(t, dir, 0)
		x, err := s.Thread(t.Context(), "task-1")
		if err != nil || x.Agent != "echo" || !x.Ready {
			t.Errorf("thread: %+v, %v", x, err)
		}
		evs, gap, err := s.Events(t.Context(), "task-1", 0, 9)
		if err != nil || gap || len(evs) != 1 || evs[0].Type != "x" {
			t.Errorf("events: %v, gap %v, %v", evs, gap, err)
		}
		if replay, err := s.Replay(t.Context(), "o", "k", epoch); err != nil || replay == nil {
			t.Errorf("idempotency key: %v, %v", replay, err)
		}
		got, err := s.Revocations(t.Context(), epoch)
		want := []store.Revocation{{Kind: "jti", Value: "new", Expires: epoch.Add(time.Millisecond)}}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("revocations: %v\n%s", err, d)
		}
		if _, err := s.PutAgent(t.Context(), registration(1)); err != nil && !errors.Is(err, store.ErrExists) {
			t.Error(err)
		}
		wantIDs(t, "search", search(t, s, "agent"), "agent-00001")
		closeIt(t, s)
	}
}
