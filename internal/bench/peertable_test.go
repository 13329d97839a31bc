package main

import (
	"strings"
	"testing"
	"time"
)

// TestComparisonTable: rates stand beside those of the first server, by the median of
// the rounds.
func TestComparisonTable(t *testing.T) {
	c := &comparison{options: options{rounds: 3, duration: time.Second}, figures: map[figureKey][]figure{}}
	for _, name := range []string{"arcd", "other"} {
		c.peers = append(c.peers, &peer{name: name, note: "keeps nothing", running: &program{startup: 12 * time.Millisecond}, versionText: name + " 1.0"})
		for _, what := range compared {
			for _, connections := range levels {
				for round := range 3 {
					f := figure{perSecond: 1000 * float64(round+1), spread: spread{time.Millisecond, 3 * time.Millisecond}}
					if name == "other" {
						f.perSecond /= 20
					}
					key := figureKey{what, connections, name}
					c.figures[key] = append(c.figures[key], f)
				}
			}
		}
	}
	var out strings.Builder
	if err := c.print(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for want, times := range map[string]int{"1.00 / 3.00": 2 * len(compared) * len(levels), "2000": len(compared) * len(levels), "0.05": len(compared) * len(levels),
		"other 1.0": 1, "12ms": 2, "other: keeps nothing.": 1} {
		if got := strings.Count(text, want); got != times {
			t.Errorf("%q stands there %d times, want %d", want, got, times)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestRatioText(t *testing.T) {
	for r, want := range map[float64]string{12.3456: "12.35", 1: "1.00", 0.1: "0.10", 0.0567: "0.057", 0.00123: "0.0012"} {
		if got := ratioText(r); got != want {
			t.Errorf("ratioText(%v) = %q, want %q", r, got, want)
		}
	}
}
