package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// Examiner is a Reader that can be asked more.
type Examiner interface {
	Reader
	// Query runs a statement that every engine understands, with $1, $2 … for its
	// arguments. each must not keep the slice.
	Query(ctx context.Context, text string, args []any, each func(values []any) error) error
	// Rules gives what only this engine has to hold.
	Rules() []Rule
	// LogRange is the statement that reads thread, pos, seq, events and items of the log
	// for threads with ids from $1 to $2, in the order of (thread, pos).
	LogRange() string
	// Sound looks at what is below the tables: the file, the settings of a server.
	Sound(ctx context.Context, found func(detail string)) error
}

// Rule is something that no row may be.
type Rule struct {
	Name  string
	Table string
	// Text selects the key of each row that breaks the rule, and what is wrong with it,
	// both as text.
	Text string
}

// Finding is a thing that is wrong.
type Finding struct {
	Rule   string `json:"rule"`
	Table  string `json:"table"`
	ID     string `json:"id"` // the key; that of a thread for its log
	Detail string `json:"detail,omitempty"`
}

// Checked is the outcome of a check.
type Checked struct {
	Tables   []Count   `json:"tables"`
	Findings []Finding `json:"findings"` // the first hundred of each rule
	Total    int64     `json:"total"`    // how many there are
}

// Count is how many rows a table has.
type Count struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

// shown is how many findings of a rule are told.
const shown = 100

// rules hold for every engine.
var rules = []Rule{
	{"ended_thread_is_ready", Thread, `SELECT id, 'it is ' || status || ' and in the queue of ' || agent FROM thread
		WHERE ready AND ended IS NOT NULL`},
	{"thread_counters", Thread, `SELECT id, 'it has rev ' || CAST(rev AS text) FROM thread WHERE rev < 1 OR seq < 0 OR items < 0`},
	{"subscription_of_nothing", "subscription", `SELECT s.id, 'thread ' || s.thread FROM subscription s
		WHERE NOT EXISTS (SELECT 1 FROM thread t WHERE t.id = s.thread)`},
	{"cursor_ahead_of_log", "subscription", `SELECT s.id, 'cursor ' || CAST(s.cursor AS text) || ', last event ' || CAST(t.seq AS text)
		FROM subscription s JOIN thread t ON t.id = s.thread WHERE s.cursor > t.seq`},
	{"lease_without_end", "subscription", `SELECT id, 'lease ' || lease FROM subscription WHERE lease IS NOT NULL AND due IS NULL`},
	{"delivery_of_nothing", "delivery", `SELECT d.id, 'subscription ' || d.subscription FROM delivery d
		WHERE NOT EXISTS (SELECT 1 FROM subscription s WHERE s.id = d.subscription)`},
	{"key_of_nothing", "idem", `SELECT i.owner || '/' || i.name, 'thread ' || i.thread || ' is gone and the key never expires' FROM idem i
		WHERE i.expires IS NULL AND NOT EXISTS (SELECT 1 FROM thread t WHERE t.id = i.thread)`},
	{"agent_without_life", Agent, `SELECT a.id, '' FROM agent a WHERE NOT EXISTS (SELECT 1 FROM agent_life l WHERE l.id = a.id)`},
	{"life_of_nothing", "agent_life", `SELECT l.id, '' FROM agent_life l WHERE NOT EXISTS (SELECT 1 FROM agent a WHERE a.id = l.id)`},
}

// check is a check under way.
type check struct {
	x        Examiner
	progress func(Progress)
	out      Checked
	told     map[string]int // findings of a rule so far
}

// Check reads everything it can and tells what is wrong. A server may go on with the store
// meanwhile: what is checked is one moment. progress may be nil.
func Check(ctx context.Context, x Examiner, progress func(Progress)) (Checked, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	c := &check{x: x, progress: progress, told: map[string]int{}, out: Checked{Findings: []Finding{}}}
	err := x.Sound(ctx, func(detail string) { c.found(Finding{Rule: "storage", Detail: detail}) })
	if err == nil {
		err = c.count(ctx)
	}
	if err == nil {
		err = c.rules(ctx)
	}
	if err == nil {
		err = c.logs(ctx)
	}
	if errors.Is(err, ErrDamaged) { // a page that nothing can be read from
		c.found(Finding{Rule: "storage", Detail: "the rest cannot be read: " + err.Error()})
		err = nil
	}
	return c.out, err
}

func (c *check) found(f Finding) {
	c.out.Total++
	if c.told[f.Rule]++; c.told[f.Rule] <= shown {
		c.out.Findings = append(c.out.Findings, f)
	}
}

