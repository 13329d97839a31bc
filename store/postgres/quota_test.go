package postgres_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/storetest"
)

func TestQuotaContract(t *testing.T) {
	in := databases()
	storetest.RunQuota(t, func(t testing.TB, dir string) storetest.Quota { return in(t, dir) })
}

// TestFullBucketsAreRemoved takes from buckets and looks later which of them have a
// row.
func TestFullBucketsAreRemoved(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	now := time.Now()
	take := func(after time.Duration, asks ...store.Ask) {
		t.Helper()
		if _, err := s.Take(t.Context(), asks, now.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	take(0, store.Ask{Key: "quick", Rate: 1, Burst: 10, Want: 10}, store.Ask{Key: "slow", Rate: 0.001, Burst: 10, Want: 10})
	take(2*time.Minute, store.Ask{Key: "other", Rate: 1, Burst: 10, Want: 1})
	if err := s.Close(); err != nil { // waits for the removal
		t.Fatal(err)
	}
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	rows, err := c.Query(t.Context(), "SELECT key FROM quota ORDER BY key")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"other", "slow"}, keys); d != "" {
		t.Errorf("buckets that are there (-want +got):\n%s", d)
	}
}

// TestBucketsOutliveAClockSetBack: a bucket gains again, though it was last taken from
// at a time that is now far ahead.
func TestBucketsOutliveAClockSetBack(t *testing.T) {
	s := open(t, pgtest.Database(t))
	now := time.Now()
	ask := []store.Ask{{Key: "a", Rate: 1, Burst: 10, Want: 10}}
	for _, step := range []struct {
		at   time.Duration
		want int64
	}{{time.Hour, 10}, {0, 0}, {5 * time.Second, 5}} {
		took, err := s.Take(t.Context(), ask, now.Add(step.at))
		if err != nil || took[0] != step.want {
			t.Errorf("at %v: took %v, %v, want %d", step.at, took, err, step.want)
		}
	}
}
