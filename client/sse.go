package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tmaxmax/go-sse"
)

// errEvent reports an event that no ARC server sends; what follows it cannot be
// trusted either.
var errEvent = errors.New("an event of the stream is not one of ARC")

// readEvents reads server-sent events, each at most limit bytes long, to the
// end of r. Comments and events without a name are passed over.
func readEvents(r io.Reader, limit int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var lastID string
		whole := &wholeEvents{r: r, limit: limit}
		for ev, err := range sse.Read(whole, &sse.ReadConfig{MaxEventSize: limit}) {
			if err != nil {
				yield(Event{}, err)
				return
			}
			if ev.Type == "" {
				continue
			}
			event := Event{Name: ev.Type, Data: json.RawMessage(ev.Data)}
			if !jsontext.Value(event.Data).IsValid() {
				yield(Event{}, fmt.Errorf("%w: the data of %q is no JSON", errEvent, ev.Type))
				return
			}
			// The parser repeats an earlier id on events without one.
			if ev.LastEventID != lastID {
				lastID = ev.LastEventID
				if seq, err := strconv.ParseInt(lastID, 10, 64); err == nil && seq > 0 {
					event.Seq = seq
				}
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

// wholeEvents lets through whole events only. The parser would give an event
// that was cut in the middle as if it had ended; by the standard (HTML,
// "Interpreting an event stream") it must be dropped, and a stream that is
// resumed behind such an event would lose it.
type wholeEvents struct {
	r     io.Reader
	limit int

	buffer []byte // what was read
	ready  int    // so much of it is whole events
	seen   int    // so much of it was looked at
	blank  bool   // the line at seen is empty so far
	cr     bool   // the byte before seen is a CR
	err    error
}

// Read gives the next piece of whole events.
func (w *wholeEvents) Read(p []byte) (int, error) {
	for w.ready == 0 {
		if w.err != nil {
			return 0, w.err
		}
		if len(w.buffer) > w.limit {
			w.err = errTooLarge
			return 0, w.err
		}
		w.fill()
	}
	n := copy(p, w.buffer[:w.ready])
	rest := copy(w.buffer, w.buffer[n:])
	w.buffer = w.buffer[:rest]
	w.ready -= n
	w.seen -= n
	return n, nil
}

// fill reads once and looks for ends of events: lines that are empty. Lines end
// with LF, CR or both.
func (w *wholeEvents) fill() {
	const piece = 4 << 10
	if cap(w.buffer)-len(w.buffer) < piece/4 {
		grown := make([]byte, len(w.buffer), 2*cap(w.buffer)+piece)
		copy(grown, w.buffer)
		w.buffer = grown
	}
	var n int
	n, w.err = w.r.Read(w.buffer[len(w.buffer):cap(w.buffer)])
	w.buffer = w.buffer[:len(w.buffer)+n]
	for ; w.seen < len(w.buffer); w.seen++ {
		c := w.buffer[w.seen]
		switch {
		case c == '\n' && w.cr: // the second half of a line's end
			if w.ready == w.seen && w.seen > 0 {
				w.ready++
			}
		case c == '\n' || c == '\r':
			if w.blank {
				w.ready = w.seen + 1
			}
			w.blank = true
		default:
			w.blank = false
		}
		w.cr = c == '\r'
	}
}
