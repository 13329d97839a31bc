package postgres

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

// take gains each bucket what it has gained since the last time, and takes what is
// wanted or what there is, in whole tokens. A row that is new is a full bucket. The
// values of the row that would be inserted say what was asked: tokens and took together
// are the burst, took what is wanted of it. Rows are locked in the order of their keys,
// by all replicas alike. A time that lies more than a minute ahead is that of a clock that
// was set back since, or of another machine before a failover: without a new one the bucket
// would gain nothing until it is over.
const take = `
INSERT INTO quota AS q (key, tokens, took, rate, burst, at)
SELECT key, burst - least(want, burst), least(want, burst), rate, burst, $5::bigint
FROM unnest($1::text[], $2::double precision[], $3::bigint[], $4::bigint[]) AS ask (key, rate, burst, want)
ORDER BY key
ON CONFLICT (key) DO UPDATE SET
	took = least(excluded.took, greatest(0, floor(least(excluded.burst,
		q.tokens + greatest(0, excluded.at - q.at) * excluded.rate / 1000)))),
	tokens = least(excluded.burst, q.tokens + greatest(0, excluded.at - q.at) * excluded.rate / 1000)
		- least(excluded.took, greatest(0, floor(least(excluded.burst,
			q.tokens + greatest(0, excluded.at - q.at) * excluded.rate / 1000)))),
	rate = excluded.rate, burst = excluded.burst, at = CASE WHEN q.at > excluded.at + 60000 THEN excluded.at ELSE greatest(q.at, excluded.at) END
RETURNING key, took`

// Take implements [store.Quota]. It is one statement, which is a transaction by itself.
// If the connection is lost during it, tokens may be taken that nobody gets.
func (s *Engine) Take(ctx context.Context, asks []store.Ask, now time.Time) ([]int64, error) {
	if len(asks) == 0 {
		return nil, nil
	}
	wanted := merge(asks)
	got := make(map[string]int64, len(wanted))
	err := s.read(ctx, "taking tokens", func(q querier) error {
		clear(got)
		return takeAll(ctx, q, wanted, now, got)
	})
	if err != nil {
		return nil, err
	}
	s.pruneQuota(now)
	took := make([]int64, len(asks))
	for i, a := range asks {
		took[i] = min(a.Want, got[a.Key])
		got[a.Key] -= took[i]
	}
	return took, nil
}

// merge puts the asks in the order of their keys, with one for each.
func merge(asks []store.Ask) []store.Ask {
	sorted := slices.Clone(asks)
	slices.SortStableFunc(sorted, func(a, b store.Ask) int { return strings.Compare(a.Key, b.Key) })
	merged := sorted[:0]
	for i, a := range sorted {
		a.Want = min(a.Want, a.Burst)
		if i == 0 {
			merged = append(merged, a)
			continue
		}
		if last := &merged[len(merged)-1]; last.Key == a.Key {
			last.Want += a.Want
			continue
		}
		merged = append(merged, a)
	}
	return merged
}

func takeAll(ctx context.Context, q querier, asks []store.Ask, now time.Time, taken map[string]int64) error {
	n := len(asks)
	keys, rates, bursts, wants := make([]string, n), make([]float64, n), make([]int64, n), make([]int64, n)
	for i, a := range asks {
		keys[i], rates[i], bursts[i], wants[i] = put(a.Key), a.Rate, a.Burst, a.Want
	}
	rows, err := q.Query(ctx, take, keys, rates, bursts, wants, now.UnixMilli())
	if err != nil {
		return err
	}
	var key string
	var took int64
	_, err = pgx.ForEachRow(rows, []any{&key, &took}, func() error {
		taken[got(key)] = took
		return nil
	})
	return err
}

const (
	// quotaPruning is the time between two looks for buckets that are full.
	quotaPruning = time.Minute
	// quotaPruned is how many of them are removed at once.
	quotaPruned = 1000
)

// pruning keeps the times at which a replica looks for full buckets.
type pruning struct {
	next atomic.Int64 // milliseconds; 0: at once
}

// due tells whether it is time, to one caller only.
func (p *pruning) due(now time.Time) bool {
	next := p.next.Load()
	return now.UnixMilli() >= next && p.next.CompareAndSwap(next, now.Add(quotaPruning).UnixMilli())
}

// removeFilled removes buckets that are full: as good as none. Those that somebody takes
// from right now are passed over, so nobody waits for it.
const removeFilled = `
WITH filled AS MATERIALIZED (
	SELECT key FROM quota WHERE tokens + ($1 - at) * rate / 1000 >= burst ORDER BY key LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM quota WHERE key IN (SELECT key FROM filled)`

// pruneQuota now and then removes full buckets. Nobody waits for it but Close, and what
// it does not get done the next one does.
func (s *Engine) pruneQuota(now time.Time) {
	if !s.quota.due(now) || s.gate.Enter() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ending, patience)
	go func() {
		defer s.gate.Leave()
		defer cancel()
		for {
			tag, err := s.pool.Exec(ctx, removeFilled, now.UnixMilli(), quotaPruned)
			if err != nil || tag.RowsAffected() < quotaPruned {
				return
			}
		}
	}()
}
