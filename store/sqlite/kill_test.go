package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
	"go.uber.org/goleak"
)

// childEnv names the folder in which this test binary, run as a child, commits
// until it is killed.
const childEnv = "ARCD_TEST_COMMIT_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, commitForever(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// commitForever has 32 goroutines work on threads of their own and tells on
// stdout what was acknowledged, after it was. It gives the first error.
func commitForever(dir string) error {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Config{File: filepath.Join(dir, "arcd.db")})
	if err != nil {
		return err
	}
	failed := make(chan error)
	born := time.Now() // the next child makes other ids
	for w := range callers {
		go func() {
			for i := 0; ; i++ {
				c := creation(int64(w*1_000_000+i), born)
				for range 3 {
					x, err := s.Commit(ctx, c)
					if err != nil {
						failed <- err
						return
					}
					if _, err := fmt.Printf("%s %d %d %d\n", x.ID, x.Rev, x.Seq, x.Items); err != nil {
						failed <- err
						return
					}
					c.Thread = x
				}
			}
		}()
	}
	return <-failed
}

// TestKill kills a process in full swing, twice over the same file, and looks
// for everything that it had acknowledged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := make(map[string]store.Thread)
	for range 2 {
		maps.Copy(acknowledged, killAfter(t, dir, 1500))
		s := openIn(t, dir, 0)
		for id, want := range acknowledged {
			got, err := s.Thread(t.Context(), id)
			if err != nil || got.Rev < want.Rev || got.Seq < want.Seq || got.Items < want.Items {
				t.Errorf("%s: %d %d %d, %v, acknowledged was %+v", id, got.Rev, got.Seq, got.Items, err, want)
			}
			checkWhole(t, s, got)
		}
		closeIt(t, s)
	}
}

// killAfter runs a child until it has acknowledged so many changes, kills it,
// and gives the last acknowledged state of each thread.
func killAfter(t *testing.T, dir string, changes int) map[string]store.Thread {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	var trouble strings.Builder
	child.Stderr = &trouble
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill := func() { once.Do(func() { _ = child.Process.Kill() }) }
	defer kill()

	acknowledged := make(map[string]store.Thread)
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		var x store.Thread
		if _, err := fmt.Sscan(lines.Text(), &x.ID, &x.Rev, &x.Seq, &x.Items); err != nil {
			continue // the line at which it was killed
		}
		if x.Rev > acknowledged[x.ID].Rev {
			acknowledged[x.ID] = x
		}
		if n == changes {
			kill()
		}
	}
	if err := child.Wait(); err == nil || trouble.Len() > 0 {
		t.Fatalf("child: %v, %s", err, trouble.String())
	}
	if len(acknowledged) < changes/4 {
		t.Fatalf("only %d threads acknowledged", len(acknowledged))
	}
	return acknowledged
}

// checkWhole tells whether a thread and its history belong together: what is
// there of a commit is all of it.
func checkWhole(t *testing.T, s store.Store, x store.Thread) {
	t.Helper()
	evs, gap, err := s.Events(t.Context(), x.ID, 0, 100)
	if err != nil || gap || int64(len(evs)) != x.Seq || x.Seq != 2*x.Rev {
		t.Errorf("%s at rev %d: %d of %d events, gap %v, %v", x.ID, x.Rev, len(evs), x.Seq, gap, err)
	}
	items, err := s.Items(t.Context(), x)
	if err != nil || len(items) != x.Items || int64(x.Items) != x.Rev {
		t.Errorf("%s at rev %d: %d of %d items, %v", x.ID, x.Rev, len(items), x.Items, err)
	}
}
