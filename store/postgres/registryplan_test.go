package postgres_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
)

// fill makes a registry of some size, by statements: 4,000 agents with 12 words each,
// 20,000 marks and revocations, 20,000 deletions, 40,000 entries of the audit log.
func fill(t testing.TB, url string) {
	t.Helper()
	for _, text := range []string{
		`INSERT INTO agent SELECT 'agent-' || lpad(n::text, 5, '0'), 1, n, 'worker', 1, 1, 12, repeat('x', 900)::bytea FROM generate_series(1, 4000) n`,
		`INSERT INTO agent_life SELECT id, 1790000000000, true, NULL FROM agent`,
		`INSERT INTO agent_word SELECT w || CASE WHEN w < 'd' THEN '' ELSE (right(id, 5)::int % 500)::text END, id, type, size, 1, 0, 0, 0
			FROM agent, unnest(ARRAY['a','b','c','d','e','f','g','h','i','j','k','l']) w`,
		`INSERT INTO mark SELECT 'kind' || n % 50, n::text, n, NULL, CASE WHEN n % 2 = 0 THEN 1790000000000 + n END FROM generate_series(1, 20000) n`,
		`INSERT INTO revocation SELECT 'jti', n::text, n, NULL, 1790000000000 + n FROM generate_series(1, 20000) n`,
		`INSERT INTO gone SELECT n, CASE WHEN n % 2 = 0 THEN 'agent' ELSE 'mark' END, '', n::text, 1790000000000 + n FROM generate_series(1, 20000) n`,
		`INSERT INTO audit SELECT n, 1790000000000 + n * 1000, (ARRAY['login','refused'])[1 + n % 2], 'ok', 'actor-' || n % 500, 'agent-' || n % 500, NULL
			FROM generate_series(1, 40000) n`,
		`UPDATE registry_version SET n = 20000, agents = 4000, words = 48000`,
		`UPDATE audit_next SET last = 40000, newest = 1790040000000`,
		`VACUUM ANALYZE`,
	} {
		pgtest.Exec(t, url, text)
	}
}

// wholeTable finds the lines of a plan that read a table of the registry whole, or along
// an index from one end to the other.
var wholeTable = regexp.MustCompile(`(Seq Scan on|Index.* Scan using \w+ on) (agent|agent_life|agent_word|mark|revocation|gone|audit)\b.*\n(\s*Index Cond)?`)

// TestRegistryPlans looks at how PostgreSQL finds rows: along an index, with the values
// at hand and with a plan for all values.
func TestRegistryPlans(t *testing.T) {
	db := pgtest.Database(t)
	s := open(t, db)
	defer closeIt(t, s)
	fill(t, db)
	texts := postgres.RegistryStatements()
	c, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(t.Context()))
	if err := postgres.PrepareSession(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	const few = `'{agent-00005,agent-00009}', `
	for name, args := range map[string]string{
		"agents": `'agent-01000', 100`, "changed agents": `3990, 2001`, "changed marks": `19990, 2001`,
		"changed revocations": `19990, 2001`, "gone agents": `19990, 2001`, "gone marks": `19990, 2001`,
		"words": `'d12', 'd13', '', 100000`, "mark": `'kind1', '51', 0`, "marks": `'kind1', 0`,
		"prune marks": `1790000000100`, "prune revocations": `1790000000100`, "prune audit": `1790000100000`,
		"old deletions": `1790000000100, 100`, "forget deletions": `100`,
		"lock lives": `'{agent-00005,agent-00009}'`, "beats": few + `'{1,2}', '{t,f}', '{NULL,NULL}'`,
		"drop words": `'agent-00005', '{a,b}'`, "put words": `'agent-00005', '{a,b}', '{1,1}', '{1,1}', '{1,1}', '{1,1}'`,
		"update agent": `'agent-00005', 1, 'worker', 1, 1, 12, ''`, "count again": `'agent-00005', 1, 12`,
		"delete words": `'agent-00005', 1`, "delete life": `'agent-00005', 1`, "delete agent": `'agent-00005', 1`,
		"unmark": `'kind1', '51', 1`, "append again": `1, '{1}', '{1790000005000}', '{login}', '{ok}', '{a}', '{b}', '{c}'`,
	} {
		if texts[name] == "" {
			t.Fatalf("there is no statement %q", name)
		}
		checkPlans(t, c, name, texts[name], args)
	}
	from, to := epoch.Add(5000*time.Second), epoch.Add(6000*time.Second)
	for name, q := range map[string]store.AuditQuery{
		"newest": {}, "further": {Before: 20_000}, "event": {Event: "login", Before: 20_000}, "outcome": {Outcome: "ok"},
		"actor": {Actor: "actor-7"}, "agent": {Agent: "agent-7", Event: "login"}, "agent and actor": {Agent: "agent-7", Actor: "actor-7"},
		"span": {From: from, To: to}, "from": {From: from}, "to": {To: to}, "span of an agent": {Agent: "agent-7", From: from, To: to},
		"span of an event": {Event: "login", From: from, To: to},
	} {
		q.Limit = 50
		text, values := postgres.AuditStatement(q)
		var args []string
		for _, v := range values {
			args = append(args, fmt.Sprintf("'%v'", v))
		}
		checkPlans(t, c, "audit, "+name, text, strings.Join(args, ", "))
	}
}

// checkPlans has the server explain a statement in both of its ways.
func checkPlans(t *testing.T, c *pgx.Conn, name, text, args string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), "PREPARE it AS "+text); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer c.Exec(t.Context(), "DEALLOCATE it")
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		if _, err := c.Exec(t.Context(), "SET plan_cache_mode = "+mode); err != nil {
			t.Fatal(err)
		}
		rows, _ := c.Query(t.Context(), "EXPLAIN EXECUTE it ("+args+")", pgx.QueryExecModeSimpleProtocol)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan := strings.Join(lines, "\n") + "\n"
		for _, found := range wholeTable.FindAllStringSubmatch(plan, -1) {
			if found[3] == "" && name != "old deletions" { // that one takes the first of an index
				t.Errorf("%s, %s: %s\n%s", name, mode, text, plan)
			}
		}
	}
}
