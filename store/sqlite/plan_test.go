package sqlite_test

import (
	"strings"
	"testing"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// TestPlans looks at how SQLite finds the rows of a page: along an index, in its
// order, from the row after the last page on. Only rows of one millisecond may
// have to be sorted.
func TestPlans(t *testing.T) {
	s := openIn(t, t.TempDir(), 0)
	defer closeIt(t, s)
	page := store.Query{Owner: "o", Kind: store.Task, Limit: 50}
	next := page
	next.BeforeID, next.BeforeTime = "x", epoch
	filtered := next
	filtered.Status, filtered.Agent = []string{"A", "B"}, "agent"
	span := page
	span.From, span.To = epoch, epoch
	traced := next
	traced.Trace = "t"
	for name, tc := range map[string]struct {
		q    store.Query
		want string
	}{
		"first page": {page, "USING INDEX thread_list (owner=?)"},
		"next page":  {next, "USING INDEX thread_list (owner=? AND created<?)"},
		"filtered":   {filtered, "USING INDEX thread_list (owner=? AND created<?)"},
		"time span":  {span, "USING INDEX thread_list (owner=? AND created>? AND created<?)"},
		"trace":      {traced, "USING INDEX thread_trace (owner=? AND trace=? AND (created,id)<(?,?))"},
	} {
		plan, err := sqlite.Plan(t.Context(), s, &tc.q)
		if err != nil {
			t.Fatal(err)
		}
		whole := strings.ReplaceAll(plan, "TEMP B-TREE FOR LAST TERM", "")
		if !strings.Contains(plan, tc.want) || strings.Contains(whole, "TEMP B-TREE") {
			t.Errorf("%s: %s\nwant %s and no sorting of the whole", name, plan, tc.want)
		}
	}
}
