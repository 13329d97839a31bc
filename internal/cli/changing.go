package cli

import (
	"cmp"
	account "os/user"
	"strings"

	"github.com/arcd-io/arcd/internal/outcome"
)

// changing are the flags of a command that changes something.
type changing struct {
	DryRun bool `name:"dry-run" help:"Tell what would be done, and do nothing."`
}

func (c changing) dryRun() bool { return c.DryRun }

// destroying are the flags of a command that destroys something.
type destroying struct {
	changing
	ConfirmDestructive bool `name:"confirm-destructive" aliases:"yes" help:"Do it without asking. Needed where nobody can be asked."`
}

func (d destroying) confirmed() bool { return d.ConfirmDestructive }

// gate lets a destructive command pass that was confirmed, by its flag or by a
// person, or that only tells what it would do. verb is what it does to what is
// affected.
func (d destroying) gate(c *console, verb string, affected ...string) error {
	what := verb + " " + strings.Join(affected, ", ")
	if d.ConfirmDestructive || d.DryRun || c.confirm("Really "+what+"?") {
		return nil
	}
	e := outcome.Errorf(outcome.Confirmation, "This would %s, and nobody confirmed it.", what)
	e.WouldAffect = affected
	e.FixRequired = "Add --confirm-destructive to the same command."
	return e
}

// audit says who destroyed what and when (contract section 4.1).
type audit struct {
	Timestamp  string   `json:"timestamp"`
	Operator   string   `json:"operator"` // the account on this machine
	Subject    *string  `json:"subject"`  // of the token; null: unknown
	Target     []string `json:"target"`   // what was destroyed
	Reversible bool     `json:"reversible"`
}

// auditOf makes the record of what was destroyed just now.
func (c *console) auditOf(target ...string) *audit {
	a := &audit{Timestamp: *outcome.Instant(c.now()), Operator: "unknown", Target: append([]string{}, target...)}
	if who, err := account.Current(); err == nil {
		a.Operator = who.Username
	}
	if found := c.foundCredential(); found != nil {
		a.Subject = optional(cmp.Or(found.Facts.Subject, found.Facts.ClientID))
	}
	return a
}

// listed fills in the pagination of a list that is whole.
func (c *console) listed(n int) { c.page(n, &n, "") }

// page fills in the pagination of one page of a list. total is nil where it is
// unknown, next "" on the last page.
func (c *console) page(returned int, total *int, next string) {
	p := &outcome.Pagination{Total: total, Returned: returned, HasMore: next != "", Truncated: next != ""}
	if next != "" {
		p.NextCursor = &next
		c.meta.Cursor = &next
	}
	c.meta.Pagination = p
}
