package store

import (
	"context"
	"time"
)

// Ask is a wish for tokens of a bucket, which holds up to Burst and gains Rate a
// second.
type Ask struct {
	Key   string
	Rate  float64 // tokens a second, above 0
	Burst int64   // at least 1
	Want  int64   // at least 1
}

// Quota keeps the buckets of rate limits that all replicas share. Engines that one
// process has to itself have none: it keeps its buckets in memory.
type Quota interface {
	// Take takes tokens, of each bucket as many as wanted or, if it has fewer, all it
	// has. A bucket that was never asked for, or was pruned since it was full, is full.
	// Rate and Burst are those of the call.
	Take(ctx context.Context, asks []Ask, now time.Time) ([]int64, error)
}
