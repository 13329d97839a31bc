package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// RenewingSource is a [TokenSource] that an [Agent] may ask for another token while
// the one at hand is still good. Without it, Token is asked as if the token had
// expired, which sources that fetch tokens take for the same.
type RenewingSource interface {
	TokenSource
	// Renew gives another token than this one, or an error that is [ErrNoNewToken].
	Renew(ctx context.Context, token string) (string, error)
}

// shortestRenewal is the shortest time that an agent waits before it asks for
// another token.
const shortestRenewal = 200 * time.Millisecond

// expiryOf reads when a token expires, zero for one that does not tell. The
// signature is not for the client to judge.
func expiryOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var said struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(claims, &said) != nil || said.Exp <= 0 || said.Exp > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(said.Exp), 0)
}

// renewal is how long a connection serves before another token is due: half of what
// is left, so that work has the other half to end in. never: nothing is to be done.
func (c *agentConn) renewal() (after time.Duration, never bool) {
	expiry := expiryOf(c.token)
	left := time.Until(expiry) / 2
	return left, expiry.IsZero() || left < shortestRenewal
}

// hold keeps a connection, and has another one take its place before its token
// expires or its server stops: the new one serves first, then the old one takes no more
// work and stays until what it has in hand has ended. It gives the connection that has
// ended, or that was the last when ctx did, and why.
//
//	hold
//	├─ run      the connection at hand, until it ends
//	├─ renew    at half of its token's time: another token, another connection
//	├─ move     when its server is about to stop: a connection to another one
//	└─ retire   the one before, on a goroutine of old
func (a *Agent) hold(ctx context.Context, c *agentConn, old *sync.WaitGroup) (*agentConn, error) {
	for {
		next := a.successor(ctx, c)
		if next == nil {
			return c, c.run(ctx)
		}
		before := c
		old.Go(func() { before.retire(ctx) })
		c = next
	}
}

// successor waits until a connection's token is due, or its server is about to stop,
// and gives the connection that takes its place; nil if the connection ends first.
func (a *Agent) successor(ctx context.Context, c *agentConn) *agentConn {
	for {
		var due <-chan time.Time
		if after, never := c.renewal(); !never {
			due = time.After(after)
		}
		select {
		case <-due:
		case <-c.moving:
			return a.move(ctx, c)
		case <-c.conn.DisconnectNotify():
			return nil
		case <-ctx.Done():
			return nil
		}
		next, err := a.renew(ctx, c)
		switch {
		case err == nil:
			return next
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, ErrNoNewToken): // else somebody may yet put another one in its place
			a.failed(err)
		}
	}
}

// renew makes the connection that takes the place of c, with another token.
func (a *Agent) renew(ctx context.Context, c *agentConn) (*agentConn, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	x := &exchange{name: serveMethod, url: a.Client.endpoint(), tokens: a.Client.Token}
	if source, ok := x.tokens.(RenewingSource); ok {
		x.tokens = renewing{source}
	}
	token, err := a.Client.bearer(dialing, x, c.token)
	if err != nil {
		return nil, err
	}
	if !expiryOf(token).After(expiryOf(c.token)) && !expiryOf(token).IsZero() {
		return nil, ErrNoNewToken // one that lives no longer is no use
	}
	return a.replace(dialing, c, token)
}

// longestMove is the longest pause between two tries to reach another server than the
// one that is about to stop.
const longestMove = 2 * time.Second

// move makes the connection that takes the place of c, to another server if whoever
// spreads the connections has one; nil if c ends first. It is no failure that there is
// none: the connection may as well end and be made anew.
func (a *Agent) move(ctx context.Context, c *agentConn) *agentConn {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, longestMove) {
		dialing, cancel := context.WithTimeout(ctx, dialTime)
		x := &exchange{name: serveMethod, url: a.Client.endpoint(), tokens: a.Client.Token}
		token, err := a.Client.bearer(dialing, x, "")
		if err == nil {
			var next *agentConn
			if next, err = a.replace(dialing, c, token); err == nil {
				cancel()
				return next
			}
		}
		cancel()
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
			continue
		case <-c.conn.DisconnectNotify():
		case <-ctx.Done():
		}
		timer.Stop()
		return nil
	}
}

// replace makes a connection that serves in place of c.
func (a *Agent) replace(dialing context.Context, c *agentConn, token string) (*agentConn, error) {
	next := newAgentConn(a, token)
	next.room = c.room
	if err := next.dial(dialing); err != nil {
		return nil, err
	}
	if err := next.serve(dialing, a.IDs); err != nil {
		next.close(websocket.StatusNormalClosure, "")
		return nil, err
	}
	if a.Served != nil {
		a.Served()
	}
	return next, nil
}

// renewing has a source give another token than one that is good.
type renewing struct{ RenewingSource }

// Token asks for another one.
func (r renewing) Token(ctx context.Context, token string) (string, error) {
	return r.Renew(ctx, token)
}

// retire takes no more work, stays until what is running has ended, and closes the
// connection. When ctx ends, what is running has as long as on any other.
func (c *agentConn) retire(ctx context.Context) {
	asking, cancel := context.WithTimeout(c.ctx, replyTime)
	err := c.serve(asking, nil)
	cancel()
	if err == nil {
		select {
		case <-c.resting():
		case <-c.conn.DisconnectNotify():
		case <-ctx.Done():
			c.drain()
		}
	}
	c.mu.Lock()
	lost, fault := len(c.works), c.fault
	c.mu.Unlock()
	c.close(websocket.StatusNormalClosure, "")
	if lost > 0 && fault != nil { // it took longer than the token's other half
		c.agent.failed(c.closedError(fault))
	}
}
