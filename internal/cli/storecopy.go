package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/store/transfer"
)

// storeCopy is "arcd store copy".
type storeCopy struct {
	destroying
	From storePlace `required:"" placeholder:"STORE" help:"What to copy: sqlite:FILE, postgres://USER@HOST/DATABASE, or env:NAME or file:PATH of what holds a URL."`
	To   storePlace `required:"" placeholder:"STORE" help:"Where to: a new file, or a database that is empty."`
}

// copiedStore is the result of "store copy", "restore" and "backup".
type copiedStore struct {
	Effect    string              `json:"effect"` // created, would_create
	From      string              `json:"from"`
	To        string              `json:"to"`
	Rows      int64               `json:"rows"`
	Tables    []transfer.Verified `json:"tables"` // each with the hash that both sides have
	Copying   time.Duration       `json:"-"`
	Verifying time.Duration       `json:"-"`

	CopyingMS   int64 `json:"copying_ms"`
	VerifyingMS int64 `json:"verifying_ms"`
}

func (*storeCopy) row() row {
	return row{
		danger: destructive, exits: storeExits, data: copiedStore{},
		long: "Ids, sequence numbers and cursors stay as they are: once the servers are started on the new place, callers notice no more than that they were away. The target is read again and compared, table by table; " +
			"until that is done no server opens it. A copy that was cut off is started over by the same command. --confirm-destructive is needed only to throw away the remains of a copy of something else. " +
			"Secrets are never arguments: PGPASSWORD or the password file has the password.",
		examples: []string{
			"arcd store copy --from sqlite:arcd.db --to postgres://arcd@db.example/arcd",
			"arcd store copy --from file:old-store --to sqlite:arcd.db --dry-run",
		},
	}
}

// check finds what is wrong with the places.
func (s *storeCopy) check(p *problems) {
	s.From.check(p, "--from")
	s.To.check(p, "--to")
}

func (s *storeCopy) run(ctx context.Context, c *console) (any, error) {
	from, err := s.From.resolve(c)
	if err != nil {
		return nil, err
	}
	to, err := s.To.resolve(c)
	if err != nil {
		return nil, err
	}
	return copyStore(ctx, c, from, to, s.destroying)
}

// copyStore copies one place to another, or only tells what it would copy.
func copyStore(ctx context.Context, c *console, from, to keptStore, d destroying) (any, error) {
	r, err := from.reader(ctx, true)
	if err != nil {
		return nil, storeFailed(err)
	}
	return copyFrom(ctx, c, r, from, to, d)
}

// copyFrom copies a place that is open, and closes it.
func copyFrom(ctx context.Context, c *console, r transfer.Reader, from, to keptStore, d destroying) (_ any, err error) {
	defer func() { err = errors.Join(err, r.Close()) }()
	if d.DryRun {
		return countStore(ctx, c, r, from, to)
	}
	w, err := to.writer(ctx)
	if err != nil {
		return nil, storeFailed(err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return transferStore(ctx, c, r, w, from, to, d.ConfirmDestructive)
}

// transferStore copies what is open.
func transferStore(ctx context.Context, c *console, r transfer.Reader, w transfer.Writer, from, to keptStore, discard bool) (any, error) {
	report, err := transfer.Copy(ctx, r, w, transfer.Config{Source: from.String(), Discard: discard, Progress: c.progress()})
	if err != nil {
		return nil, storeFailed(err)
	}
	return copiedStore{
		Effect: "created", From: from.String(), To: to.String(), Rows: report.Rows, Tables: report.Tables,
		Copying: report.Copying, Verifying: report.Checking,
		CopyingMS: report.Copying.Milliseconds(), VerifyingMS: report.Checking.Milliseconds(),
	}, nil
}

// countStore reads the source and changes nothing.
func countStore(ctx context.Context, c *console, r transfer.Reader, from, to keptStore) (any, error) {
	if to.url != "" { // a file need not be there, a database must be
		if _, _, err := to.pending(ctx); err != nil {
			return nil, storeFailed(err)
		}
	}
	data, progress := copiedStore{Effect: "would_create", From: from.String(), To: to.String()}, c.progress()
	for _, t := range transfer.Tables() {
		v, err := transfer.Hash(ctx, r, t)
		if err != nil {
			return nil, storeFailed(err)
		}
		data.Rows += v.Rows
		data.Tables = append(data.Tables, v)
		progress(transfer.Progress{Phase: "read", Table: t.Name, Rows: v.Rows, Total: data.Rows})
	}
	return data, nil
}

func (s copiedStore) show(p *page) {
	var rows [][]string
	for _, t := range s.Tables {
		rows = append(rows, []string{t.Table, fmt.Sprint(t.Rows), t.Hash})
	}
	p.table([]string{"TABLE", "ROWS", "SHA256"}, rows)
	if s.Effect == "would_create" {
		p.line("would copy %d rows from %s to %s", s.Rows, s.From, s.To)
		return
	}
	p.line("copied %d rows from %s to %s in %s, compared in %s", s.Rows, s.From, s.To, short(s.Copying.Round(time.Millisecond)), short(s.Verifying.Round(time.Millisecond)))
}

func (s copiedStore) plain() []string { return []string{s.To} }
