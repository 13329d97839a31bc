package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/arcd-io/arcd/store"
)

// Exec runs a statement on the writer's connection, behind the engine's back.
func Exec(ctx context.Context, s *Engine, text string) error {
	return s.write(ctx, "test", func(b *batch) error {
		return b.conn.query(text, nil, func([]driver.Value) error { return nil })
	})
}

// BreakCommit lets every commit fail with err from the next one on.
func BreakCommit(ctx context.Context, s *Engine, err error) error {
	return s.write(ctx, "test", func(b *batch) error {
		b.conn.raw = failing{b.conn.raw, err}
		delete(b.conn.stmts, "COMMIT")
		return nil
	})
}

// failing is a connection that cannot commit.
type failing struct {
	driver.Conn
	err error
}

func (f failing) Prepare(text string) (driver.Stmt, error) {
	if text == "COMMIT" {
		return nil, f.err
	}
	return f.Conn.Prepare(text)
}

// CheckFileSystem is checkFileSystem.
var CheckFileSystem = checkFileSystem

// SetOutside runs a statement on the writer's connection outside of any
// transaction.
func SetOutside(ctx context.Context, s *Engine, text string) error {
	return s.write(ctx, "test", func(b *batch) error {
		if _, err := b.conn.exec("COMMIT"); err != nil {
			return err
		}
		_, err := b.conn.exec(text)
		_, berr := b.conn.exec("BEGIN IMMEDIATE")
		return errors.Join(err, berr)
	})
}

// Plan tells how SQLite finds the threads of a query.
func Plan(ctx context.Context, s *Engine, q *store.Query) (string, error) {
	text, args := selectThreads(q)
	return explainPlan(ctx, s, text, args...)
}

// PlanAudit tells how SQLite finds a page of the audit log.
func PlanAudit(ctx context.Context, s *Engine, q *store.AuditQuery) (string, error) {
	text, args := selectAudit(q)
	return explainPlan(ctx, s, text, args...)
}

// PlanAgents tells how SQLite finds a page of agents.
func PlanAgents(ctx context.Context, s *Engine) (string, error) {
	return explainPlan(ctx, s, listAgents, "", int64(1))
}

// PlanSearch tells how SQLite searches.
func PlanSearch(ctx context.Context, s *Engine) (string, error) {
	return explainPlan(ctx, s, searchAgents, matching([]string{"a"}, 1), int64(1))
}

// PlanSweeps tells how SQLite finds what PruneRegistry removes.
func PlanSweeps(ctx context.Context, s *Engine) (string, error) {
	var all string
	for _, text := range sweeps {
		plan, err := explainPlan(ctx, s, text, int64(1), int64(1))
		if err != nil {
			return "", err
		}
		all += plan
	}
	return all, nil
}

// PlanQueues tells how SQLite finds what waits: ready threads, agents that have
// some, children, and due subscriptions.
func PlanQueues(ctx context.Context, s *Engine) (map[string]string, error) {
	plans := make(map[string]string)
	for name, q := range map[string]struct {
		text string
		args []any
	}{
		"ready":            {readyIDs, []any{"a", "o", []byte{}, int64(9), int64(9)}},
		"ready, whole":     {readyRows, []any{"a", "o", []byte{}, int64(9), int64(9)}},
		"ready agents":     {readyAgents, []any{"a", int64(9)}},
		"children":         {children, []any{"p", "a", int64(9)}},
		"due":              {dueSubscriptions, []any{int64(1), int64(9)}},
		"any due":          {anySubscriptionDue, []any{int64(1)}},
		"wake":             {wakeThread, []any{int64(1), "a"}},
		"prune":            {prunable, []any{int64(1), int64(9)}},
		"prune one":        {mayPruneThread, []any{int64(1), int64(9)}},
		"prune deliveries": {pruneDeliveries, []any{"a", int64(9)}},
	} {
		plan, err := explainPlan(ctx, s, q.text, q.args...)
		if err != nil {
			return nil, err
		}
		plans[name] = plan
	}
	return plans, nil
}

// PlanSubscriptions tells how SQLite finds a page of subscriptions.
func PlanSubscriptions(ctx context.Context, s *Engine, q *store.SubscriptionQuery) (string, error) {
	text, args := selectSubscriptions(q)
	return explainPlan(ctx, s, text, args...)
}

// PlanDeliveries tells how SQLite finds a page of deliveries.
func PlanDeliveries(ctx context.Context, s *Engine, q *store.DeliveryQuery) (string, error) {
	text, args := selectDeliveries(q)
	return explainPlan(ctx, s, text, args...)
}

// PruneRoom is how many deliveries one step of Prune deletes at most.
const PruneRoom = pruneRoom

// PruneStep is one transaction of Prune, for one thread. It tells whether the thread
// is gone.
func PruneStep(ctx context.Context, s *Engine, n int64, id string, before time.Time) (bool, error) {
	gone := 0
	err := s.write(ctx, "test", func(b *batch) (err error) {
		gone, _, err = pruneThreads(b, []doomed{{n, id}}, before)
		return err
	})
	return gone == 1, err
}

func explainPlan(ctx context.Context, s *Engine, text string, args ...any) (plan string, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("EXPLAIN QUERY PLAN "+text, args, func(row []driver.Value) error {
			detail, _ := row[3].(string)
			plan += detail + "\n"
			return nil
		})
	})
	return plan, err
}
