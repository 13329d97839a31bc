package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/sqlite"
	"github.com/arcd-io/arcd/store/transfer"
)

// place is a database of an engine.
type place interface {
	open(t testing.TB) whole
	tryOpen(t testing.TB) error
	reader(ctx context.Context, alone bool) (transfer.Reader, error)
	writer(ctx context.Context) (transfer.Writer, error)
}

type sqlitePlace string

func (p sqlitePlace) open(t testing.TB) whole {
	t.Helper()
	return ok(sqlite.Open(t.Context(), sqlite.Config{File: string(p)}))(t)
}

func (p sqlitePlace) tryOpen(t testing.TB) error {
	s, err := sqlite.Open(t.Context(), sqlite.Config{File: string(p)})
	if err == nil {
		mustClose(t, s)
	}
	return err
}

func (p sqlitePlace) reader(ctx context.Context, alone bool) (transfer.Reader, error) {
	return sqlite.OpenReader(ctx, string(p), alone)
}

func (p sqlitePlace) writer(ctx context.Context) (transfer.Writer, error) {
	return sqlite.OpenWriter(ctx, string(p), texts)
}

type postgresPlace string

func (p postgresPlace) config() postgres.Config {
	return postgres.Config{URL: string(p), Unsafe: true} // the test server does not flush
}

func (p postgresPlace) open(t testing.TB) whole {
	t.Helper()
	return ok(postgres.Open(t.Context(), p.config()))(t)
}

func (p postgresPlace) tryOpen(t testing.TB) error {
	s, err := postgres.Open(t.Context(), p.config())
	if err == nil {
		mustClose(t, s)
	}
	return err
}

func (p postgresPlace) reader(ctx context.Context, alone bool) (transfer.Reader, error) {
	return postgres.OpenReader(ctx, string(p), alone)
}

func (p postgresPlace) writer(ctx context.Context) (transfer.Writer, error) {
	return postgres.OpenWriter(ctx, string(p), texts)
}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// engines makes places of each engine.
var engines = map[string]func(t testing.TB) place{
	"postgres": func(t testing.TB) place { return postgresPlace(pgtest.Database(t)) },
	"sqlite":   func(t testing.TB) place { return sqlitePlace(filepath.Join(t.TempDir(), "arcd.db")) },
}

// copyTo copies one place to another.
func copyTo(t testing.TB, from, to place, cfg transfer.Config) (transfer.Report, error) {
	t.Helper()
	r := ok(from.reader(t.Context(), true))(t)
	defer mustClose(t, r)
	w := ok(to.writer(t.Context()))(t)
	defer mustClose(t, w)
	if cfg.Source == "" {
		cfg.Source = "the source"
	}
	return transfer.Copy(t.Context(), r, w, cfg)
}

// TestCopy copies from each engine to each, and compares what callers can read.
func TestCopy(t *testing.T) {
	const n = 120
	for source, from := range engines {
		for target, to := range engines {
			t.Run(source+" to "+target, func(t *testing.T) {
				a, b := from(t), to(t)
				s := a.open(t)
				fill(t, s, n)
				want := look(t, s, n)
				mustClose(t, s)
				report, err := copyTo(t, a, b, transfer.Config{})
				must(t, err)
				if len(report.Tables) != len(transfer.Tables()) || report.Rows < 2*n {
					t.Errorf("copied %d tables, %d rows", len(report.Tables), report.Rows)
				}
				for _, v := range report.Tables {
					if v.Rows == 0 {
						t.Errorf("table %s was empty: it proves nothing", v.Table)
					}
				}
				copied := b.open(t)
				defer mustClose(t, copied)
				if d := cmp.Diff(want, look(t, copied, n)); d != "" {
					t.Errorf("the copy differs (-source +target):\n%s", d)
				}
				if hashes(t, a) != hashes(t, b) {
					t.Error("the copy of the copy would differ")
				}
				goesOn(t, copied)
			})
		}
	}
}

// goesOn writes what collides with the numbers and ids that were copied, if they were
// not taken over.
func goesOn(t testing.TB, s whole) {
	t.Helper()
	newest := ok(s.Audit(t.Context(), auditQuery(1)))(t)[0].ID
	must(t, s.AppendAudit(t.Context(), auditEntries(1)))
	if next := ok(s.Audit(t.Context(), auditQuery(1)))(t)[0].ID; next != newest+1 {
		t.Errorf("the audit log goes on with %d after %d", next, newest)
	}
	fillThread(t, s, 50001) // its id is free
	a := ok(s.Agents(t.Context(), "", 1))(t)[0]
	a.Texts = [4]string{"changed"}
	ok(s.PutAgent(t.Context(), a))(t)
}

// hashes reads all tables of a place.
func hashes(t testing.TB, p place) string {
	t.Helper()
	r := ok(p.reader(t.Context(), false))(t)
	defer mustClose(t, r)
	all := ""
	for _, table := range transfer.Tables() {
		v, err := transfer.Hash(t.Context(), r, table)
		must(t, err)
		all += v.Table + v.Hash
	}
	return all
}

