package postgres_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/sqlite"
)

// TestSearchLikeSQLite: both engines find the same and rank it the same, whatever was
// registered, changed and deleted before.
func TestSearchLikeSQLite(t *testing.T) {
	pg := open(t, pgtest.Database(t))
	defer closeIt(t, pg)
	lite, err := sqlite.Open(t.Context(), sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		words := []string{"plan", "planner", "plans", "translate", "Übersetzer", "ÜBER", "ΜΕΤΑΦΡΑΣΗΣ", "翻译", "pdf_parse", "v2.0", "e\u0301te", "a-b-c", "the", "THE", "of"}
		var b strings.Builder
		for range rnd.IntN(8) {
			b.WriteString(words[rnd.IntN(len(words))] + []string{" ", ", ", "/"}[rnd.IntN(3)])
		}
		return b.String()
	}
	agents := make(map[string]store.Agent)
	for range 150 {
		id := fmt.Sprint("agent-", rnd.IntN(60))
		if rev := agents[id].Rev; rev > 0 && rnd.IntN(3) == 0 {
			if err := pg.DeleteAgent(t.Context(), id, rev); err != nil {
				t.Fatal(err)
			}
			delete(agents, id)
			continue
		}
		a := store.Agent{ID: id, Rev: agents[id].Rev, Type: []string{"one", "two"}[rnd.IntN(2)], Texts: [4]string{text(), text(), text(), text()}}
		if agents[id], err = pg.PutAgent(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range agents { // what SQLite counts still includes what was changed and deleted
		a.Rev = 0
		if _, err := lite.PutAgent(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []store.Search{
		{Prefixes: []string{"plan"}}, {Prefixes: []string{"planner"}}, {Prefixes: []string{"über"}}, {Prefixes: []string{"μεταφρασης"}},
		{Prefixes: []string{"翻"}}, {Prefixes: []string{"e"}}, {Prefixes: []string{"2"}}, {Prefixes: []string{"v2"}}, {Prefixes: []string{"pars"}},
		{Prefixes: []string{"t"}, Type: "two"}, {Prefixes: []string{"the", "trans", "none"}}, {Prefixes: []string{"a", "b", "c"}, Type: "one"},
		{Prefixes: []string{"the", "trans"}, Least: 2}, {Prefixes: []string{"the", "trans", "plan", "über"}, Least: 4},
	} {
		q.Limit = 1000
		ranks := make([]map[string]float64, 2)
		for i, e := range []store.Registry{pg, lite} {
			hits, err := e.SearchAgents(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			ranks[i] = make(map[string]float64)
			for _, h := range hits {
				if ranks[i][h.ID] = h.Rank; q.Type != "" { // how rare a word is, is told within the type
					ranks[i][h.ID] = 0
				}
			}
		}
		if d := cmp.Diff(ranks[1], ranks[0], cmpopts.EquateApprox(1e-9, 1e-12)); d != "" {
			t.Errorf("%+v (-SQLite +PostgreSQL):\n%s", q, d)
		}
	}
}

// TestSearchBounds: a prefix that very many words begin with is not read to its end,
// and what is looked for itself comes first.
func TestSearchBounds(t *testing.T) {
	db := pgtest.Database(t)
	s := open(t, db)
	defer closeIt(t, s)
	pgtest.Exec(t, db, `INSERT INTO agent_word SELECT 'word' || lpad(n::text, 6, '0'), 'agent-' || n, '', 4, 1, 0, 0, 0 FROM generate_series(1, $1::int) n`,
		postgres.MaxPostings+1000)
	pgtest.Exec(t, db, `INSERT INTO agent_word SELECT 'word', 'exact-' || n, '', 4, 1, 0, 0, 0 FROM generate_series(1, 10) n`)
	pgtest.Exec(t, db, `UPDATE registry_version SET agents = $1::bigint, words = 4 * $1::bigint`, 2*postgres.MaxPostings)
	hits, err := s.SearchAgents(t.Context(), store.Search{Prefixes: []string{"wor"}, Limit: math.MaxInt32})
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, h := range hits {
		found[h.ID] = true
	}
	exact := slices.DeleteFunc(slices.Collect(maps.Keys(found)), func(id string) bool { return !strings.HasPrefix(id, "exact") })
	if len(hits) != postgres.MaxPostings || len(exact) != 10 {
		t.Errorf("%d hits, %d with the word itself; want %d and 10", len(hits), len(exact), postgres.MaxPostings)
	}
}

// TestWords splits texts.
func TestWords(t *testing.T) {
	long := strings.Repeat("x", 150) + strings.Repeat("é", 100)
	for text, want := range map[string][]string{
		"":                            nil,
		" -- ":                        nil,
		"One two,three":               {"one", "two", "three"},
		"ſ µ ς Σ ẞ":                   {"s", "μ", "σ", "σ", "ß"},
		"cafe\u0301 \u0301x":          {"cafe\u0301", "x"},
		"a\x00b\xffc":                 {"a", "b", "c"},
		"²Ⅷ٣":                         {"²ⅷ٣"},
		long + " y":                   {strings.Repeat("x", 150) + strings.Repeat("é", 25), "y"},
		strings.Repeat("界", 70) + "a": {strings.Repeat("界", 66)},
	} {
		if d := cmp.Diff(want, postgres.Words(text), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("words of %q (-want +got):\n%s", text, d)
		}
	}
	for prefix, want := range map[string][2]string{
		"ab": {"ab", "ac"}, "Z": {"z", "{"}, "\uD7FB": {"\uD7FB", "\uD7FC"}, "a\u0301": {"a\u0301", "a\u0302"},
		"a b": {}, "-": {}, "\u0301": {}, "a\xff": {}, "a\x00": {}, "\U0010FFFD": {"\U0010FFFD", "\U0010FFFE"},
	} {
		low, high := postgres.Prefix(prefix)
		if low != want[0] || high != want[1] {
			t.Errorf("range of %q: %q to %q, want %q", prefix, low, high, want)
		}
	}
}
