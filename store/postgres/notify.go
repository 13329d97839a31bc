package postgres

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// channel is what replicas listen on.
const channel = "arcd_hint"

// notifier carries hints by NOTIFY. It sends after the commit, never within: the lock
// that NOTIFY takes would put all commits in a row. It has two connections of its own,
// which must not go through a pooler that shares sessions.
type notifier struct {
	cfg     *pgx.ConnConfig
	replica string
	out     *engine.Outbox
	outage  outage
}

// startHints begins to send and to listen.
func (s *Engine) startHints(background context.Context, cfg *pgx.ConnConfig) {
	s.hints = s.cfg.Hints
	if s.hints == nil {
		n := &notifier{cfg: cfg.Copy(), replica: rand.Text(), out: engine.NewOutbox(), outage: outage{log: s.log}}
		n.cfg.RuntimeParams["application_name"] = "arcd hints"
		s.hints = n
		s.work.Go(func() { n.send(background) })
	}
	s.hints.Publish(store.Hint{Registry: true}) // so that the others know that somebody listens
	s.work.Go(func() {
		for background.Err() == nil {
			heard := func(h store.Hint) {
				s.present.others.Store(true)
				s.watch.Tell(h)
			}
			err := s.hints.Subscribe(background, heard)
			n, own := s.hints.(*notifier)
			switch {
			case err == nil || background.Err() != nil:
			case own:
				n.outage.lost(listening, err)
			default:
				s.log.Warn().Str("event", "hints_lost").Err(err).Msg(hintsLost)
			}
			pause(background, time.Second)
		}
	})
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// tell passes a hint to those who watch here, and to the other replicas.
func (s *Engine) tell(h store.Hint) {
	s.watch.Tell(h)
	if s.present.others.Load() {
		s.hints.Publish(h)
	}
}

// Tell implements [store.Store].
func (s *Engine) Tell(h store.Hint) { s.tell(h) }

// Watch implements [store.Store].
func (s *Engine) Watch(f func(store.Hint)) (stop func()) { return s.watch.Watch(f) }

// Publish implements [store.Hints].
func (n *notifier) Publish(hs ...store.Hint) { n.out.Put(hs...) }

// Subscribe implements [store.Hints].
func (n *notifier) Subscribe(ctx context.Context, f func(store.Hint)) error {
	c, err := pgx.ConnectConfig(ctx, n.cfg)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	if n.outage.back(listening) {
		n.Publish(store.Hint{Registry: true}) // whether hints leave as well shows when one does
	}
	for {
		got, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		engine.DecodeHints(n.replica, got.Payload, f)
	}
}

// hintGap is how long hints are gathered after a message that had more than a few.
// PostgreSQL wakes every listener for a message, and lets no two transactions with one
// commit at once: under load that costs more than the changes do.
const (
	hintGap  = 5 * time.Millisecond
	fewHints = 2
)

// send sends what is put into the outbox: at once when nothing is on its way, else
// when that has arrived, under load a little later. Where a connection ends that has worked, another one may.
func (n *notifier) send(ctx context.Context) {
	hs := n.out.Next(ctx.Done())
	for hs != nil {
		left, worked, err := n.sendOver(ctx, hs)
		switch {
		case ctx.Err() != nil:
			return
		case worked:
			hs = left
		default:
			n.outage.lost(sending, err)
			pause(ctx, time.Second)
			hs = n.out.Next(ctx.Done())
		}
	}
}

// notify sends one message. It waits for no disk: PostgreSQL flushes no transaction that
// wrote nothing. Nothing is set in the session, which a pooler may give to others.
const notify = `SELECT pg_notify($1, $2)`

// sendOver sends over one connection until that fails, and gives what is left. worked
// tells that something was sent.
func (n *notifier) sendOver(ctx context.Context, hs []store.Hint) (left []store.Hint, worked bool, err error) {
	c, err := pgx.ConnectConfig(ctx, n.cfg)
	if err != nil {
		return hs, false, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	for hs != nil {
		many := len(hs) > fewHints
		for len(hs) > 0 {
			text, sent := engine.EncodeHints(n.replica, hs)
			attempt, cancel := context.WithTimeout(ctx, attemptTime)
			_, err := c.Exec(attempt, notify, channel, text)
			cancel()
			if err != nil {
				return hs, worked, err
			}
			worked = true
			n.outage.back(sending)
			hs = hs[sent:]
		}
		if many {
			pause(ctx, hintGap)
		}
		hs = n.out.Next(ctx.Done())
	}
	return nil, worked, nil
}

// What a notifier needs a connection for, as a set.
const (
	listening = 1 << iota
	sending
)

// hintsLost says what it means that hints are lost: not much.
const hintsLost = "no hints between replicas; looking each second goes on"

// outage tells once that hints are lost, and once that they are back, however often
// that is tried.
type outage struct {
	log zerolog.Logger

	mu   sync.Mutex
	down int // set of what does not work, guarded by mu
}

// lost notes that something does not work.
func (o *outage) lost(what int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == 0 {
		o.log.Warn().Str("event", "hints_lost").Err(brief(err)).Msg(hintsLost)
	}
	o.down |= what
}

// back notes that something works, and tells whether it did not before.
func (o *outage) back(what int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.down&what != 0
	o.down &^= what
	if was && o.down == 0 {
		o.log.Info().Str("event", "hints_back").Msg("hints between replicas arrive again")
	}
	return was
}