// TestRestart ends a copy in each table, and has it made again.
func TestRestart(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			a, b := engines["sqlite"](t), make(t)
			s := a.open(t)
			fill(t, s, 30)
			mustClose(t, s)
			for i, table := range transfer.Tables() {
				r, w := ok(a.reader(t.Context(), true))(t), ok(b.writer(t.Context()))(t)
				_, err := transfer.Copy(t.Context(), r, &failing{Writer: w, at: i}, transfer.Config{Source: "a"})
				mustClose(t, r)
				mustClose(t, w)
				if !errors.Is(err, errFailed) || !strings.Contains(err.Error(), table.Name) {
					t.Fatalf("%s: %v", table.Name, err)
				}
				if err := b.tryOpen(t); !errors.Is(err, transfer.ErrUnfinished) {
					t.Fatalf("a server opens what was copied up to %s: %v", table.Name, err)
				}
			}
			if r, err := b.reader(t.Context(), false); !errors.Is(err, transfer.ErrUnfinished) {
				t.Errorf("the remains can be copied: %v, %v", r, err)
			}
			_, err := copyTo(t, a, b, transfer.Config{Source: "c"})
			if e, is := errors.AsType[*transfer.RemainsError](err); !is || e.Source != "a" {
				t.Errorf("a copy of something else: %v", err)
			}
			if _, err = copyTo(t, a, b, transfer.Config{Source: "a"}); err != nil {
				t.Fatal(err)
			}
			if err := b.tryOpen(t); err != nil {
				t.Error(err)
			}
			_, err = copyTo(t, a, b, transfer.Config{Source: "a"})
			if _, is := errors.AsType[*transfer.NotEmptyError](err); !is {
				t.Errorf("a copy into a store: %v", err)
			}
		})
	}
}

// TestDiscard throws the remains of another copy away.
func TestDiscard(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			a, b := engines["sqlite"](t), make(t)
			s := a.open(t)
			fill(t, s, 5)
			mustClose(t, s)
			w := ok(b.writer(t.Context()))(t)
			must(t, w.Begin(t.Context(), "something else", false))
			mustClose(t, w)
			if _, err := copyTo(t, a, b, transfer.Config{Discard: true}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDifference: what does not arrive as it was is found, and named.
func TestDifference(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			a, b := engines["sqlite"](t), make(t)
			s := a.open(t)
			fill(t, s, 5)
			mustClose(t, s)
			r, w := ok(a.reader(t.Context(), true))(t), ok(b.writer(t.Context()))(t)
			_, err := transfer.Copy(t.Context(), r, &changing{w}, transfer.Config{Source: "a"})
			mustClose(t, r)
			mustClose(t, w)
			e, is := errors.AsType[*transfer.DifferenceError](err)
			if !is || len(e.Tables) != 1 || e.Tables[0].Table != "idem" || !strings.Contains(err.Error(), "table idem: 5 rows") {
				t.Errorf("got %v", err)
			}
			if err := b.tryOpen(t); !errors.Is(err, transfer.ErrUnfinished) {
				t.Errorf("a server opens it: %v", err)
			}
		})
	}
}

// TestInUse: a store that a server has open is not copied, nor copied into, and one
// that is being copied is opened by no server.
func TestInUse(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			s := p.open(t)
			if _, err := p.reader(t.Context(), true); !errors.Is(err, transfer.ErrInUse) {
				t.Errorf("copied: %v", err)
			}
			if _, err := p.writer(t.Context()); !errors.Is(err, transfer.ErrInUse) {
				t.Errorf("copied into: %v", err)
			}
			beside := ok(p.reader(t.Context(), false))(t)
			mustClose(t, beside)
			mustClose(t, s)
			r := ok(p.reader(t.Context(), true))(t)
			if err := p.tryOpen(t); err == nil {
				t.Error("a server opens it while it is copied")
			}
			if _, err := p.writer(t.Context()); err == nil {
				t.Error("it is copied into while it is copied")
			}
			mustClose(t, r)
			if err := p.tryOpen(t); err != nil {
				t.Errorf("it cannot be opened again: %v", err)
			}
		})
	}
}

var errFailed = errors.New("failed here")

// failing fails in one table.
type failing struct {
	transfer.Writer
	at int
}

func (f *failing) Write(ctx context.Context, t *transfer.Table, rows []transfer.Row) error {
	if err := f.Writer.Write(ctx, t, rows); err != nil || t != transfer.Tables()[f.at] {
		return err
	}
	return errFailed
}

// changing changes a byte on the way.
type changing struct{ transfer.Writer }

func (c *changing) Write(ctx context.Context, t *transfer.Table, rows []transfer.Row) error {
	if t.Name == "idem" {
		row := append(transfer.Row(nil), rows[2]...)
		row[3] = []byte{1, 2, 4}
		rows = append([]transfer.Row(nil), rows...)
		rows[2] = row
	}
	return c.Writer.Write(ctx, t, rows)
}
