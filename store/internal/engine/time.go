// Package engine is what the engines of package store share: the cache of recent
// threads, the packed form of what one commit adds to a history, those who watch.
package engine

import "time"

// Cut gives t as it is after a round through a database, which keeps milliseconds.
func Cut(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}
