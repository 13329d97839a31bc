package transfer_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
	"github.com/arcd-io/arcd/store/transfer"
)

// backups are the ways to a file of each engine, beside a server.
var backups = map[string]func(t testing.TB, from place, file string){
	"sqlite": func(t testing.TB, from place, file string) {
		must(t, sqlite.Backup(t.Context(), string(from.(sqlitePlace)), file))
	},
	"postgres": func(t testing.TB, from place, file string) {
		r := ok(from.reader(t.Context(), false))(t)
		defer mustClose(t, r)
		w := ok(sqlite.OpenWriter(t.Context(), file, texts))(t)
		defer mustClose(t, w)
		ok(transfer.Copy(t.Context(), r, w, transfer.Config{Source: "a"}))(t)
	},
}

// TestBackupBesideWrites takes a backup while tasks are made and changed: what was
// acknowledged before is in it, and it is one moment: no row without those it needs.
func TestBackupBesideWrites(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			s := p.open(t)
			const before = 40
			fill(t, s, before)
			var made atomic.Int64
			stop, running, busy := writeMuch(t, s, &made)
			<-busy
			var copied sqlitePlace
			var acknowledged int64
			for acknowledged == 0 || made.Load() == acknowledged { // a backup during which nothing was written proves nothing
				acknowledged = made.Load()
				copied = sqlitePlace(filepath.Join(t.TempDir(), "copy.db"))
				backups[name](t, p, string(copied))
			}
			close(stop)
			running.Wait()
			mustClose(t, s)
			if found := examine(t, copied); len(found) > 0 {
				t.Errorf("the backup is not whole: %v", found)
			}
			restored := make(t)
			ok(copyTo(t, copied, restored, transfer.Config{}))(t)
			s = restored.open(t)
			defer mustClose(t, s)
			look(t, s, before) // it fails where one is missing
			for n := range acknowledged {
				if _, err := s.Thread(t.Context(), fmt.Sprintf("busy-%06d", n+1)); err != nil {
					t.Fatalf("task %d of %d that were acknowledged before the backup: %v", n+1, acknowledged, err)
				}
			}
		})
	}
}

// writeMuch makes tasks and changes each, until stop is closed. made counts those that
// are acknowledged, in the order of their numbers; busy is closed when there are some.
func writeMuch(t testing.TB, s store.Store, made *atomic.Int64) (stop chan struct{}, running *sync.WaitGroup, busy chan struct{}) {
	stop, busy, running = make(chan struct{}), make(chan struct{}), &sync.WaitGroup{}
	running.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			th, err := s.Commit(t.Context(), store.Change{
				Thread: store.Thread{
					ID: fmt.Sprintf("busy-%06d", n), Kind: store.Task, Owner: "busy", From: "b", Agent: "busy", Status: "SUBMITTED",
					Priority: arc.PriorityNormal, Created: at(n), Updated: at(n), Body: []byte(strings.Repeat("x", 300)),
				},
				Events: []arc.Event{{Type: arc.TaskCreatedEvent, At: arc.At(at(n))}},
				Items:  []store.Item{{Kind: store.MessageItem, Body: []byte("y")}},
			})
			if err == nil {
				_, err = s.Commit(t.Context(), store.Change{Thread: th, Events: []arc.Event{{Type: "STATUS_CHANGE", At: arc.At(at(n))}}})
			}
			if err != nil {
				t.Error(err)
				return
			}
			made.Store(int64(n))
			if n == 20 {
				close(busy)
			}
		}
	})
	return stop, running, busy
}
