package postgres

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arcd-io/arcd/store"
)

// A search reads the words that begin with its prefixes, and ranks here: the database
// is shared, and what it would have to sort grows with the hits.
const (
	countWords = `SELECT agents, words FROM registry_version WHERE id = 1`
	// A word in the names counts sixteen times.
	findWords = `SELECT agent, 16 * names + 8 * abilities + 3 * description + rest, size FROM agent_word
	WHERE word >= $1 AND word < $2 AND ($3 = '' OR type = $3) ORDER BY word, agent LIMIT $4`
)

// maxPostings is how many words of agents one search reads at most, of each prefix an
// equal share and at least leastPostings: what many agents have says little about any
// of them. It takes some 10 MB and a tenth of a second.
const (
	maxPostings   = 100_000
	leastPostings = 100
)

// SearchAgents implements [store.Registry]. Of a prefix with more words than
// maxPostings allows the first ones count, in alphabetical order: itself above all.
func (s *Engine) SearchAgents(ctx context.Context, q store.Search) ([]store.Hit, error) {
	prefixes := slices.Compact(slices.Sorted(slices.Values(q.Prefixes)))
	prefixes = slices.DeleteFunc(prefixes, func(p string) bool { return p == "" })
	least := max(1, min(q.Least, len(prefixes)))
	var able []string
	for _, p := range prefixes {
		if word := prefixOf(p); word != "" {
			able = append(able, word)
		}
	}
	if len(able) == 0 {
		return nil, s.gate.Check()
	}
	var r *ranking
	_, err := s.batch(ctx, "searching agents", func(b *pgx.Batch) {
		r = &ranking{index: make(map[string]int)}
		b.Queue(countWords).QueryRow(func(row pgx.Row) error { return row.Scan(&r.agents, &r.words) })
		for _, p := range able {
			b.Queue(findWords, p, behind(p), put(q.Type), max(maxPostings/len(able), leastPostings)).Query(r.add)
		}
	})
	if err != nil {
		return nil, err
	}
	return r.best(least, max(q.Limit, 1)), nil
}

// ranking ranks agents by BM25, with the numbers of SQLite's full-text search.
type ranking struct {
	agents, words float64 // all there are
	index         map[string]int
	found         []candidate
	touched       []int // that the present prefix has found
}

type candidate struct {
	id       string
	size     float64 // of its texts, in words
	weight   float64 // of the words with the present prefix
	prefixes int     // that it has words with
	rank     float64
}

// add reads the words with one prefix.
func (r *ranking) add(rows pgx.Rows) error {
	r.touched = r.touched[:0]
	var id pgtype.DriverBytes // valid until the next row
	var weight, size int32
	for rows.Next() {
		if err := rows.Scan(&id, &weight, &size); err != nil {
			return err
		}
		i, there := r.index[string(id)]
		if !there {
			i = len(r.found)
			r.found = append(r.found, candidate{id: string(id), size: float64(size)})
			r.index[r.found[i].id] = i
		}
		c := &r.found[i]
		if c.weight == 0 {
			r.touched = append(r.touched, i)
		}
		c.weight += float64(weight)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	r.settle()
	return nil
}

// settle adds to the ranks what the present prefix makes.
func (r *ranking) settle() {
	const k, b = 1.2, 0.75
	having := float64(len(r.touched))
	rarity := max(1e-6, math.Log((r.agents-having+0.5)/(having+0.5)))
	if r.agents < having { // somebody registered meanwhile
		rarity = 1e-6
	}
	usual := max(r.words, 1) / max(r.agents, 1)
	for _, i := range r.touched {
		c := &r.found[i]
		c.rank += rarity * c.weight * (k + 1) / (c.weight + k*(1-b+b*c.size/usual))
		c.prefixes++
		c.weight = 0
	}
}

// best gives the best of those with words of so many prefixes.
func (r *ranking) best(least, limit int) []store.Hit {
	var hits []store.Hit
	for i := range r.found {
		if c := &r.found[i]; c.prefixes >= least {
			hits = append(hits, store.Hit{ID: got(c.id), Rank: c.rank})
		}
	}
	slices.SortFunc(hits, func(a, b store.Hit) int {
		return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(a.ID, b.ID))
	})
	return hits[:min(len(hits), limit)]
}
