package client

import (
	"context"

	"github.com/arcd-io/arcd/arc"
)

// UnsubscribeTask ends a subscription of the caller (task.unsubscribe, an extension
// of arcd) and gives it as it is then. What is being sent at that moment may still
// arrive.
func (c *Client) UnsubscribeTask(ctx context.Context, to string, p arc.UnsubscribeTaskParams) (*arc.Subscription, error) {
	var result arc.SubscribeTaskResult
	if err := c.Call(ctx, "task.unsubscribe", to, p, &result); err != nil {
		return nil, err
	}
	if result.Subscription == nil {
		return nil, errEmpty
	}
	return result.Subscription, nil
}

// ListSubscriptions gives one page of the caller's subscriptions, oldest first, each
// with its last attempt (task.subscriptions, an extension of arcd). Their secrets are
// not told.
func (c *Client) ListSubscriptions(ctx context.Context, to string, p arc.ListSubscriptionsParams) (*arc.SubscriptionList, error) {
	var list arc.SubscriptionList
	if err := c.Call(ctx, "task.subscriptions", to, p, &list); err != nil {
		return nil, err
	}
	return &list, nil
}

// ListDeliveries gives one page of the attempts to reach the caller's subscriptions,
// newest first (task.deliveries, an extension of arcd).
func (c *Client) ListDeliveries(ctx context.Context, to string, p arc.ListDeliveriesParams) (*arc.DeliveryList, error) {
	var list arc.DeliveryList
	if err := c.Call(ctx, "task.deliveries", to, p, &list); err != nil {
		return nil, err
	}
	return &list, nil
}

// ReplayDelivery has the event of an attempt sent once more, now, whatever became of
// its subscription (task.replay, an extension of arcd). It gives the new attempt;
// that the receiver did not take it is no error, but its State.
func (c *Client) ReplayDelivery(ctx context.Context, to string, p arc.ReplayDeliveryParams) (*arc.Delivery, error) {
	var result arc.ReplayDeliveryResult
	if err := c.Call(ctx, "task.replay", to, p, &result); err != nil {
		return nil, err
	}
	if result.Delivery == nil {
		return nil, errEmpty
	}
	return result.Delivery, nil
}
