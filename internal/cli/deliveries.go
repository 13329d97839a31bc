package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// deliveriesCommand groups the commands about what was sent to subscribers.
type deliveriesCommand struct {
	List   deliveriesList   `cmd:"" aliases:"ls" help:"List attempts to send events to your subscriptions, newest first."`
	Show   deliveriesShow   `cmd:"" aliases:"get,info" help:"Read one attempt."`
	Replay deliveriesReplay `cmd:"" aliases:"retry" help:"Send the event of an attempt once more, now."`
}

// deliveryStates are the states that an attempt can be in.
func deliveryStates() []string {
	return []string{arc.DeliveryDelivered, arc.DeliveryFailed, arc.DeliveryDead}
}

// deliveriesList is "arcd deliveries list".
type deliveriesList struct {
	Task         identifier `placeholder:"ID" help:"Only attempts for this task."`
	Subscription identifier `placeholder:"ID" help:"Only attempts for this subscription."`
	State        []string   `placeholder:"STATE" help:"Only attempts in this state: delivered, failed or dead; several with commas or by repeating."`
	Failed       bool       `help:"Only attempts that failed, dead ones too."`
	paged
}

// listedDeliveries is the result of "deliveries list".
type listedDeliveries struct {
	Items []readDelivery `json:"items"`

	now time.Time // for people: how long ago it was
}

func (*deliveriesList) row() row {
	return row{
		danger: safe, method: "task.deliveries", auth: true, data: listedDeliveries{},
		groups: []argumentGroup{{"excludes", []string{"--failed", "--state"}}},
		long:   "delivered: the receiver took it. failed: it did not, and it is tried again. dead: it did not, and only arcd deliveries replay sends it again. An extension of arcd; other servers may not have it.",
		examples: []string{
			"arcd deliveries list --failed", "arcd deliveries list --task task-0123 --state dead -o plain",
			"arcd deliveries list --subscription sub-0123 --limit 0",
		},
	}
}

func (d *deliveriesList) check(p *problems) {
	d.paged.check(p)
	if d.Failed && len(d.State) > 0 {
		p.add("--failed", "names states, as --state does: give one of them")
	}
	for i, state := range d.State {
		d.State[i] = strings.ToLower(state)
		if all := deliveryStates(); !slices.Contains(all, d.State[i]) {
			p.report(outcome.Problem{
				Code: outcome.Validation, Field: "--state", Input: shorten(state), Message: "must be one of " + strings.Join(all, ", "), Corrected: nearest(d.State[i], all),
			})
		}
	}
}

// run reads pages until there are enough.
func (d *deliveriesList) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	p := arc.ListDeliveriesParams{TaskID: string(d.Task), SubscriptionID: string(d.Subscription), State: d.State}
	if d.Failed {
		p.State = []string{arc.DeliveryFailed, arc.DeliveryDead}
	}
	list := listedDeliveries{Items: []readDelivery{}, now: c.now()}
	err = d.collect(c, "task.deliveries", func(limit int, cursor string) (int, string, error) {
		p.Limit, p.Cursor = limit, cursor
		page, err := call.ListDeliveries(ctx, "", p)
		if err != nil {
			return 0, "", err
		}
		for i := range page.Deliveries {
			list.Items = append(list.Items, newReadDelivery(&page.Deliveries[i]))
		}
		return len(page.Deliveries), page.NextCursor, nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (l listedDeliveries) show(p *page) {
	if len(l.Items) == 0 {
		p.line("no deliveries")
		return
	}
	wide := p.width >= wideTable
	var rows [][]string
	for _, d := range l.Items {
		row := []string{value(d.DeliveryID), d.brief(), d.Event, age(l.now, d.Delivery.At)}
		if wide {
			row = append(row, d.attempts(), value(d.TaskID))
		}
		rows = append(rows, row)
	}
	head := []string{"DELIVERY", "STATE", "EVENT", "AGE"}
	if wide {
		head = append(head, "TRY", "TASK")
		room := p.room(head, rows)
		for i, d := range l.Items {
			rows[i] = append(rows[i], clip(strings.Join(strings.Fields(outcome.Clean(d.Delivery.Error)), " "), room))
		}
		head = append(head, "ERROR")
	}
	p.table(head, rows)
}

func (l listedDeliveries) plain() []string {
	var ids []string
	for _, d := range l.Items {
		if d.DeliveryID != nil {
			ids = append(ids, *d.DeliveryID)
		}
	}
	return ids
}

// deliveriesShow is "arcd deliveries show".
type deliveriesShow struct {
	Delivery identifier `arg:"" help:"Id of the attempt."`
}

func (*deliveriesShow) row() row {
	return row{
		danger: safe, method: "task.deliveries", auth: true, data: readDelivery{},
		examples: []string{"arcd deliveries show dlv-0123"},
	}
}

// run reads the attempt.
func (d *deliveriesShow) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	found, err := c.delivery(ctx, call, string(d.Delivery))
	if err != nil {
		return nil, err
	}
	return newReadDelivery(found), nil
}

// delivery reads an attempt.
func (c *console) delivery(ctx context.Context, call *client.Client, id string) (*arc.Delivery, error) {
	list, err := call.ListDeliveries(ctx, "", arc.ListDeliveriesParams{DeliveryID: id})
	if err == nil && len(list.Deliveries) == 0 {
		err = outcome.Errorf(outcome.NotFound, "The list has no such attempt.")
	}
	if err != nil {
		return nil, c.notThere(err, "delivery", id, "deliveries list")
	}
	return &list.Deliveries[0], nil
}

// deliveriesReplay is "arcd deliveries replay".
type deliveriesReplay struct {
	changing
	Delivery identifier `arg:"" help:"Id of an attempt for the event."`
}

// replayedDelivery is the result of "deliveries replay": the new attempt; with
// --dry-run the old one.
type replayedDelivery struct {
	Effect string `json:"effect"` // created, would_create
	readDelivery
}

func (*deliveriesReplay) row() row {
	return row{
		danger: mutating, method: "task.replay", auth: true, data: replayedDelivery{},
		long: "It waits for the receiver's answer. Exit code 4 (DELIVERY_FAILED) tells that the receiver did not take it. " +
			"It works for subscriptions that have ended, too, and changes nothing else about them. An extension of arcd; other servers may not have it.",
		examples: []string{"arcd deliveries replay dlv-0123"},
	}
}

// run sends the event once more.
func (d *deliveriesReplay) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	if d.DryRun {
		found, err := c.delivery(ctx, call, string(d.Delivery))
		if err != nil {
			return nil, err
		}
		return replayedDelivery{"would_create", newReadDelivery(found)}, nil
	}
	made, err := call.ReplayDelivery(ctx, "", arc.ReplayDeliveryParams{DeliveryID: string(d.Delivery)})
	if err != nil {
		return nil, c.notThere(err, "delivery", string(d.Delivery), "deliveries list")
	}
	data := replayedDelivery{"created", newReadDelivery(made)}
	if data.State == arc.DeliveryDelivered {
		return data, nil
	}
	e := outcome.Errorf(outcome.DeliveryFailed, "The receiver did not take it: %s.", data.result())
	return data, e
}

func (r replayedDelivery) show(p *page) {
	p.field("effect", r.Effect)
	r.readDelivery.show(p)
}
