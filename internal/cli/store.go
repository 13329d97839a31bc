package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/internal/outcome"
	"github.com/arcd-io/arcd/store/transfer"
)

// storeCommand groups the commands about where the state is kept.
type storeCommand struct {
	Copy    storeCopy    `cmd:"" help:"Copy the state to another place, with all servers stopped, and compare."`
	Check   storeCheck   `cmd:"" help:"Read the whole state and tell what is wrong with it."`
	Migrate storeMigrate `cmd:"" help:"Bring the tables up to date, as a server does when it starts."`
}

// storeFlag says which store a command is about.
type storeFlag struct {
	configFlags
	Store storePlace `placeholder:"STORE" help:"sqlite:FILE, postgres://USER@HOST/DATABASE, or env:NAME or file:PATH of what holds a URL. Default: as configured."`
}

// check finds what is wrong with the flag.
func (f storeFlag) check(p *problems) { f.Store.check(p, "--store") }

// place gives the store that the flag or the configuration names.
func (f storeFlag) place(c *console) (keptStore, error) {
	if f.Store != "" {
		return f.Store.resolve(c)
	}
	l, err := f.load(c)
	if err != nil {
		return keptStore{}, err
	}
	if err := l.check(); err != nil {
		return keptStore{}, badConfig(err)
	}
	return keptAt(l.Store)
}

// failed makes the error of a command about the store. Without a flag and without a
// configuration the store is a file of this folder, which may not be what was meant.
func (f storeFlag) failed(c *console, err error) error {
	err = storeFailed(err)
	if e, ok := errors.AsType[*outcome.Error](err); ok && e.Code == outcome.FileNotFound && f.Store == "" {
		where := "the configuration " + f.file(c)
		if f.file(c) == "" {
			where = "the default, as there is no configuration"
		}
		return e.Suggest("The file is that of %s. Name the store with --store, or the configuration with --config or ARCD_CONFIG.", where)
	}
	return err
}

// progress tells on stderr now and then how far a copy or a check is.
func (c *console) progress() func(transfer.Progress) {
	last, phase, began := c.began, "", c.began
	return func(p transfer.Progress) {
		now := time.Now()
		if p.Phase != phase {
			phase, began = p.Phase, now
		}
		if now.Sub(last) < time.Second {
			return
		}
		last = now
		rate := float64(p.Total) / max(now.Sub(began).Seconds(), 0.001)
		c.note("%s: %s, %d rows (%d in all, %.0f/s)", p.Phase, p.Table, p.Rows, p.Total, rate)
	}
}

// storeCheck is "arcd store check".
type storeCheck struct{ storeFlag }

// checkedStore is the result of "store check".
type checkedStore struct {
	Store string `json:"store"`
	Good  bool   `json:"good"`
	transfer.Checked
}

func (*storeCheck) row() row {
	return row{
		danger: safe, exits: storeExits, data: checkedStore{},
		long: "It looks for holes in the numbers of events, rows that cannot be read, counters that disagree with the log, and rows that belong to nothing; of SQLite it reads every page of the file, " +
			"of PostgreSQL the settings that keep what was acknowledged. A server may be running: what is read is one moment. Exit code 1 says that something was found.",
		examples: []string{"arcd store check", "arcd store check --store sqlite:copy.db"},
	}
}

// run reads everything.
func (s *storeCheck) run(ctx context.Context, c *console) (_ any, err error) {
	place, err := s.place(c)
	if err != nil {
		return nil, err
	}
	r, err := place.reader(ctx, false)
	if err != nil {
		return nil, s.failed(c, err)
	}
	defer func() {
		if closed := r.Close(); err == nil {
			err = closed
		}
	}()
	checked, err := transfer.Check(ctx, r, c.progress())
	if err != nil {
		return nil, s.failed(c, err)
	}
	data := checkedStore{place.String(), checked.Total == 0, checked}
	if checked.Total > 0 {
		return data, outcome.Errorf(outcome.CheckFailed, "%s is not whole (findings: %d).", place, checked.Total).
			Suggest("Read data.findings. Keep a copy before you change anything; a backup from before is the safest cure.")
	}
	return data, nil
}

func (s checkedStore) show(p *page) {
	var rows [][]string
	for _, t := range s.Tables {
		rows = append(rows, []string{t.Table, fmt.Sprint(t.Rows)})
	}
	p.table([]string{"TABLE", "ROWS"}, rows)
	if s.Good {
		p.line("%s is whole", s.Store)
		return
	}
	p.line("")
	rows = nil
	for _, f := range s.Findings {
		rows = append(rows, []string{f.Rule, f.Table, f.ID, f.Detail})
	}
	p.table([]string{"RULE", "TABLE", "KEY", ""}, rows)
}

func (s checkedStore) plain() (lines []string) {
	for _, f := range s.Findings {
		lines = append(lines, f.Rule+" "+f.Table+" "+f.ID)
	}
	return lines
}

// storeMigrate is "arcd store migrate".
type storeMigrate struct {
	storeFlag
	changing
}

// migratedStore is the result of "store migrate".
type migratedStore struct {
	Effect string   `json:"effect"` // updated, would_update, unchanged
	Store  string   `json:"store"`
	From   int64    `json:"from_version"`
	Steps  []string `json:"steps"` // taken, or to be taken
}

func (*storeMigrate) row() row {
	return row{
		danger: mutating, exits: storeExits, data: migratedStore{},
		long: "Every step leaves tables that servers of the version before can go on with, so a PostgreSQL database is brought up to date while they run, before the first new server starts. " +
			"A SQLite file must not be open.",
		examples: []string{"arcd store migrate --dry-run", "arcd store migrate --store postgres://arcd@db.example/arcd"},
	}
}

// run brings the tables up to date.
func (s *storeMigrate) run(ctx context.Context, c *console) (any, error) {
	place, err := s.place(c)
	if err != nil {
		return nil, err
	}
	has, steps, err := place.pending(ctx)
	if err != nil {
		return nil, s.failed(c, err)
	}
	data := migratedStore{"updated", place.String(), has, append([]string{}, steps...)}
	switch {
	case len(steps) == 0:
		data.Effect = "unchanged"
	case s.DryRun:
		data.Effect = "would_update"
	default:
		err = place.migrate(ctx)
	}
	if err != nil {
		return nil, s.failed(c, err)
	}
	return data, nil
}

func (m migratedStore) show(p *page) {
	p.line("%s: %s (version %d)", m.Store, m.Effect, m.From)
	for _, step := range m.Steps {
		p.line("  %s", step)
	}
}

func (m migratedStore) plain() []string { return m.Steps }
