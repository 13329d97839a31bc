package main

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"github.com/arcd-io/arcd/store/postgres"
)

// childStore is the environment variable that tells a replica the URL of its database.
const childStore = "ARCD_BENCH_STORE"

// serveReplica serves arcd as serveArcd does, but keeps the state in PostgreSQL, which
// others may share.
func serveReplica(ctx context.Context, ln net.Listener, dir string) (served, error) {
	p, err := newArcd(ln, dir)
	if err != nil {
		return served{}, err
	}
	db, err := postgres.Open(ctx, postgres.Config{URL: os.Getenv(childStore), Log: p.log})
	if err != nil {
		return served{}, err
	}
	p.keepIn(db)
	p.service.Marks = db
	return p.serve(ctx, ln)
}

// replicated is arcd on a database of its own.
type replicated struct {
	name    string
	url     string // of the database
	servers fleet
}

// startReplicas starts PostgreSQL as it runs in production, and on it arcd as one
// replica and as two.
func (b *bench) startReplicas(ctx context.Context) (err error) {
	if b.postgres, err = newPostgres(b.options); err != nil {
		return err
	}
	if b.one, err = b.replicas(ctx, "one", 1); err != nil {
		return err
	}
	b.two, err = b.replicas(ctx, "two", 2)
	return err
}

// replicas makes a database and starts replicas on it.
func (b *bench) replicas(ctx context.Context, name string, count int) (*replicated, error) {
	url, err := newDatabase(ctx, b.postgres, name)
	if err != nil {
		return nil, err
	}
	r := &replicated{name: name, url: url}
	for range count {
		if err := b.addReplica(ctx, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// addReplica starts one more replica.
func (b *bench) addReplica(ctx context.Context, r *replicated) error {
	kind := "replica-" + r.name + string(rune('a'+len(r.servers)))
	if err := publish(b.keys, filepath.Join(b.dir, kind)); err != nil {
		return err
	}
	p, err := b.start(ctx, kind, childStore+"="+r.url)
	r.servers = append(r.servers, p)
	return err
}
