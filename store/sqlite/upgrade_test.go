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

// makeOld makes a database as an earlier arcd left it, with the tables of a version
// and rows that the statements add.
func makeOld(t *testing.T, file string, version int64, rows ...string) {
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
	_, err = p.UpTo(t.Context(), version)
	for _, text := range append([]string{`PRAGMA application_id = 0x61726364`, `PRAGMA journal_mode = WAL`}, rows...) {
		if err == nil {
			_, err = db.ExecContext(t.Context(), text)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// oldTask gives the row of a task that waits for its agent.
func oldTask(n int, id, owner string, rank int) string {
	ms := epoch.UnixMilli()
	return fmt.Sprintf(`INSERT INTO thread (n, id, kind, owner, sender, agent, status, priority, created, updated, rev, seq, items, ready, rank, body)
		VALUES (%d, '%s', 1, '%s', 'c', 'echo', 'SUBMITTED', 'NORMAL', %d, %d, 1, 1, 0, 1, %d, x'00')`, n, id, owner, ms, ms, rank)
}

// Rows of a task: its log, an idempotency key, and beside them two revocations.
func oldRows() []string {
	ms := epoch.UnixMilli()
	return []string{
		oldTask(1, "task-1", "o", 7),
		`INSERT INTO log (pos, seq, events) VALUES ((1 << 24) + 1, 1, x'01780000')`, // type "x", time 0, no data
		`INSERT INTO idem (owner, name, thread) VALUES ('o', 'k', 'task-1')`,
		fmt.Sprintf(`INSERT INTO revocation (kind, value, expires) VALUES ('jti', 'old', %d), ('jti', 'new', %d)`, ms-1, ms+1),
	}
}

// TestUpgradeFromTheFirst opens a database without the tables of the registry:
// what it holds stays, and the registry works.
func TestUpgradeFromTheFirst(t *testing.T) {
	dir := t.TempDir()
	makeOld(t, filepath.Join(dir, "arcd.db"), 1, oldRows()...)
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

// TestUpgradeFromTheSecond opens a database in which tasks wait, without tables for
// subscriptions: the queue is the same, now by owner, and subscriptions work.
func TestUpgradeFromTheSecond(t *testing.T) {
	dir := t.TempDir()
	makeOld(t, filepath.Join(dir, "arcd.db"), 2, append(oldRows(),
		oldTask(2, "task-2", "p", 1), oldTask(3, "task-3", "o", 3),
		`INSERT INTO agent (n, id, rev, type, registered, updated, body) VALUES (5, 'old', 3, 'worker', 1, 1, x'7b7d')`,
		`INSERT INTO agent_life (id, seen, alive) VALUES ('old', 1, 1)`,
		`INSERT INTO agent_text (rowid, names) VALUES (5, 'elderly')`,
		`INSERT INTO audit (at, event, outcome) VALUES (1, 'e', 'o')`)...)
	for range 2 {
		s := openIn(t, dir, 0)
		ts, err := s.Ready(t.Context(), store.ReadyQuery{Agent: "echo", Owners: 9, Each: 9})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for i := range ts {
			ids = append(ids, ts[i].ID+ts[i].Parent)
		}
		wantIDs(t, "ready", ids, "task-3", "task-1", "task-2")
		wantIDs(t, "search", search(t, s, "elderly"), "old")
		if log, err := s.Audit(t.Context(), store.AuditQuery{Limit: 9}); err != nil || len(log) != 1 {
			t.Errorf("audit log: %v, %v", log, err)
		}
		err = s.Subscribe(t.Context(), store.Subscription{ID: "s", Thread: "task-1", Owner: "o"}, epoch)
		if err != nil && !errors.Is(err, store.ErrExists) {
			t.Error(err)
		}
		if sub, err := s.Subscription(t.Context(), "s"); err != nil || !sub.Due.Equal(epoch) {
			t.Errorf("subscription: %+v, %v", sub, err)
		}
		closeIt(t, s)
	}
}
