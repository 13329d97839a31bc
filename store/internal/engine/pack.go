package engine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// One row of the log holds all events, or all items, of one commit: rows cost
// far more than bytes. Numbers are varints, texts have their length in front.
// Sequence numbers are not in the bytes: the row says the last one.

var errPacked = errors.New("packed row is damaged")

// PackEvents gives nil for no events.
func PackEvents(evs []arc.Event) []byte {
	if len(evs) == 0 {
		return nil
	}
	size := 0
	for i := range evs {
		size += len(evs[i].Type) + len(evs[i].Data) + 24
	}
	b := make([]byte, 0, size)
	for i := range evs {
		b = appendText(b, string(evs[i].Type))
		b = binary.AppendVarint(b, evs[i].At.UnixMilli())
		b = appendText(b, evs[i].Data)
	}
	return b
}

// UnpackEvents appends the events of a row, the last of which has number last.
func UnpackEvents(dst []arc.Event, b []byte, last int64) ([]arc.Event, error) {
	start := len(dst)
	for r := (reader{b: b}); len(r.b) > 0; {
		e := arc.Event{Type: arc.EventType(r.text())}
		e.At = arc.Time{Time: time.UnixMilli(r.number()).UTC()}
		if d := r.text(); len(d) > 0 {
			e.Data = json.RawMessage(d)
		}
		if r.bad {
			return nil, errPacked
		}
		dst = append(dst, e)
	}
	Number(dst[start:], last)
	return dst, nil
}

// Number gives evs the sequence numbers that end with last.
func Number(evs []arc.Event, last int64) {
	for i := range evs {
		evs[i].Seq = last - int64(len(evs)-1-i)
	}
}

// PackItems gives nil for no items.
func PackItems(items []store.Item) []byte {
	if len(items) == 0 {
		return nil
	}
	size := 0
	for i := range items {
		size += len(items[i].Body) + 6
	}
	b := make([]byte, 0, size)
	for i := range items {
		b = append(b, byte(items[i].Kind))
		b = appendText(b, items[i].Body)
	}
	return b
}

// UnpackItems appends the items of a row.
func UnpackItems(dst []store.Item, b []byte) ([]store.Item, error) {
	for r := (reader{b: b}); len(r.b) > 0; {
		it := store.Item{Kind: store.ItemKind(r.b[0])}
		r.b = r.b[1:]
		it.Body = r.text()
		if r.bad {
			return nil, errPacked
		}
		dst = append(dst, it)
	}
	return dst, nil
}

func appendText[T string | []byte | json.RawMessage](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// reader takes numbers and texts off the front of b; bad tells that they ran
// out.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// text gives a part of the row's bytes, not a copy.
func (r *reader) text() []byte {
	size, n := binary.Uvarint(r.b)
	if n <= 0 || size > uint64(len(r.b)-n) {
		r.fail()
		return nil
	}
	end := n + int(size)
	s := r.b[n:end:end]
	r.b = r.b[end:]
	return s
}

func (r *reader) fail() { r.bad, r.b = true, nil }
