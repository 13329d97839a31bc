package client

import (
	"context"
	"iter"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// AuditFilter says which lines of the audit log are asked for. Zero values: all.
type AuditFilter struct {
	Event    string    // as arc.AuditEntry.Event
	Outcome  string    // "ok" or "refused"
	Actor    string    // subject of a token, exactly
	AgentID  string    // exactly
	From, To time.Time // at or after, before
	Limit    int       // size of a page, 1 to 1,000; default 100
	Cursor   string    // arc.AuditPage.Next of an earlier page
}

// ListAudit gives a page of the audit log, newest first (GET /audit). It needs an
// administrator's token.
func (c *Client) ListAudit(ctx context.Context, f AuditFilter) (*arc.AuditPage, error) {
	p := get("/audit").with("event", f.Event, "outcome", f.Outcome, "actor", f.Actor, "agent_id", f.AgentID,
		"from", instant(f.From), "to", instant(f.To), "limit", number(f.Limit), "cursor", f.Cursor)
	return answered[arc.AuditPage](ctx, c, p)
}

// Audit gives the lines of the audit log one by one, page by page as they are
// read. An error ends the iteration.
func (c *Client) Audit(ctx context.Context, f AuditFilter) iter.Seq2[arc.AuditEntry, error] {
	return paged(f.Cursor, func(cursor string) ([]arc.AuditEntry, string, error) {
		at := f
		at.Cursor = cursor
		list, err := c.ListAudit(ctx, at)
		if err != nil {
			return nil, "", err
		}
		return list.Entries, list.Next, nil
	})
}

// instant writes a time of a query; "" for the zero time.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
