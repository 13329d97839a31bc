package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// ended is a store that counts its changes, and the tasks that are COMPLETED.
type ended struct {
	store.Store
	tasks, changes atomic.Int64
}

// Commit counts a change once it is stored.
func (e *ended) Commit(ctx context.Context, c store.Change) (store.Thread, error) {
	th, err := e.Store.Commit(ctx, c)
	if err != nil {
		return th, err
	}
	e.changes.Add(1)
	if c.Thread.Status == string(arc.TaskCompleted) {
		e.tasks.Add(1)
	}
	return th, nil
}

func (e *ended) writes() writes { return writes{Other: e.changes.Load()} }

// writes counts the write transactions of a registry; of a store of tasks it counts
// the changes, many of which share a transaction.
type writes struct {
	Beats int64 `json:"beats"` // for heartbeats
	Other int64 `json:"other"` // for anything else
}

// counted is a registry's store that counts what is written. Pruning is not
// counted: it goes by the clock.
type counted struct {
	store.Registry
	beats, other atomic.Int64
}

func (c *counted) writes() writes {
	return writes{Beats: c.beats.Load(), Other: c.other.Load()}
}

// Beat counts a transaction for heartbeats once it is done.
func (c *counted) Beat(ctx context.Context, beats []store.Beat) error {
	err := c.Registry.Beat(ctx, beats)
	c.beats.Add(1)
	return err
}

// PutAgent counts as another write; so do those below.
func (c *counted) PutAgent(ctx context.Context, a store.Agent) (store.Agent, error) {
	c.other.Add(1)
	return c.Registry.PutAgent(ctx, a)
}

// DeleteAgent removes an agent.
func (c *counted) DeleteAgent(ctx context.Context, id string, rev int64) error {
	c.other.Add(1)
	return c.Registry.DeleteAgent(ctx, id, rev)
}

// Mark sets a mark unless it is there.
func (c *counted) Mark(ctx context.Context, m store.Mark, now time.Time) (*store.Mark, error) {
	c.other.Add(1)
	return c.Registry.Mark(ctx, m, now)
}

// SetMark sets a mark.
func (c *counted) SetMark(ctx context.Context, m store.Mark) error {
	c.other.Add(1)
	return c.Registry.SetMark(ctx, m)
}

// Unmark removes a mark.
func (c *counted) Unmark(ctx context.Context, kind, value string) (bool, error) {
	c.other.Add(1)
	return c.Registry.Unmark(ctx, kind, value)
}

// Revoke adds a revocation.
func (c *counted) Revoke(ctx context.Context, r store.Revocation) error {
	c.other.Add(1)
	return c.Registry.Revoke(ctx, r)
}

// AppendAudit adds to the audit log.
func (c *counted) AppendAudit(ctx context.Context, entries []store.AuditEntry) error {
	c.other.Add(1)
	return c.Registry.AppendAudit(ctx, entries)
}
