package server

import (
	"context"
	"math"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// CallLimiter bounds how many calls a caller may make at the ARC endpoint, over HTTP
// and on sockets. It is safe for concurrent use.
type CallLimiter interface {
	// Take counts one call of a caller ([auth.Principal.Owner]). If it may not be made
	// now, wait is after what time one may be. It must not take long: the caller waits.
	Take(ctx context.Context, owner string) (wait time.Duration, ok bool)
}

// limit counts one call, item of a batch, or call on a socket. It refuses those that
// are too many before anything is looked up for them.
func (s *Server) limit(ctx context.Context, p *auth.Principal) *arc.Error {
	if s.cfg.Calls == nil {
		return nil
	}
	wait, ok := s.cfg.Calls.Take(ctx, p.Owner())
	if ok {
		return nil
	}
	// Details and header say the same, which has whole seconds (RFC 9110, section 10.2.3).
	seconds := max(1, int(math.Ceil(wait.Seconds())))
	e := arc.Errorf(arc.CodeRateLimited, "too many calls; the next one may be made in %d s", seconds).
		With("reason", "rate_limited").With("retryable", true).With("retry_after", seconds)
	e.RetryAfter = time.Duration(seconds) * time.Second
	return e
}
