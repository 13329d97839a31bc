package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

// The statements of beats. Replicas that write beats of the same agents lock their
// rows in the same order, so that none waits for another that waits for it.
const (
	lockLives = `SELECT count(*) FROM (SELECT id FROM agent_life WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE) l`

	// What says that the agent lived later than the row does, counts; its counts are
	// written in any case.
	putBeats = `UPDATE agent_life l SET
		seen = CASE WHEN coalesce(l.seen, 0) <= coalesce(b.seen, 0) THEN b.seen ELSE l.seen END,
		alive = CASE WHEN coalesce(l.seen, 0) <= coalesce(b.seen, 0) THEN b.alive ELSE l.alive END,
		counts = coalesce(b.counts, l.counts)
	FROM unnest($1::text[], $2::bigint[], $3::boolean[], $4::bytea[]) AS b (id, seen, alive, counts)
	WHERE l.id = b.id AND (coalesce(l.seen, 0) <= coalesce(b.seen, 0) OR b.counts IS NOT NULL)`
)

// Beat implements [store.Registry].
func (s *Engine) Beat(ctx context.Context, beats []store.Beat) error {
	if len(beats) == 0 {
		return s.gate.Check()
	}
	merged := mergeBeats(beats)
	n := len(merged)
	ids, seen, alive, counts := make([]string, n), make([]*int64, n), make([]bool, n), make([][]byte, n)
	for i := range merged {
		b := &merged[i]
		ids[i], seen[i], alive[i], counts[i] = put(b.ID), millis(b.Seen), b.Alive, b.Counts
	}
	_, err := s.batch(ctx, "writing beats", func(b *pgx.Batch) {
		if n > 1 {
			b.Queue(lockLives, ids)
		}
		b.Queue(putBeats, ids, seen, alive, counts)
	})
	return err
}

// mergeBeats makes one beat of all of an agent, with what they would leave if they were
// written one after the other, and sorts by id.
func mergeBeats(beats []store.Beat) []store.Beat {
	// Stable: of two beats of one agent the later one counts.
	sorted := slices.SortedStableFunc(slices.Values(beats), func(a, b store.Beat) int { return cmp.Compare(a.ID, b.ID) })
	merged := sorted[:0]
	for _, b := range sorted {
		if len(merged) == 0 || merged[len(merged)-1].ID != b.ID {
			merged = append(merged, b)
			continue
		}
		last := &merged[len(merged)-1]
		if !b.Seen.Before(last.Seen) {
			last.Seen, last.Alive = b.Seen, b.Alive
		}
		if b.Counts != nil {
			last.Counts = b.Counts
		}
	}
	return merged
}

// selectBeats reads the whole table, which is narrow: an index would make each beat
// write to it.
const selectBeats = `SELECT id, seen, alive, counts FROM agent_life WHERE seen >= $1 ORDER BY id`

// Beats implements [store.Registry].
func (s *Engine) Beats(ctx context.Context, since time.Time) (beats []store.Beat, err error) {
	err = s.read(ctx, "reading beats", func(q querier) error {
		rows, _ := q.Query(ctx, selectBeats, since.UnixMilli()) // CollectRows gives the error
		beats, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (b store.Beat, err error) {
			var seen *int64
			err = row.Scan(&b.ID, &seen, &b.Alive, &b.Counts)
			b.ID, b.Seen = got(b.ID), instant(seen)
			return b, err
		})
		return err
	})
	return beats, err
}
