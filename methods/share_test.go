package methods_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/methods"
)

// TestManyOwnersTakeTurns: also where there are more owners than one look compares, who
// has many tasks has no more turns than the others.
func TestManyOwnersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const others = 100
		var mu sync.Mutex
		turns := map[string]int{}
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"one": {
			Concurrency: 1,
			Runner: methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error {
				mu.Lock()
				turns[turn.From]++
				mu.Unlock()
				time.Sleep(time.Second)
				return nil
			}),
		}}})
		create := func(who string, n int) {
			for range n {
				w.must(principal(who), "task.create", "one", m{"initialMessage": text(who)})
			}
		}
		create("u000", 300)
		time.Sleep(1500 * time.Millisecond)
		for i := 1; i <= others; i++ {
			create(fmt.Sprintf("u%03d", i), 3)
		}
		time.Sleep(2 * others * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if turns["u000"] > 10 {
			t.Errorf("in %d turns, who has many tasks had %d", 2*others, turns["u000"])
		}
		for i := 1; i <= others; i++ {
			if who := fmt.Sprintf("u%03d", i); turns[who] == 0 {
				t.Errorf("%s had none", who)
			}
		}
	})
}
