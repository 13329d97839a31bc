package server_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// awayStore is a store that cannot be reached for a while.
type awayStore struct {
	*sqlite.Engine
	away atomic.Bool
}

func (a *awayStore) Commit(ctx context.Context, c store.Change) (store.Thread, error) {
	if a.away.Load() {
		return store.Thread{}, fmt.Errorf("%w: connection refused", store.ErrUnavailable)
	}
	return a.Engine.Commit(ctx, c)
}

// TestStoreAway: a call that cannot be made because the database is away is refused as
// the server's outage, at every kind of call, and no request is logged as a fault of
// the program.
func TestStoreAway(t *testing.T) {
	engine, err := sqlite.Open(t.Context(), sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	db := &awayStore{Engine: engine}
	w := start(t, options{db: db})
	const params = `{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"x"}]}`
	for label, body := range map[string]string{
		"ARC":      `{"arc":"1.0","id":"1","method":"task.create","requestAgent":"a","targetAgent":"idle","params":` + params + `}}`,
		"stream":   `{"arc":"1.0","id":"1","method":"chat.start","requestAgent":"a","targetAgent":"echo","params":` + params + `,"stream":true}}`,
		"JSON-RPC": `{"jsonrpc":"2.0","id":1,"method":"task.create","requestAgent":"a","targetAgent":"idle","params":` + params + `}}`,
	} {
		db.away.Store(true)
		got := w.do(ask{token: w.token(), body: body})
		db.away.Store(false)
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" {
			t.Errorf("%s: status %d, Retry-After %q", label, got.status, got.header.Get("Retry-After"))
		}
		for _, want := range []string{"-41002", `"store_unavailable"`, `"retryable":true`} {
			if !strings.Contains(got.body, want) {
				t.Errorf("%s: %s is not in %s", label, want, got.body)
			}
		}
	}
}
