package methods

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// maxPage is the largest page of task.list, and pageDefault the usual one.
const (
	maxPage     = 200
	pageDefault = 50
)

// ListTasks is the extension task.list: the caller's own tasks, newest first,
// in pages.
//
// Errors: -32602.
func (s *Service) ListTasks(ctx context.Context, c *rpc.Call, p arc.ListTasksParams) (*arc.TaskList, error) {
	q := store.Query{
		Owner: c.Principal.Owner(), Kind: store.Task, Agent: p.Agent, Trace: p.TraceID,
		From: p.After.Time, To: p.Before.Time, Limit: p.Limit,
	}
	if q.Limit == 0 {
		q.Limit = pageDefault
	}
	if q.Limit < 1 || q.Limit > maxPage {
		return nil, arc.InvalidParam("limit", "must be 1 to "+strconv.Itoa(maxPage))
	}
	for _, status := range p.Status {
		if !slices.Contains(arc.TaskStatuses, status) {
			return nil, arc.InvalidParam("status", "must list states of a task, such as WORKING")
		}
		q.Status = append(q.Status, string(status))
	}
	if p.Cursor != "" {
		var ok bool
		if q.BeforeTime, q.BeforeID, ok = parseCursor(p.Cursor); !ok {
			return nil, arc.InvalidParam("cursor", "must be the nextCursor of an earlier answer")
		}
	}
	q.Limit++ // one more, to know whether there is a next page
	threads, err := s.store.Threads(ctx, q)
	if err != nil {
		return nil, err
	}
	list := &arc.TaskList{Type: "tasks", Tasks: []arc.Task{}}
	if len(threads) == q.Limit {
		threads = threads[:q.Limit-1]
		last := threads[len(threads)-1]
		list.NextCursor = cursor(last.Created, last.ID)
	}
	for _, t := range threads {
		th, err := decode(t)
		if err != nil {
			return nil, err
		}
		task := th.view().Task
		task.Waiting = s.waiting(th)
		list.Tasks = append(list.Tasks, task)
	}
	return list, nil
}

// cursor names the last row of a page. It is opaque to callers, and safe to
// change: a caller may only get its own rows with it.
func cursor(created time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(created.UnixMilli(), 36) + "." + id))
}

func parseCursor(s string) (created time.Time, id string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return time.Time{}, "", false
	}
	at, id, ok := strings.Cut(string(b), ".")
	ms, err := strconv.ParseInt(at, 36, 64)
	return time.UnixMilli(ms).UTC(), id, ok && err == nil && id != ""
}
