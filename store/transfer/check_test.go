package transfer_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store/transfer"
)

func (p sqlitePlace) exec(t testing.TB, text string) {
	t.Helper()
	db := ok(sql.Open("sqlite", string(p)))(t)
	defer mustClose(t, db)
	ok(db.ExecContext(t.Context(), text))(t)
}

func (p postgresPlace) exec(t testing.TB, text string) {
	t.Helper()
	pgtest.Exec(t, string(p), text)
}

// examine counts the findings of each rule, but for those of the settings: the server
// of the tests never flushes.
func examine(t testing.TB, p place) map[string]int {
	t.Helper()
	r := ok(p.reader(t.Context(), false))(t)
	defer mustClose(t, r)
	x, is := r.(transfer.Examiner)
	if !is {
		t.Fatalf("%T examines nothing", r)
	}
	checked := ok(transfer.Check(t.Context(), x, nil))(t)
	found := map[string]int{}
	for _, f := range checked.Findings {
		if _, pg := p.(postgresPlace); f.Rule == "storage" && pg {
			continue
		}
		t.Logf("%+v", f)
		found[f.Rule]++
	}
	return found
}

// damages break one rule each: by a statement for all engines, or one for each. They
// are far enough apart to be made to one store.
var damages = map[string][]struct{ all, sqlite, postgres string }{
	"thread_and_log": {
		{all: `UPDATE thread SET seq = seq + 1 WHERE id = 'task-07919'`},
		{all: `UPDATE thread SET items = items - 1 WHERE id = 'task-15838'`},
		{sqlite: `DELETE FROM log WHERE pos = (SELECT (n << 24) + 4 FROM thread WHERE id = 'task-23757')`,
			postgres: `DELETE FROM log WHERE thread = 'task-23757' AND pos = 4`},
	},
	"log_row": {
		{sqlite: `DELETE FROM log WHERE pos = (SELECT (n << 24) + 3 FROM thread WHERE id = 'task-31676')`,
			postgres: `DELETE FROM log WHERE thread = 'task-31676' AND pos = 3`},
		{sqlite: `UPDATE log SET events = x'ff' WHERE pos = (SELECT (n << 24) + 3 FROM thread WHERE id = 'task-39595')`,
			postgres: `UPDATE log SET events = '\xff' WHERE thread = 'task-39595' AND pos = 3`},
	},
	"thread_counters":         {{all: `UPDATE thread SET rev = 0 WHERE id = 'task-55433'`}},
	"ended_thread_is_ready":   {{all: `UPDATE thread SET ready = TRUE WHERE id = 'task-00000'`}},
	"subscription_of_nothing": {{all: `UPDATE subscription SET thread = 'gone' WHERE id = 'sub-00003'`}},
	"cursor_ahead_of_log":     {{all: `UPDATE subscription SET cursor = 4 WHERE id = 'sub-00009'`}},
	"lease_without_end":       {{all: `UPDATE subscription SET lease = 'x', due = NULL WHERE id = 'sub-00000'`}},
	"delivery_of_nothing":     {{all: `DELETE FROM subscription WHERE id = 'sub-00006'`}},
	"key_of_nothing":          {{all: `UPDATE idem SET thread = 'gone', expires = NULL WHERE name = 'key-3'`}},
	"agent_without_life":      {{all: `DELETE FROM agent_life WHERE id = 'agent-03'`}},
	"life_of_nothing":         {{all: `INSERT INTO agent_life (id, alive) VALUES ('gone', TRUE)`}},
	"log_of_nothing":          {{all: `DELETE FROM thread WHERE id = 'task-63352'`}},
	"audit_number": {{sqlite: `UPDATE sqlite_sequence SET seq = 3 WHERE name = 'audit'`,
		postgres: `UPDATE audit_next SET last = 3`}},
	"agent_without_words": {{sqlite: `DELETE FROM agent_text WHERE rowid = 3`, postgres: `DELETE FROM agent_word WHERE agent = 'agent-03'`}},
	"words_of_nothing": {{sqlite: `INSERT INTO agent_text (rowid, names) VALUES (999, 'x')`,
		postgres: `INSERT INTO agent_word SELECT 'x', 'gone', '', 0, 0, 0, 0, 0`}},
	"registry_version": {{postgres: `UPDATE mark SET change = 999999 WHERE value = 'agent-03'`}},
}

// TestCheck finds nothing in a store that is whole, also while a server has it open, and
// each damage in one that is not.
func TestCheck(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			s := p.open(t)
			fill(t, s, 12)
			if found := examine(t, p); len(found) > 0 {
				t.Errorf("of a store that is whole: %v", found)
			}
			mustClose(t, s)
			want := map[string]int{}
			for rule, list := range damages {
				for _, d := range list {
					statement := d.all + d.sqlite
					if name == "postgres" {
						statement = d.all + d.postgres
					}
					if statement != "" {
						want[rule]++
						p.(interface{ exec(testing.TB, string) }).exec(t, statement)
					}
				}
			}
			found := examine(t, p)
			for rule, n := range want {
				if found[rule] < n {
					t.Errorf("%s: found %d, want %d", rule, found[rule], n)
				}
			}
		})
	}
}

// TestCheckOfTornPages: whatever page of a file is overwritten, the check says so; the
// file is not opened, or has findings.
func TestCheckOfTornPages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "arcd.db")
	p := sqlitePlace(file)
	s := p.open(t)
	fill(t, s, 12)
	mustClose(t, s)
	whole := ok(os.ReadFile(file))(t)
	const page = 4096
	for at := 0; at < len(whole); at += page {
		torn := slices.Clone(whole)
		for i := range page {
			torn[at+i] ^= byte(i*7 + at/page + 1)
		}
		if err := os.WriteFile(file, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := p.reader(t.Context(), false)
		if errors.Is(err, transfer.ErrDamaged) {
			continue
		}
		if err != nil {
			t.Errorf("page %d: opening: %v", at/page, err)
			continue
		}
		checked, err := transfer.Check(t.Context(), r.(transfer.Examiner), nil)
		if err != nil || checked.Total == 0 {
			t.Errorf("page %d: %d findings, %v", at/page, checked.Total, err)
		}
		_ = r.Close()
	}
}

// TestCheckFindsBadPages: what SQLite finds in the file itself is told.
func TestCheckFindsBadPages(t *testing.T) {
	p := sqlitePlace(t.TempDir() + "/arcd.db")
	s := p.open(t)
	fill(t, s, 12)
	mustClose(t, s)
	p.exec(t, `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '(due)', '(created)') WHERE name = 'thread_due'`)
	if found := examine(t, p); found["storage"] == 0 {
		t.Errorf("found %v", found)
	}
}
