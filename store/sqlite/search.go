package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/store"
)

// searchAgents ranks by BM25, which counts a word in the names sixteen times.
// SQLite's figure is the smaller, the better. The hits are cut before the agents
// are looked up; where a type is wanted that cannot be.
const (
	searchAgents = `SELECT a.id, -s.rank FROM (SELECT rowid, rank FROM agent_text
	WHERE agent_text MATCH ?1 AND rank MATCH 'bm25(16.0, 8.0, 3.0, 1.0)' ORDER BY rank LIMIT ?2) s
	CROSS JOIN agent a ON a.n = s.rowid ORDER BY s.rank, a.id`
	searchType = `SELECT a.id, -bm25(agent_text, 16.0, 8.0, 3.0, 1.0) AS score
	FROM agent_text CROSS JOIN agent a ON a.n = agent_text.rowid
	WHERE agent_text MATCH ?1 AND a.type = ?3 ORDER BY score DESC, a.id LIMIT ?2`
)

// SearchAgents implements [store.Registry].
func (s *Engine) SearchAgents(ctx context.Context, q store.Search) ([]store.Hit, error) {
	match := matching(q.Prefixes, q.Least)
	if match == "" {
		return nil, s.gate.Check()
	}
	var hits []store.Hit
	err := s.read(ctx, func(c *conn) error {
		text, args := searchAgents, []any{match, int64(max(q.Limit, 1))}
		if q.Type != "" {
			text, args = searchType, append(args, q.Type)
		}
		return c.query(text, args, func(row []driver.Value) error {
			id, _ := row[0].(string)
			rank, _ := row[1].(float64)
			hits = append(hits, store.Hit{ID: id, Rank: rank})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("searching agents: %w", err)
	}
	return hits, nil
}

// maxCombinations bounds the text of a query that asks for several words.
const maxCombinations = 24

// matching gives the full-text query for words that begin with at least so many of
// the prefixes; "" if there is none to look for. Within quotes everything but a
// quote and the end of the text (a zero byte) is part of the word. A prefix that
// is named twice counts once. Where that many out of so many would make too long a
// query, any one will do.
func matching(prefixes []string, least int) string {
	quoted := strings.NewReplacer(`"`, `""`, "\x00", " ")
	var words []string
	for _, p := range slices.Compact(slices.Sorted(slices.Values(prefixes))) {
		if p != "" {
			words = append(words, `"`+quoted.Replace(p)+`"*`)
		}
	}
	least = max(1, min(least, len(words)))
	if combinations(len(words), least) > maxCombinations {
		least = 1
	}
	var all []string
	combine(words, least, nil, func(chosen []string) {
		all = append(all, "("+strings.Join(chosen, " AND ")+")")
	})
	return strings.Join(all, " OR ")
}

// combinations counts the ways to choose k of n, up to maxCombinations and one.
func combinations(n, k int) int {
	ways := 1
	for i := range min(k, n-k) {
		if ways = ways * (n - i) / (i + 1); ways > maxCombinations {
			return maxCombinations + 1
		}
	}
	return ways
}

// combine gives every choice of k of the words.
func combine(words []string, k int, chosen []string, give func([]string)) {
	if k == 0 {
		if len(chosen) > 0 {
			give(chosen)
		}
		return
	}
	for i := range words[:max(0, len(words)-k+1)] {
		combine(words[i+1:], k-1, append(slices.Clip(chosen), words[i]), give)
	}
}
