package transfer_test

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/transfer"
)

// left are the columns and tables that a copy leaves out, because an engine makes them
// anew or because they are of the moment.
var left = map[string][]string{
	"sqlite": {
		"goose_db_version", "probe", "transfer", "audit_order", "sqlite_sequence", "agent_text",
		"agent_text_config", "agent_text_data", "agent_text_docsize", "agent_text_idx", "agent_text_content",
		"thread.n", "agent.n",
	},
	"postgres": {
		"arcd_version", "arcd_migration_lock", "probe", "transfer", "replica", "quota", "gone", "registry_version", "audit_next", "agent_word",
		"agent.change", "agent.size", "mark.change", "revocation.change", "thread.nonce",
	},
}

// columns lists the columns of a place as table.column.
func (p sqlitePlace) columns(t testing.TB) (names []string) {
	t.Helper()
	db := ok(sql.Open("sqlite", string(p)))(t)
	defer mustClose(t, db)
	rows := ok(db.QueryContext(t.Context(), `SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'`))(t)
	defer mustClose(t, rows)
	for rows.Next() {
		var name string
		must(t, rows.Scan(&name))
		names = append(names, name)
	}
	must(t, rows.Err())
	return names
}

func (p postgresPlace) columns(t testing.TB) []string {
	t.Helper()
	c := ok(pgx.Connect(t.Context(), string(p)))(t)
	defer func() { must(t, c.Close(t.Context())) }()
	rows := ok(c.Query(t.Context(), `SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'`))(t)
	return ok(pgx.CollectRows(rows, pgx.RowTo[string]))(t)
}

// TestNothingLeftOut: a column that a later migration adds has to be copied too, or to
// be named here.
func TestNothingLeftOut(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			mustClose(t, p.open(t))
			known := map[string]bool{}
			for _, table := range transfer.Tables() {
				for _, column := range table.Names() {
					known[table.Name+"."+column] = true
				}
			}
			for _, column := range p.(interface{ columns(testing.TB) []string }).columns(t) {
				table, _, _ := strings.Cut(column, ".")
				if !known[column] && !slices.Contains(left[name], column) && !slices.Contains(left[name], table) {
					t.Errorf("%s is in no table that is copied", column)
				}
			}
		})
	}
}

// TestAwayWhileCopied: a server that was away for so long that it counts as gone stops
// when it finds that its database is being copied.
func TestAwayWhileCopied(t *testing.T) {
	p := engines["postgres"](t).(postgresPlace)
	s := p.open(t)
	defer mustClose(t, s)
	p.exec(t, `UPDATE replica SET until = 0`)
	r := ok(p.reader(t.Context(), true))(t)
	defer mustClose(t, r)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for n := 1; ; n++ {
		_, err := s.Commit(t.Context(), store.Change{Thread: store.Thread{
			ID: "task-" + strings.Repeat("x", n), Kind: store.Task, Owner: "o", From: "c", Agent: "a", Status: "SUBMITTED",
			Priority: arc.PriorityNormal, Created: at(0), Updated: at(0),
		}})
		if errors.Is(err, transfer.ErrLocked) {
			return
		}
		must(t, err)
		<-again.C
	}
}
