package postgres_test

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// databases makes of the folder that a suite names a database: the same for the same
// folder. The test server does not flush, and that is fine here.
func databases() func(t testing.TB, dir string) *postgres.Engine {
	var mu sync.Mutex
	urls := make(map[string]string)
	return func(t testing.TB, dir string) *postgres.Engine {
		t.Helper()
		mu.Lock()
		url, there := urls[dir]
		if !there {
			url = pgtest.Database(t)
			urls[dir] = url
		}
		mu.Unlock()
		return open(t, url)
	}
}

func open(t testing.TB, url string) *postgres.Engine {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: url, Unsafe: true, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	in := databases()
	storetest.Run(t, func(t testing.TB, dir string) store.Store { return in(t, dir) })
}
