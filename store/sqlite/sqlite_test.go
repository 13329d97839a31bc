package sqlite_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
	"github.com/arcd-io/arcd/store/storetest"
)

// openIn opens the database of a test in its folder.
func openIn(t testing.TB, dir string, cacheBytes int) *sqlite.Engine {
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

func TestRegistryContract(t *testing.T) {
	storetest.RunRegistry(t, func(t testing.TB, dir string) storetest.Registry { return openIn(t, dir, 0) })
}

// callers is how many goroutines commit at once where a test is about that.
const callers = 32

// creation is a change of the size that task.create makes.
func creation(n int64, now time.Time) store.Change {
	body := []byte(`{"deadline":"","metadata":{"k":"` + strings.Repeat("x", 80) + `"},"attempt":0}`)
	message := []byte(`{"role":"user","parts":[{"type":"TextPart","content":"` + strings.Repeat("y", 180) + `"}]}`)
	submitted := json.RawMessage(`{"taskId":"task-0123456789","status":"SUBMITTED","assignedAgent":"echo"}`)
	return store.Change{
		Thread: store.Thread{
			ID: fmt.Sprintf("task-%013d%08d", now.UnixMilli(), n), Kind: store.Task,
			Owner: fmt.Sprintf("https://issuer.example/oauth2/default\nclient-%d", n%8),
			From:  "caller", Agent: "echo", Status: "SUBMITTED", Priority: arc.PriorityNormal,
			Created: now, Updated: now, Ready: true, Rank: now.UnixMilli(), Body: body,
		},
		Events: []arc.Event{
			{Type: arc.TaskCreatedEvent, At: arc.At(now), Data: submitted},
			{Type: arc.NewMessageEvent, At: arc.At(now), Data: message},
		},
		Items: []store.Item{{Kind: store.MessageItem, Body: message}},
	}
}
