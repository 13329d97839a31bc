package hostload_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/hostload"
)

// TestProcessors reads kernel files of a machine that was in a known state before
// and after.
func TestProcessors(t *testing.T) {
	for label, c := range map[string]struct {
		before, after string
		want          float64 // percent; below 0: not known
	}{
		"a quarter":          {"cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1", "cpu  110 5 55 850 60 4 6 0 0 0\ncpu0 1", 100 * 30.0 / 90},
		"stolen and guests":  {"cpu  0 0 0 0 0 0 0 0 0 0", "cpu  10 0 0 30 0 0 0 500 10 0", 25},
		"an old kernel":      {"cpu  0 0 0 0 0 0 0", "cpu  1 0 0 1 0 0 0", 50},
		"too few columns":    {"cpu  0 0 0 0", "cpu  1 0 0 1", -1},
		"something else":     {"intr 1 2 3 4 5 6 7 8", "intr 1 2 3 4 5 6 7 8", -1},
		"no number":          {"cpu  0 0 x 0 0 0 0", "cpu  0 0 x 0 0 0 0", -1},
		"nothing":            {"", "", -1},
		"a line without end": {"cpu  0 0 0 0 0 0 0 0 0 0", "cpu  1 0 0 3 0 0 0 0 0 0", 25},
	} {
		dir := t.TempDir()
		t.Setenv("HOST_PROC", dir)
		write := func(text string) {
			if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Unix(1000, 0)
		write(c.before)
		meter := hostload.New(hostload.Config{Now: func() time.Time { return now }})
		now = now.Add(time.Minute)
		write(c.after)
		got := meter.Load().CPU
		if known := !math.IsNaN(got); known != (c.want >= 0) || known && math.Abs(got-c.want) > .001 {
			t.Errorf("%s: %v, want %v", label, got, c.want)
		}
	}
}
