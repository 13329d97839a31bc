package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	_ "modernc.org/sqlite" // as the engine has it

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// look opens the database and counts what is there of what was acknowledged, and
// whether all that is there is whole.
func look(ctx context.Context, file string, known []string) (c counts, err error) {
	s, err := sqlite.Open(ctx, sqlite.Config{File: file})
	if err != nil {
		return counts{}, err
	}
	defer func() { // the engine is closed first
		err = errors.Join(err, s.Close())
		if err == nil {
			err = intact(ctx, file)
		}
	}()
	c.acknowledged = len(known)
	promised := make(map[string]bool, len(known))
	owner := ""
	for _, id := range known {
		promised[id] = true
		th, err := s.Thread(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			c.lost++
			continue
		}
		if err != nil {
			return c, err
		}
		owner = th.Owner // all callers are one
	}
	for q := (store.Query{Owner: owner, Kind: store.Task, Limit: 1000}); owner != ""; {
		page, err := s.Threads(ctx, q)
		if err != nil || len(page) == 0 {
			return c, err
		}
		for _, th := range page {
			if !promised[th.ID] {
				c.unasked++
			}
			if whole, err := isWhole(ctx, s, th); err != nil {
				return c, err
			} else if !whole {
				c.half++
			}
			q.BeforeTime, q.BeforeID = th.Created, th.ID
		}
	}
	return c, nil
}

// isWhole tells whether a thread's log and history are what its row says.
func isWhole(ctx context.Context, s store.Store, th store.Thread) (bool, error) {
	evs, gap, err := s.Events(ctx, th.ID, 0, int(th.Seq)+1)
	if err != nil {
		return false, err
	}
	items, err := s.Items(ctx, th)
	if err != nil {
		return false, err
	}
	for i, e := range evs {
		if e.Seq != int64(i+1) {
			return false, nil
		}
	}
	return !gap && int64(len(evs)) == th.Seq && th.Seq > 0 && len(items) == th.Items && th.Items > 0, nil
}

// intact has SQLite check the whole file.
func intact(ctx context.Context, file string) (err error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("SQLite finds: %s", verdict)
	}
	return nil
}
