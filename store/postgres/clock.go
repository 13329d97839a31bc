package postgres

import (
	"context"
	"sync/atomic"
	"time"
)

// clock is the database server's, as far as it is known here. Leases, due times and the
// lives of tokens are then the same for all replicas, whatever their machines' clocks show.
// From one look to the next it goes by the machine's monotonic clock: somebody may set the
// other one meanwhile.
type clock struct {
	now    func() time.Time // set: the clock of a test
	anchor atomic.Pointer[anchor]
	said   time.Duration // by how much the machine's clock was behind when that was logged
}

// anchor is one moment by both clocks.
type anchor struct {
	here  time.Time // with its monotonic reading
	there time.Time
}

// at gives the server's time at a later moment.
func (a *anchor) at(here time.Time) time.Time { return a.there.Add(here.Sub(a.here)) }

// Now implements [store.Store].
func (s *Engine) Now() time.Time {
	if s.clock.now != nil {
		return s.clock.now()
	}
	return s.clock.anchor.Load().at(time.Now())
}

// lookAtClock is how often the server is asked for its time.
const lookAtClock = 2 * time.Second

// startClock asks once, then again and again until background ends.
func (s *Engine) startClock(ctx, background context.Context) error {
	if s.clock.now = s.cfg.Now; s.clock.now != nil {
		return nil
	}
	if err := s.askTime(ctx); err != nil {
		return err
	}
	s.work.Go(func() {
		ticker := time.NewTicker(lookAtClock)
		defer ticker.Stop()
		for {
			select {
			case <-background.Done():
				return
			case <-ticker.C:
				asking, cancel := context.WithTimeout(background, attemptTime)
				_ = s.askTime(asking) // the clocks run on meanwhile
				cancel()
			}
		}
	})
	return nil
}

// askTime measures how the clocks differ. The way there and back makes it uncertain: what
// may be no more than that changes nothing, so that time does not jump to and fro.
func (s *Engine) askTime(ctx context.Context) error {
	before := time.Now()
	var ms float64
	err := s.pool.QueryRow(ctx, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::double precision`).Scan(&ms)
	if err != nil {
		return err
	}
	took := time.Since(before)
	found := &anchor{here: before.Add(took / 2), there: time.UnixMicro(int64(ms * 1000))}
	known := s.clock.anchor.Load()
	if known == nil || found.there.Sub(known.at(found.here)).Abs() > took/2+10*time.Millisecond {
		s.clock.anchor.Store(found)
	}
	ahead := found.there.Sub(before.Round(0).Add(took / 2)) // without the monotonic reading
	if (ahead - s.clock.said).Abs() > time.Second {
		s.clock.said = ahead
		s.log.Warn().Dur("ahead_ms", ahead).Msg("this machine's clock and the database's differ: the database's counts for tasks")
	}
	return nil
}
