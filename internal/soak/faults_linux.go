package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// breaker does the faults.
type breaker struct {
	place *place
	book  *ledger
	say   func(format string, args ...any)
	pause time.Duration // between two faults of one hand, on average
}

// fault is one kind of failure. do breaks something, waits, and mends it.
type fault struct {
	name string
	do   func(ctx context.Context, rng *rand.Rand) (what string, err error)
}

// hands are those that break things at the same time, each one thing after the other.
func (b *breaker) hands() [][]fault {
	process := []fault{{"kill", b.kill}, {"kill", b.kill}, {"stop", b.stop}}
	if b.place.database == nil {
		return [][]fault{append(process, fault{"full disk", b.fill}), {{"cut", b.cut}}}
	}
	return [][]fault{
		append(process, fault{"clock", b.shift}),
		{{"database stop", b.stopDatabase}, {"database crash", b.crashDatabase}, {"cut", b.cut}, {"terminate", b.terminate}, {"terminate", b.terminate}},
	}
}

// work has a hand break things until ctx ends.
func (b *breaker) work(ctx context.Context, hand []fault, rng *rand.Rand) {
	for {
		rest(ctx, b.pause/2+time.Duration(rng.Int64N(int64(b.pause))))
		if ctx.Err() != nil {
			return
		}
		f := hand[rng.IntN(len(hand))]
		what, err := f.do(context.WithoutCancel(ctx), rng)
		b.say("%s", what)
		b.book.count("fault: "+f.name, 1)
		if err != nil {
			b.book.wrong("after %s: %v", what, err)
		}
	}
}

// any chooses a replica, which is the caller's until turn is unlocked.
func (b *breaker) any(rng *rand.Rand) *replica {
	r := b.place.replicas[rng.IntN(len(b.place.replicas))]
	r.turn.Lock()
	return r
}

func seconds(rng *rand.Rand, most float64) time.Duration {
	return time.Duration(rng.Float64() * most * float64(time.Second))
}

func (b *breaker) kill(ctx context.Context, rng *rand.Rand) (string, error) {
	r := b.any(rng)
	defer r.turn.Unlock()
	away := seconds(rng, 2)
	r.kill()
	rest(ctx, away)
	took, err := b.revive(ctx, r)
	return fmt.Sprintf("%s killed (-9), started after %v, ready %v later", r.name, short(away), short(took)), err
}

func (b *breaker) stop(ctx context.Context, rng *rand.Rand) (string, error) {
	r := b.any(rng)
	defer r.turn.Unlock()
	away, began := seconds(rng, 1), time.Now()
	left := r.stop()
	drained := time.Since(began)
	rest(ctx, away)
	took, err := b.revive(ctx, r)
	return fmt.Sprintf("%s stopped (SIGTERM), gone after %v, started after %v, ready %v later", r.name, short(drained), short(away), short(took)), errors.Join(left, err)
}

// revive starts a replica as a supervisor does: again and again, since its start fails
// while the database is away.
func (b *breaker) revive(ctx context.Context, r *replica) (took time.Duration, err error) {
	began := time.Now()
	for {
		err = r.start(ctx)
		if took = time.Since(began); err == nil || took > recovers {
			return took, err
		}
		r.kill()
		rest(ctx, 300*time.Millisecond)
	}
}

func (b *breaker) shift(ctx context.Context, rng *rand.Rand) (string, error) {
	r := b.place.replicas[rng.IntN(len(b.place.replicas))]
	by := time.Duration(1+rng.IntN(10)) * time.Minute
	if rng.IntN(2) == 0 {
		by = -by
	}
	lasts := 2*time.Second + seconds(rng, 4)
	err := setClock(r.clock(), by)
	rest(ctx, lasts)
	return fmt.Sprintf("clock of %s shifted by %v for %v", r.name, by, short(lasts)), errors.Join(err, setClock(r.clock(), 0))
}

func (b *breaker) stopDatabase(ctx context.Context, rng *rand.Rand) (string, error) {
	return b.restart(ctx, rng, "stopped", b.place.database.Stop)
}

func (b *breaker) crashDatabase(ctx context.Context, rng *rand.Rand) (string, error) {
	return b.restart(ctx, rng, "crashed", b.place.database.Kill)
}

func (b *breaker) restart(ctx context.Context, rng *rand.Rand, how string, end func()) (string, error) {
	away := seconds(rng, 3)
	end()
	rest(ctx, away)
	err := b.place.database.Start()
	return fmt.Sprintf("PostgreSQL %s, started after %v", how, short(away)), err
}

// terminate ends connections to PostgreSQL: those for hints, those of the pools, or all.
func (b *breaker) terminate(ctx context.Context, rng *rand.Rand) (string, error) {
	which := []string{"arcd hints", "arcd", "%"}[rng.IntN(3)]
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, b.place.store)
	if err != nil {
		return "terminating connections", err
	}
	defer c.Close(ctx)
	var ended int
	err = c.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE application_name LIKE $1 AND backend_type = 'client backend' AND pid <> pg_backend_pid()`, which).Scan(&ended)
	return fmt.Sprintf("%d connections of %q to PostgreSQL terminated", ended, which), err
}

func (b *breaker) cut(_ context.Context, rng *rand.Rand) (string, error) {
	share := 0.2 + 0.8*rng.Float64()
	return fmt.Sprintf("%d connections of callers cut", b.place.front.cut(rng, share)), nil
}

// fill has the disk be full for a while. arcd may end by itself then, and is started when
// there is room.
func (b *breaker) fill(ctx context.Context, rng *rand.Rand) (string, error) {
	r := b.any(rng)
	defer r.turn.Unlock()
	process, done := r.process()
	lasts := time.Second + seconds(rng, 3)
	b.book.excused.Store(!b.place.disk.heals())
	defer b.book.excused.Store(false)
	err := b.place.disk.fill(process)
	rest(ctx, lasts)
	err = errors.Join(err, b.place.disk.free(process))
	what := fmt.Sprintf("disk full for %v", short(lasts))
	patience := time.NewTimer(2 * time.Second) // it may be about to end
	defer patience.Stop()
	select {
	case <-done:
		took, failed := b.revive(ctx, r)
		b.book.count("ends of arcd on a full disk", 1)
		return what + fmt.Sprintf("; arcd ended, and was ready %v after its start", short(took)), errors.Join(err, failed)
	case <-patience.C:
	}
	if b.place.disk.heals() {
		if failed := r.ready(ctx, done); failed != nil {
			err = errors.Join(err, failed, errors.New("arcd takes no calls although there is room again"))
		}
		return what + "; arcd went on", err
	}
	r.kill()
	_, failed := b.revive(ctx, r)
	rest(ctx, time.Second) // callers read the last answers of before
	return what + "; arcd restarted", errors.Join(err, failed)
}

// watch starts replicas that have ended by themselves, which they must not.
func (b *breaker) watch(ctx context.Context) {
	for ctx.Err() == nil {
		for _, r := range b.place.replicas {
			if r.runs() || !r.turn.TryLock() {
				continue
			}
			if code, ended := r.ended(); ended && !r.runs() {
				b.book.wrong("%s ended by itself with exit code %d", r.name, code)
				if _, err := b.revive(context.WithoutCancel(ctx), r); err != nil {
					b.book.wrong("%v", err)
				}
			}
			r.turn.Unlock()
		}
		rest(ctx, 100*time.Millisecond)
	}
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
