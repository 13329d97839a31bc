package cli

import (
	"context"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/outcome"
)

// taskSubscriptions is "arcd task subscriptions".
type taskSubscriptions struct {
	Task identifier `placeholder:"ID" help:"Only subscriptions to this task."`
	paged
}

// listedSubscriptions is the result of "task subscriptions".
type listedSubscriptions struct {
	Items []readSubscription `json:"items"`
}

func (*taskSubscriptions) row() row {
	return row{
		danger: safe, method: "task.subscriptions", auth: true, data: listedSubscriptions{},
		long:     "Each comes with its last attempt. Their secrets are not told again. An extension of arcd; other servers may not have it.",
		examples: []string{"arcd task subscriptions", "arcd task subscriptions --task task-0123 --limit 0"},
	}
}

// run reads pages until there are enough.
func (t *taskSubscriptions) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	list := listedSubscriptions{Items: []readSubscription{}}
	err = t.collect(c, "task.subscriptions", func(limit int, cursor string) (int, string, error) {
		page, err := call.ListSubscriptions(ctx, "", arc.ListSubscriptionsParams{TaskID: string(t.Task), Limit: limit, Cursor: cursor})
		if err != nil {
			return 0, "", err
		}
		for i := range page.Subscriptions {
			list.Items = append(list.Items, newReadSubscription(&page.Subscriptions[i]))
		}
		return len(page.Subscriptions), page.NextCursor, nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (l listedSubscriptions) show(p *page) {
	if len(l.Items) == 0 {
		p.line("no subscriptions")
		return
	}
	wide := p.width >= wideTable
	var rows [][]string
	for _, s := range l.Items {
		row := []string{value(s.SubscriptionID), s.state()}
		if wide {
			row = append(row, value(s.TaskID), clip(strings.Join(s.Events, ","), 30))
		}
		rows = append(rows, row)
	}
	head := []string{"SUBSCRIPTION", "STATE"}
	if wide {
		head = append(head, "TASK", "EVENTS")
	}
	room := p.room(head, rows)
	for i, s := range l.Items {
		rows[i] = append(rows[i], clip(outcome.Clean(s.Subscription.CallbackURL), room))
	}
	p.table(append(head, "SENT TO"), rows)
}

func (l listedSubscriptions) plain() []string {
	var ids []string
	for _, s := range l.Items {
		if s.SubscriptionID != nil {
			ids = append(ids, *s.SubscriptionID)
		}
	}
	return ids
}

// taskUnsubscribe is "arcd task unsubscribe".
type taskUnsubscribe struct {
	destroying
	Subscription identifier `arg:"" help:"Subscription id."`
}

// unsubscribedTask is the result of "task unsubscribe".
type unsubscribedTask struct {
	Effect string `json:"effect"` // deleted, noop (it had ended by itself), would_delete
	readSubscription
	Audit *audit `json:"audit"`
}

func (*taskUnsubscribe) row() row {
	return row{
		danger: destructive, method: "task.unsubscribe", auth: true, data: unsubscribedTask{},
		long: "What is being sent at that moment may still arrive. With --dry-run only the arguments are checked. " +
			"An extension of arcd; other servers may not have it.",
		examples: []string{"arcd task unsubscribe sub-0123 --confirm-destructive"},
	}
}

// run ends the subscription.
func (t *taskUnsubscribe) run(ctx context.Context, c *console) (any, error) {
	id := string(t.Subscription)
	if err := t.gate(c, "end", "subscription "+id); err != nil {
		return nil, err
	}
	call, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	data := unsubscribedTask{Effect: "would_delete", Audit: c.auditOf()}
	if t.DryRun {
		data.readSubscription = newReadSubscription(&arc.Subscription{ID: id, Active: true})
		return data, nil
	}
	ended, err := call.UnsubscribeTask(ctx, "", arc.UnsubscribeTaskParams{SubscriptionID: id})
	if err != nil {
		return nil, c.notThere(err, "subscription", id, "task subscriptions")
	}
	if ended.Active {
		return nil, outcome.Errorf(outcome.ProtocolError, "The server says that the subscription %s is still active.", id)
	}
	data.readSubscription = newReadSubscription(ended)
	if data.Effect = "deleted"; ended.Reason != "" && ended.Reason != "unsubscribed" {
		data.Effect = "noop"
		return data, nil
	}
	data.Audit = c.auditOf(id)
	return data, nil
}

func (u unsubscribedTask) show(p *page) {
	p.field("effect", u.Effect)
	p.field("subscriber", value(u.SubscriptionID))
	p.field("task", value(u.TaskID))
	p.field("state", u.state())
}

func (u unsubscribedTask) plain() []string { return []string{value(u.SubscriptionID)} }
