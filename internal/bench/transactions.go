package main

import "context"

// countTransactions gives the transactions of the database for one task that is created
// and completed, reading ones included: what PostgreSQL counts for the database while a
// replica starts, has tasks done for a while, and ends. PostgreSQL adds up what a
// connection did at its end at the latest, so the replica has to end.
func (b *bench) countTransactions(ctx context.Context) (float64, error) {
	r, err := b.replicas(ctx, "counted", 1) // makes the tables, which does not count
	if err != nil {
		return 0, err
	}
	if err := b.stopReplicas(r); err != nil {
		return 0, err
	}
	const query = "SELECT xact_commit::bigint FROM pg_stat_database WHERE datname = $1"
	before, err := ask[int64](ctx, b.postgres, query, r.name)
	if err != nil {
		return 0, err
	}
	if err := b.addReplica(ctx, r); err != nil {
		return 0, err
	}
	_, done, err := b.throughput(ctx, r.servers, plain, "echo", 2*b.duration)
	if err != nil {
		return 0, err
	}
	if err := b.stopReplicas(r); err != nil {
		return 0, err
	}
	after, err := ask[int64](ctx, b.postgres, query, r.name)
	return float64(after-before) / float64(max(done.requests, 1)), err
}

// stopReplicas ends all replicas of a database.
func (b *bench) stopReplicas(r *replicated) error {
	for _, p := range r.servers {
		if err := p.stop(); err != nil {
			return err
		}
		b.forget(p)
	}
	r.servers = nil
	return nil
}