func (c *check) count(ctx context.Context) error {
	for _, t := range tables {
		if t.Key == 0 {
			continue
		}
		err := c.x.Query(ctx, `SELECT count(*) FROM `+t.Name, nil, func(v []any) error {
			n, _ := v[0].(int64)
			c.out.Tables = append(c.out.Tables, Count{t.Name, n})
			return nil
		})
		if err != nil {
			return fmt.Errorf("counting table %s: %w", t.Name, err)
		}
	}
	return nil
}

func (c *check) rules(ctx context.Context) error {
	for _, rule := range append(c.x.Rules(), rules...) {
		c.progress(Progress{Phase: "check", Table: rule.Table})
		err := c.x.Query(ctx, rule.Text, nil, func(v []any) error {
			id, _ := v[0].(string)
			detail, _ := v[1].(string)
			c.found(Finding{rule.Name, rule.Table, id, detail})
			return nil
		})
		if err != nil {
			return fmt.Errorf("looking for %s in table %s: %w", rule.Name, rule.Table, err)
		}
	}
	return nil
}

// head is what a thread says of its log.
type head struct {
	id         string
	seq, items int64
}

// logs compares each thread with its log. It reads threads by pages, and the logs of
// a page one after the other.
func (c *check) logs(ctx context.Context) error {
	const page = 500
	var done int64
	for after := ""; ; {
		var heads []head
		err := c.x.Query(ctx, fmt.Sprintf(`SELECT id, seq, items FROM thread WHERE id > $1 ORDER BY id LIMIT %d`, page), []any{after},
			func(v []any) error {
				id, _ := v[0].(string)
				seq, _ := v[1].(int64)
				items, _ := v[2].(int64)
				heads = append(heads, head{id, seq, items})
				return nil
			})
		if err != nil {
			return fmt.Errorf("reading threads: %w", err)
		}
		if len(heads) == 0 {
			return nil
		}
		if err := c.logsOf(ctx, heads); err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
		after = heads[len(heads)-1].id
		done += int64(len(heads))
		c.progress(Progress{"check", Log, done, done})
	}
}

// logsOf looks at the logs of some threads, which are sorted by id.
func (c *check) logsOf(ctx context.Context, heads []head) error {
	h := &history{}
	next := 0
	// through goes on to the thread with this id; those before it have no rows left.
	through := func(id string) {
		for next < len(heads) && heads[next].id < id {
			c.ended(h, heads[next])
			next++
		}
	}
	err := c.x.Query(ctx, c.x.LogRange(), []any{heads[0].id, heads[len(heads)-1].id}, func(v []any) error {
		id, _ := v[0].(string)
		through(id)
		if next == len(heads) || heads[next].id != id {
			return nil // it belongs to no thread: a rule has found it
		}
		pos, _ := v[1].(int64)
		seq, _ := v[2].(int64)
		events, _ := v[3].([]byte)
		items, _ := v[4].([]byte)
		if wrong := h.row(pos, seq, events, items); wrong != "" {
			c.found(Finding{"log_row", Log, id, wrong})
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for ; next < len(heads); next++ {
		c.ended(h, heads[next])
	}
	return nil
}

// ended compares a thread with what its log added up to.
func (c *check) ended(h *history, t head) {
	var wrong []string
	if h.seq != t.seq {
		wrong = append(wrong, fmt.Sprintf("it says its last event is %d, its log ends with %d", t.seq, h.seq))
	}
	if h.items != t.items {
		wrong = append(wrong, fmt.Sprintf("it says it has %d items, its log has %d", t.items, h.items))
	}
	if wrong != nil && !h.damaged {
		c.found(Finding{"thread_and_log", Thread, t.id, strings.Join(wrong, "; ")})
	}
	*h = history{events: h.events[:0], list: h.list[:0]}
}

// history is what the rows of a log have added up to so far.
type history struct {
	seq, items int64
	damaged    bool // so much is wrong that the sums say nothing

	events []arc.Event
	list   []store.Item
}

// row adds a row, and gives what is wrong with it. The numbers of a row must follow
// from those before: that is what no hole means.
func (h *history) row(pos, seq int64, events, items []byte) string {
	var err error
	if h.events, err = engine.UnpackEvents(h.events[:0], events, seq); err == nil {
		h.list, err = engine.UnpackItems(h.list[:0], items)
	}
	if err != nil {
		h.damaged = true
		return fmt.Sprintf("row %d: %v", pos, err)
	}
	wantSeq, wantItems := h.seq+int64(len(h.events)), h.items+int64(len(h.list))
	h.seq, h.items = wantSeq, wantItems
	if seq != wantSeq || pos != wantSeq+wantItems {
		h.seq, h.items = seq, pos-seq // go on from what it says
		return fmt.Sprintf("row %d ends with event %d, but %d events and %d items are there up to it", pos, seq, wantSeq, wantItems)
	}
	return ""
}
