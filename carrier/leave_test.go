package carrier_test

import (
	"sync"
	"testing"

	"github.com/arcd-io/arcd/carrier"
)

// TestLeaveWhileServing: agent.serve that runs while its connection ends must not
// leave an agent at a connection that is gone, for good.
func TestLeaveWhileServing(t *testing.T) {
	for range 30_000 { // the two meet in a few of ten thousand
		var s carrier.Sockets
		p := s.Join(nil)
		left := make(chan struct{})
		var serving sync.WaitGroup
		for range 3 {
			serving.Go(func() {
				for {
					p.Serve([]string{"a"}, 1)
					select {
					case <-left:
						return
					default:
					}
				}
			})
		}
		p.Leave()
		close(left)
		serving.Wait()
		if room := s.Room("a"); room >= 0 {
			t.Fatalf("the agent has room for %d more", room)
		}
	}
}
