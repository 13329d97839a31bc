package sqlite_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func mustCommit(t testing.TB, s store.Store, c store.Change) store.Thread {
	t.Helper()
	got, err := s.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func closeIt(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// flushError is what SQLite gives when fsync fails: SQLITE_IOERR_FSYNC.
type flushError struct{}

func (flushError) Error() string { return "disk I/O error (SQLITE_IOERR_FSYNC)" }
func (flushError) Code() int     { return 10 | 4<<8 }

// TestFailedFlushIsFatal breaks the disk: nothing is acknowledged from there
// on, every call says why, and a restart finds what was acknowledged.
func TestFailedFlushIsFatal(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, 0)
	kept := mustCommit(t, s, creation(1, epoch))
	if err := sqlite.BreakCommit(t.Context(), s, flushError{}); err == nil {
		t.Fatal("the commit that failed was acknowledged")
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := s.Commit(t.Context(), creation(int64(10+i), epoch)); !errors.Is(err, flushError{}) {
				t.Errorf("Commit after a failed flush: %v", err)
			}
		})
	}
	wg.Wait()
	_, rerr := s.Thread(t.Context(), kept.ID)
	for name, err := range map[string]error{"Check": s.Check(t.Context()), "Thread": rerr} {
		if !errors.Is(err, flushError{}) {
			t.Errorf("%s after a failed flush: %v", name, err)
		}
	}
	closeIt(t, s)

	s = openIn(t, dir, 0)
	defer closeIt(t, s)
	if got, err := s.Thread(t.Context(), kept.ID); err != nil || got.Rev != 1 {
		t.Errorf("after the restart: %+v, %v", got, err)
	}
	if _, err := s.Thread(t.Context(), creation(10, epoch).Thread.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was not acknowledged: %v, want ErrNotFound", err)
	}
}

// TestFullDisk runs out of room and gets some again. What fits is stored even
// if it shares a batch with what does not.
func TestFullDisk(t *testing.T) {
	s := openIn(t, t.TempDir(), 0)
	defer closeIt(t, s)
	x := mustCommit(t, s, creation(1, epoch))
	if err := sqlite.Exec(t.Context(), s, "PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err) // SQLite takes the present size instead
	}
	big := creation(2, epoch)
	big.Thread.Body = []byte(strings.Repeat("x", 1<<20))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.Commit(t.Context(), big); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a change for which there is no room: %v, want ErrUnavailable", err)
			}
		})
		wg.Go(func() {
			if err := s.Revoke(t.Context(), store.Revocation{Kind: "jti", Value: "small"}); err != nil {
				t.Errorf("a change that fits: %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := s.Thread(t.Context(), big.Thread.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the refused thread: %v, want ErrNotFound", err)
	}
	if err := sqlite.Exec(t.Context(), s, "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, big)
	mustCommit(t, s, store.Change{Thread: x, Events: big.Events})
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check after there was room again: %v", err)
	}
}

// TestLostSetting takes durability away behind the engine's back.
func TestLostSetting(t *testing.T) {
	s := openIn(t, t.TempDir(), 0)
	defer closeIt(t, s)
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.SetOutside(t.Context(), s, "PRAGMA synchronous = OFF"); err != nil {
		t.Fatal(err)
	}
	err := s.Check(t.Context())
	if err == nil {
		t.Fatal("Check does not see that synchronous is off")
	}
	expect(t, err.Error(), "synchronous = 0 instead of 2")
}

// TestGap removes old events, as a later retention of events will.
func TestGap(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, 0)
	x := mustCommit(t, s, creation(1, epoch))
	for range 3 {
		x = mustCommit(t, s, store.Change{Thread: x, Events: creation(1, epoch).Events})
	}
	if err := sqlite.Exec(t.Context(), s, "DELETE FROM log WHERE seq <= 4"); err != nil {
		t.Fatal(err)
	}
	closeIt(t, s)
	s = openIn(t, dir, 0)
	defer closeIt(t, s)
	for after, want := range map[int64]bool{0: true, 3: true, 4: false, 5: false, 8: false, 99: false} {
		evs, gap, err := s.Events(t.Context(), x.ID, after, 2)
		if err != nil || gap != want {
			t.Errorf("Events after %d: gap %v, %v, want %v", after, gap, err, want)
		}
		if after < 8 && (len(evs) != 2 || evs[0].Seq != max(after, 4)+1) {
			t.Errorf("Events after %d: %v", after, evs)
		}
	}
	if err := sqlite.Exec(t.Context(), s, "DELETE FROM log"); err != nil {
		t.Fatal(err)
	}
	if evs, gap, err := s.Events(t.Context(), x.ID, 0, 2); err != nil || !gap || len(evs) > 0 {
		t.Errorf("Events of an empty log: %v, gap %v, %v", evs, gap, err)
	}
}

// TestManyThreadsWithSmallCache has readers and writers meet in a cache that
// throws things out all the time: no read may be older than the last write of
// its own goroutine.
func TestManyThreadsWithSmallCache(t *testing.T) {
	s := openIn(t, t.TempDir(), 20_000)
	defer closeIt(t, s)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			threads := make([]store.Thread, 6)
			for i := range threads {
				threads[i] = mustCommit(t, s, creation(int64(100*w+i), epoch))
			}
			for round := range 12 {
				for i := range threads {
					x, err := s.Commit(t.Context(), store.Change{Thread: threads[i], Events: creation(1, epoch).Events,
						Items: []store.Item{{Kind: store.MessageItem, Body: fmt.Append(nil, round)}}})
					if err != nil {
						t.Error(err)
						return
					}
					threads[i] = x
					other := creation(int64(100*((w+1)%8)+i), epoch).Thread.ID
					if _, err := s.Items(t.Context(), store.Thread{ID: other, Items: 1}); err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Error(err)
					}
					items, err := s.Items(t.Context(), x)
					if err != nil || len(items) != round+2 {
						t.Errorf("%d items after %d commits, %v", len(items), round+2, err)
					}
				}
			}
		})
	}
	wg.Wait()
}
