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

// TestQueuePlans looks at what is asked for each piece of work: every step must be a
// look into an index. What may be scanned is what a statement has made itself.
func TestQueuePlans(t *testing.T) {
	s := openIn(t, t.TempDir(), 0)
	defer closeIt(t, s)
	plans, err := sqlite.PlanQueues(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	readyWants := []string{
		"SEARCH thread USING COVERING INDEX thread_ready (agent=? AND owner>? AND owner<?)",
		"SEARCH thread USING INDEX thread_ready (agent=? AND owner=? AND rank<?)",
		"SEARCH thread USING COVERING INDEX thread_ready (agent=? AND owner=?)",
	}
	for name, wants := range map[string][]string{
		"ready":            readyWants,
		"ready, whole":     readyWants,
		"ready agents":     {"SEARCH thread USING COVERING INDEX thread_ready (agent>?)"},
		"children":         {"SEARCH thread USING INDEX thread_parent (parent=? AND id>?)"},
		"due":              {"SEARCH subscription USING INDEX subscription_due (due>? AND due<?)"},
		"any due":          {"SEARCH subscription USING INDEX subscription_due (due>? AND due<?)"},
		"wake":             {"SEARCH subscription USING INDEX subscription_thread (thread=?)"},
		"prune":            {"SEARCH t USING INDEX thread_ended (ended>? AND ended<?)", "SEARCH s USING INDEX subscription_thread (thread=?)"},
		"prune one":        {"SEARCH t USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH s USING INDEX subscription_thread (thread=?)"},
		"prune deliveries": {"SEARCH delivery USING PRIMARY KEY (id=?)", "SEARCH delivery USING COVERING INDEX delivery_thread (thread=?)"},
	} {
		checkPlan(t, name, plans[name], wants)
		delete(plans, name)
	}
	for name := range plans {
		t.Errorf("%s was not looked at", name)
	}
}

// checkPlan compares a plan with what must be in it. Only work tables of the
// statement may be scanned, and nothing sorted.
func checkPlan(t *testing.T, name, plan string, wants []string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(plan, want) {
			t.Errorf("%s: %s\nwant %s", name, plan, want)
		}
	}
	for line := range strings.Lines(plan) {
		if strings.Contains(line, "TEMP B-TREE") || strings.HasPrefix(line, "SCAN") &&
			!strings.HasPrefix(line, "SCAN walk") && !strings.HasPrefix(line, "SCAN CONSTANT ROW") {
			t.Errorf("%s: %s\nwant no scan and no sorting", name, plan)
		}
	}
}

// TestSubscriptionPlans looks at how SQLite finds pages.
func TestSubscriptionPlans(t *testing.T) {
	s := openIn(t, t.TempDir(), 0)
	defer closeIt(t, s)
	for name, tc := range map[string]struct {
		q    store.SubscriptionQuery
		want string
	}{
		"subscriptions":             {store.SubscriptionQuery{Owner: "o", Limit: 9}, "USING INDEX subscription_owner (owner=? AND id>?)"},
		"subscriptions of a thread": {store.SubscriptionQuery{Owner: "o", Thread: "t", After: "a", Limit: 9}, "USING INDEX subscription_thread (thread=? AND id>?)"},
	} {
		plan, err := sqlite.PlanSubscriptions(t.Context(), s, &tc.q)
		if err != nil {
			t.Fatal(err)
		}
		checkPlan(t, name, plan, []string{tc.want})
	}
	failed := []store.DeliveryState{store.DeliveryFailed}
	byThread := "SEARCH delivery USING INDEX delivery_thread (thread=?"
	for name, tc := range map[string]struct {
		q     store.DeliveryQuery
		wants []string
	}{
		"all":                   {store.DeliveryQuery{Owner: "o"}, []string{"MERGE (UNION ALL)", "USING INDEX delivery_owner (owner=? AND state=?)"}},
		"all, further":          {store.DeliveryQuery{Owner: "o", Before: "x"}, []string{"MERGE (UNION ALL)", "USING INDEX delivery_owner (owner=? AND state=? AND id<?)"}},
		"failed":                {store.DeliveryQuery{Owner: "o", Before: "x", State: failed}, []string{"USING INDEX delivery_owner (owner=? AND state=? AND id<?)"}},
		"thread":                {store.DeliveryQuery{Owner: "o", Thread: "t"}, []string{byThread + ")"}},
		"thread, further":       {store.DeliveryQuery{Owner: "o", Thread: "t", State: failed, Before: "x"}, []string{byThread + " AND id<?)"}},
		"subscription":          {store.DeliveryQuery{Owner: "o", Subscription: "s"}, []string{byThread + ")", "SEARCH subscription USING PRIMARY KEY (id=?)"}},
		"subscription, further": {store.DeliveryQuery{Owner: "o", Subscription: "s", Before: "x"}, []string{byThread + " AND id<?)"}},
	} {
		plan, err := sqlite.PlanDeliveries(t.Context(), s, &tc.q)
		if err != nil {
			t.Fatal(err)
		}
		checkPlan(t, "deliveries: "+name, plan, tc.wants)
	}
}
