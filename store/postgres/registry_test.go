package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/storetest"
)

func TestRegistryContract(t *testing.T) {
	in := databases()
	storetest.RunRegistry(t, func(t testing.TB, dir string) storetest.Registry { return in(t, dir) })
}

func TestShared(t *testing.T) {
	in := databases()
	storetest.RunShared(t, func(t testing.TB, dir string) storetest.Shared { return in(t, dir) })
}

// epoch is when the tests' rows begin.
var epoch = time.UnixMilli(1_790_000_000_000).UTC()

func closeIt(t testing.TB, s *postgres.Engine) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestManyChanges: where more changed than one answer should hold, all is read anew.
func TestManyChanges(t *testing.T) {
	db := pgtest.Database(t)
	s := open(t, db)
	defer closeIt(t, s)
	for rows, whole := range map[int]bool{postgres.MaxChanges: false, postgres.MaxChanges + 1: true} {
		before, err := s.Changes(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, db, fmt.Sprintf(`WITH v AS (UPDATE registry_version SET n = n + %d RETURNING n)
			INSERT INTO mark SELECT 'k%d', i::text, v.n - %d + i, NULL, NULL FROM v, generate_series(1, %d) i`, rows, rows, rows, rows))
		c, err := s.Changes(t.Context(), before.Version)
		if err != nil || c.Whole != whole || !whole && len(c.Marks) != rows || c.Version != before.Version+int64(rows) {
			t.Errorf("after %d changes: %d marks, whole %v, version %d after %d, %v", rows, len(c.Marks), c.Whole, c.Version, before.Version, err)
		}
	}
}
