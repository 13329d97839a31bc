package registry

import (
	"context"
	"sync"
	"time"
)

// Run writes what is collected in memory, keeps up with other replicas, notices agents
// that fall silent and forgets what is over, until ctx ends; then it writes what is
// left.
func (r *Registry) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { r.writeAudit(ctx) })
	wg.Go(func() { r.Follow(ctx) })
	look := time.NewTicker(r.lookEvery())
	defer look.Stop()
	write := time.NewTicker(max(r.cfg.HeartbeatTimeout/6, time.Second))
	defer write.Stop()
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	hear := time.NewTicker(r.hearEvery())
	defer hear.Stop()
	soon := time.NewTimer(hurryPause)
	defer soon.Stop()
	for heard := 1; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-look.C:
			r.sweep(ctx)
		case <-write.C:
			r.flush(ctx)
		case <-r.agents.hurry:
			soon.Reset(hurryPause)
		case <-soon.C:
			r.flush(ctx)
		case <-hear.C:
			r.hearAll(ctx, heard%hearWhole == 0)
			heard++
		case <-prune.C:
			r.prune(ctx)
		}
	}
	wg.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	r.flush(last)
	return r.flushAudit(last)
}

// lookEvery is how often silence is looked for.
func (r *Registry) lookEvery() time.Duration {
	return min(max(r.cfg.HeartbeatTimeout/20, 100*time.Millisecond), time.Second)
}

// hearEvery is how often is read what other replicas heard.
func (r *Registry) hearEvery() time.Duration { return max(r.cfg.HeartbeatTimeout/12, time.Second) }

// hearWhole is the number of times after which all agents are read, and not only those
// that were heard of lately: metrics may be reported of the others too.
const hearWhole = 6

// hearAll reads what other replicas heard. Should it fail the next time makes up for it.
func (r *Registry) hearAll(ctx context.Context, whole bool) {
	if r.cfg.Alone {
		return
	}
	var since time.Time
	if !whole {
		since = r.now().Add(-r.cfg.HeartbeatTimeout)
	}
	_ = r.hear(ctx, since)
}

const (
	// auditEvery lets audit entries gather before they are written.
	auditEvery = 50 * time.Millisecond
	// auditRetry is how long after a failure they are tried again.
	auditRetry = time.Second
	// pruneEvery is how often what is over is forgotten.
	pruneEvery = time.Minute
)

func (r *Registry) writeAudit(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.audit.wake:
		}
		wait := auditEvery
		if err := r.flushAudit(ctx); err != nil && ctx.Err() == nil {
			r.log.Error().Str("event", "audit_unwritten").Err(err).Send()
			r.audit.again()
			wait = auditRetry
		}
		pause.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// again makes a failed write be tried once more.
func (l *auditLog) again() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// prune forgets what is over.
func (r *Registry) prune(ctx context.Context) {
	const batch = 1000
	now := r.now()
	r.revoked.forget(now)
	r.sessions.forget(now)
	r.temps.forget(now)
	r.checks.forget(now)
	before := time.Time{}
	if r.cfg.AuditRetention > 0 {
		before = now.Add(-r.cfg.AuditRetention)
	}
	for ctx.Err() == nil {
		n, err := r.store.PruneRegistry(ctx, now, before, batch)
		if err != nil {
			r.log.Error().Str("event", "prune_failed").Err(err).Send()
			return
		}
		if n < batch {
			return
		}
	}
}
