package cli

import (
	"math"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/internal/ratelimit"
	"github.com/arcd-io/arcd/store"
)

// maxCallBurst is the largest number of calls at once that is taken for a limit.
const maxCallBurst = 1_000_000

// checkCallLimit checks how many calls one caller may make.
func (c *checker) checkCallLimit() {
	rate, burst := c.Limits.CallsPerSecond, c.Limits.CallBurst
	if math.IsNaN(rate) || rate < 0 || rate > maxCallBurst || rate > 0 && rate < 0.001 {
		c.problem("limits.calls_per_second", "must be 0 for no limit, or from 0.001 to %d", maxCallBurst)
	}
	if burst < 0 || burst > maxCallBurst {
		c.problem("limits.call_burst", "must be 0 for what limits.calls_per_second gives in a second, or from 1 to %d", maxCallBurst)
	}
	if burst > 0 && rate == 0 {
		c.problem("limits.call_burst", "has no effect without limits.calls_per_second")
	}
}

// callLimiter bounds the calls of each caller; nil: they are not bounded. Where servers
// share a store they share the buckets too.
func callLimiter(c *config, s store.Store, log zerolog.Logger) *ratelimit.Limiter {
	if c.Limits.CallsPerSecond == 0 {
		return nil
	}
	cfg := ratelimit.Config{Rate: c.Limits.CallsPerSecond, Burst: c.Limits.CallBurst, Log: log}
	if quota, shared := s.(store.Quota); shared {
		cfg.Quota, cfg.Now = quota, s.Now
	}
	return ratelimit.New(cfg)
}
