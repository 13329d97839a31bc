package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/arcd-io/arcd/arc"
)

// ReplayedHeader is the header of an answer that was given before, to an equal
// call with the same idempotency key: nothing was done again (an extension of
// arcd).
const ReplayedHeader = "Idempotency-Replayed"

// CallHeader is [Client.Call], and gives the header of the answer too.
func (c *Client) CallHeader(ctx context.Context, method, to string, params, result any) (http.Header, error) {
	return c.call(ctx, &call{method: method, to: to, params: params}, result)
}

// Stream makes any call that is answered by a stream, as [Client.StreamChat] does:
// params must ask for one where the method has a choice. Of task.events a broken
// connection is made anew from the start of the call or the last event; of chats
// as of StreamChat. after, if positive, is the event behind which to begin.
func (c *Client) Stream(ctx context.Context, method, to string, params any, after int64) iter.Seq2[Event, error] {
	s := &stream{client: c, again: method == "task.events"}
	s.call = call{method: method, to: to, params: params, resume: after > 0, lastSeq: max(after, 0)}
	return s.events(ctx)
}

// WaitSight is what [Client.WaitTask] sees while it waits.
type WaitSight struct {
	Task  *arc.Task // a look at the task, without its messages and artifacts; else nil
	Event *Event    // an event of the task; else nil
}
