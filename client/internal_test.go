package client

// The reader of event streams is not exported; it is fuzzed from inside.

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func collect(r io.Reader, limit int) ([]Event, error) {
	var events []Event
	for ev, err := range readEvents(r, limit) {
		if err != nil {
			return events, err
		}
		events = append(events, ev)
	}
	return events, nil
}

func TestReadEvents(t *testing.T) {
	one := []Event{{Name: "stream", Seq: 2, Data: json.RawMessage(`{"a":1}`)}}
	for input, want := range map[string][]Event{
		"event: stream\nid: 2\ndata: {\"a\":1}\n\n":                                       one,
		": keep-alive\n\nevent: stream\nid: 2\ndata: {\"a\":1}\n\n: more\n\n":             one,
		"event: stream\r\nid: 2\r\ndata: {\"a\":1}\r\n\r\n":                               one,
		"event: stream\rid: 2\rdata: {\"a\":1}\r\r":                                       one,
		"retry: 1000\n\nevent:stream\nid:2\ndata:{\"a\":\ndata:1}\n\n":                    {{Name: "stream", Seq: 2, Data: json.RawMessage("{\"a\":\n1}")}},
		"event: stream\nid: 2\ndata: {\"a\":1}\n\nevent: done\nid: 3\ndata: {\"done\":tr": one, // cut in the middle
		"event: stream\nid: 2\ndata: {\"a\":1}\n\nevent: done\ndata: {}\n":                one, // not ended
		"data: {\"a\":1}\n\n":                  nil, // no name
		"":                                     nil,
		"event: x\nid: no number\ndata: 1\n\n": {{Name: "x", Data: json.RawMessage("1")}},
		"event: x\nid: 7\ndata: 1\n\nevent: y\ndata: 2\n\n": {
			{Name: "x", Seq: 7, Data: json.RawMessage("1")}, {Name: "y", Data: json.RawMessage("2")},
		},
	} {
		for label, r := range map[string]io.Reader{
			"at once": strings.NewReader(input), "byte by byte": iotest.OneByteReader(strings.NewReader(input)),
			"with its end": iotest.DataErrReader(strings.NewReader(input)),
		} {
			got, err := collect(r, 1<<10)
			if err != nil {
				t.Errorf("%q, %s: %v", input, label, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q, %s (-want +got):\n%s", input, label, diff)
			}
		}
	}
}

func TestReadEventsRefuses(t *testing.T) {
	broken := errors.New("broken")
	for label, c := range map[string]struct {
		r    io.Reader
		want error
	}{
		"no JSON":   {strings.NewReader("event: x\ndata: {\n\n"), errEvent},
		"no data":   {strings.NewReader("event: x\n\n"), errEvent},
		"too large": {strings.NewReader("event: x\ndata: " + strings.Repeat("1", 2000)), errTooLarge},
		"a fault":   {io.MultiReader(strings.NewReader("event: x\n"), iotest.ErrReader(broken)), broken},
	} {
		if got, err := collect(c.r, 1<<10); !errors.Is(err, c.want) || len(got) > 0 {
			t.Errorf("%s: %v, %v; want %v", label, got, err, c.want)
		}
	}
}

// FuzzSSE checks that no stream makes the reader panic or give an event whose
// data is no JSON, and that how the bytes arrive changes nothing.
func FuzzSSE(f *testing.F) {
	for _, seed := range []string{
		"event: stream\nid: 2\ndata: {\"a\":1}\n\n", "event: a\r\ndata: 1\r\n\r\nevent: b\rdata: 2\r\r",
		"\n\n\n", ": c\n\n", "data", "id\nevent\ndata\n\n", "event: x\ndata: 1\ndata: 2\n\n", "\xef\xbb\xbfevent: x\ndata: 1\n\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		whole, err := collect(strings.NewReader(input), 1<<10)
		for _, ev := range whole {
			if ev.Name == "" || !json.Valid(ev.Data) {
				t.Fatalf("%q gave %+v", input, ev)
			}
		}
		pieces, err2 := collect(iotest.OneByteReader(strings.NewReader(input)), 1<<10)
		if (err == nil) != (err2 == nil) && !errors.Is(err, errTooLarge) && !errors.Is(err2, errTooLarge) {
			t.Fatalf("%q: %v at once, %v byte by byte", input, err, err2)
		}
		if err == nil && err2 == nil && !slices.EqualFunc(whole, pieces, func(a, b Event) bool { return cmp.Equal(a, b) }) {
			t.Fatalf("%q: %+v at once, %+v byte by byte", input, whole, pieces)
		}
	})
}
