package transfer

import (
	"fmt"
	"slices"
)

// Kind is the kind of a column's values.
type Kind uint8

// The kinds of values. All but Bool may be missing.
const (
	Text Kind = iota + 1
	Int
	Bool
	Bytes
)

// Column is a column of a table.
type Column struct {
	Name string
	Kind Kind
}

// Table is a table as both sides of a copy see it.
type Table struct {
	Name    string
	Columns []Column
	Key     int // how many of the first columns are the key; 0: there is one row
}

// Row has a value for each column of its table: nil, string, int64, bool or []byte,
// which is never empty.
type Row []any

// Names of the tables that an engine treats in a way of its own.
const (
	Agent      = "agent"       // a Writer makes the index of the search from its bodies
	AuditState = "audit_state" // last number given, and how late an entry ever was
	Thread     = "thread"
	Log        = "log"
)

// Tables lists the tables, in the order in which they are copied. Those of rate
// limits, replicas and health checks are not among them: what they hold is of the
// moment.
func Tables() []*Table { return slices.Clone(tables) }

var tables = []*Table{
	{Agent, []Column{{"id", Text}, {"rev", Int}, {"type", Text}, {"registered", Int}, {"updated", Int}, {"body", Bytes}}, 1},
	{"agent_life", []Column{{"id", Text}, {"seen", Int}, {"alive", Bool}, {"counts", Bytes}}, 1},
	{"mark", []Column{{"kind", Text}, {"value", Text}, {"body", Bytes}, {"expires", Int}}, 2},
	{"revocation", []Column{{"kind", Text}, {"value", Text}, {"before", Int}, {"expires", Int}}, 2},
	{"audit", []Column{{"id", Int}, {"at", Int}, {"event", Text}, {"outcome", Text}, {"actor", Text}, {"agent", Text}, {"body", Bytes}}, 1},
	{AuditState, []Column{{"last", Int}, {"late", Int}}, 0},
	{Thread, []Column{
		{"id", Text}, {"kind", Int}, {"owner", Text}, {"sender", Text}, {"agent", Text}, {"trace", Text}, {"parent", Text},
		{"status", Text}, {"priority", Text}, {"created", Int}, {"updated", Int}, {"ended", Int},
		{"rev", Int}, {"seq", Int}, {"items", Int}, {"ready", Bool}, {"rank", Int}, {"due", Int}, {"body", Bytes},
	}, 1},
	{Log, []Column{{"thread", Text}, {"pos", Int}, {"seq", Int}, {"events", Bytes}, {"items", Bytes}}, 2},
	{"idem", []Column{{"owner", Text}, {"name", Text}, {"thread", Text}, {"hash", Bytes}, {"reply", Bytes}, {"expires", Int}}, 2},
	{"subscription", []Column{
		{"id", Text}, {"thread", Text}, {"owner", Text}, {"created", Int}, {"ended", Int}, {"cursor", Int},
		{"due", Int}, {"lease", Text}, {"body", Bytes},
	}, 1},
	{"delivery", []Column{
		{"id", Text}, {"subscription", Text}, {"thread", Text}, {"owner", Text}, {"seq", Int}, {"at", Int}, {"state", Int}, {"body", Bytes},
	}, 1},
}

// Names lists the columns.
func (t *Table) Names() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

// Row makes a row of what a driver gave: integers of any size, 0 and 1 for Bool, and
// empty bytes, which no reader of a store tells from none.
func (t *Table) Row(values []any) (Row, error) {
	if len(values) != len(t.Columns) {
		return nil, fmt.Errorf("a row of %s has %d columns instead of %d", t.Name, len(values), len(t.Columns))
	}
	row := make(Row, len(values))
	for i, v := range values {
		canonical, ok := t.Columns[i].Kind.value(v)
		if !ok {
			return nil, fmt.Errorf("%s.%s holds a %T", t.Name, t.Columns[i].Name, v)
		}
		row[i] = canonical
	}
	return row, nil
}

func (k Kind) value(v any) (any, bool) {
	switch v := v.(type) {
	case nil:
		return nil, k != Bool
	case string:
		return v, k == Text
	case []byte:
		if len(v) == 0 {
			return nil, k == Bytes
		}
		return v, k == Bytes
	case bool:
		return v, k == Bool
	case int64:
		return number(k, v)
	case int32:
		return number(k, int64(v))
	case int16:
		return number(k, int64(v))
	}
	return nil, false
}

func number(k Kind, v int64) (any, bool) {
	if k == Bool {
		return v == 1, v == 0 || v == 1
	}
	return v, k == Int
}

// key is the row's key, for people.
func (t *Table) key(row Row) string { return fmt.Sprintf("%q", []any(row[:t.Key])) }

// size is about how much memory the row takes, in bytes.
func (r Row) size() int {
	n := 24 * len(r)
	for _, v := range r {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}
