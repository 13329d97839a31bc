package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
	"github.com/arcd-io/arcd/store/storetest"
)

// openIn opens the database of a test in its folder.
func openIn(t testing.TB, dir string, cacheBytes int) store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{File: filepath.Join(dir, "arcd.db"), CacheBytes: cacheBytes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB, dir string) store.Store { return openIn(t, dir, 0) })
}

// TestContractWithoutCache runs the suite with a cache that holds about one
// thread, so that the reads come from the file.
func TestContractWithoutCache(t *testing.T) {
	storetest.Run(t, func(t testing.TB, dir string) store.Store { return openIn(t, dir, 1) })
}
