package methods

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/arcd-io/arcd/store"
)

// share divides an agent's room among the owners of its tasks. Each claimed task
// puts its owner back by [shareStep] against the others, as if its next tasks were
// that much younger: within one priority the owners take turns, urgency and age
// still count between them, and nobody waits for ever.
type share struct {
	after string           // the owner with which the last look ended; "": it saw all
	round int              // of looks, from the first owner to the last
	taken map[string]turns // that the owners had
}

// turns are how many an owner had, and in which round it was last seen to wait.
type turns struct{ n, round int }

// shareStep is by how much an owner stands back for each task that it had before
// the others: the lead of one priority over the next.
const shareStep = 5 * time.Minute

// standing is by how many milliseconds a ready thread stands behind its rank; false: it
// may not be taken.
type standing func(*store.Thread) (behind int64, may bool)

// candidate is a ready thread that may be taken.
type candidate struct {
	store.Thread
	place int64 // its rank, and by how much it stands behind that
}

// choose takes up to room of the ready threads that may be taken. Those of an owner
// stand together, best first.
func (sh *share) choose(ready []store.Thread, room int, behind standing) []store.Thread {
	var queues [][]store.Thread
	for from := 0; from < len(ready); {
		to := from + 1
		for to < len(ready) && ready[to].Owner == ready[from].Owner {
			to++
		}
		queues = append(queues, ready[from:to])
		from = to
	}
	sh.settle(queues)
	sh.after = ""
	if len(queues) == owners {
		sh.after = queues[owners-1][0].Owner
	}
	free := candidates(queues, behind)
	var chosen []store.Thread
	for len(chosen) < room && len(free) > 0 {
		best := 0
		for i := range free {
			if sh.rank(&free[i][0]) < sh.rank(&free[best][0]) {
				best = i
			}
		}
		t := free[best][0].Thread
		chosen = append(chosen, t)
		had := sh.taken[t.Owner]
		sh.taken[t.Owner] = turns{had.n + 1, had.round}
		if free[best] = free[best][1:]; len(free[best]) == 0 {
			free = slices.Delete(free, best, best+1)
		}
	}
	return chosen
}

// candidates gives what may be taken of the queues, each by place.
func candidates(queues [][]store.Thread, behind standing) [][]candidate {
	var free [][]candidate
	for _, q := range queues {
		var some []candidate
		for i := range q {
			if by, may := behind(&q[i]); may {
				some = append(some, candidate{q[i], q[i].Rank + by})
			}
		}
		if len(some) > 0 {
			slices.SortStableFunc(some, func(a, b candidate) int { return cmp.Compare(a.place, b.place) })
			free = append(free, some)
		}
	}
	return free
}

func (sh *share) rank(c *candidate) int64 {
	return c.place + int64(sh.taken[c.Owner].n)*shareStep.Milliseconds()
}

// settle counts whoever is new as the one who had fewest turns, and forgets those who
// wait for nothing: who is not among the owners when they are all, or in a whole round
// if they are too many for one look.
func (sh *share) settle(queues [][]store.Thread) {
	if sh.taken == nil {
		sh.taken = make(map[string]turns)
	}
	least := -1
	for _, q := range queues {
		if had, ok := sh.taken[q[0].Owner]; ok && (least < 0 || had.n < least) {
			least = had.n
		}
	}
	for _, q := range queues {
		had, ok := sh.taken[q[0].Owner]
		if !ok {
			had.n = max(least, 0)
		}
		sh.taken[q[0].Owner] = turns{had.n, sh.round}
	}
	oldest := sh.round - 1
	switch n := len(queues); {
	case n < owners:
		oldest = sh.round
	case queues[n-1][0].Owner > sh.after:
		return // the round goes on
	}
	sh.round++
	maps.DeleteFunc(sh.taken, func(_ string, had turns) bool { return had.round < oldest })
}
