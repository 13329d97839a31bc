package cli

import (
	"slices"

	"github.com/arcd-io/arcd/internal/outcome"
)

// paged are the flags of a list that the server gives page by page.
type paged struct {
	Limit  int    `default:"20" help:"How many at most; 0 gives all."`
	Cursor string `placeholder:"TEXT" help:"Go on where an earlier list ended: its meta.cursor."`
}

// largestPage is the most that a server gives at once.
const largestPage = 200

func (f *paged) check(p *problems) {
	if f.Limit < 0 {
		p.add("--limit", "must not be negative")
	}
}

// collect reads pages until there are enough, and tells in the envelope what is left.
// read reads one, of so many items at most, behind a cursor; it gives how many there
// were, and the cursor of the next page, "" for none.
func (f *paged) collect(c *console, method string, read func(limit int, cursor string) (n int, next string, err error)) error {
	cursor, have := f.Cursor, 0
	for seen := []string{cursor}; ; seen = append(seen, cursor) {
		limit := largestPage
		if f.Limit > 0 {
			limit = min(largestPage, f.Limit-have)
		}
		n, next, err := read(limit, cursor)
		if err != nil {
			return err
		}
		have, cursor = have+n, next
		if cursor == "" || f.Limit > 0 && have >= f.Limit {
			break
		}
		if slices.Contains(seen, cursor) || n == 0 {
			return outcome.Errorf(outcome.ProtocolError, "The pages of %s do not end.", method)
		}
	}
	var total *int
	if cursor == "" && f.Cursor == "" {
		total = &have
	}
	c.page(have, total, cursor)
	return nil
}
