package engine_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
	"github.com/google/go-cmp/cmp"
)

func TestPackedEvents(t *testing.T) {
	for name, evs := range map[string][]arc.Event{
		"none": nil,
		"bare": {{Seq: 9}},
		"all": {
			{Seq: 8, Type: arc.NewMessageEvent, At: arc.At(time.UnixMilli(1_700_000_000_123)), Data: json.RawMessage(`{"a": 1}`)},
			{Seq: 9, Type: "ö", At: arc.At(time.UnixMilli(-5)), Data: json.RawMessage("\x00\xff")},
		},
	} {
		b := engine.PackEvents(evs)
		got, err := engine.UnpackEvents(nil, b, 9)
		if d := cmp.Diff(evs, got); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
		for n := 1; n < len(b); n++ {
			if got, err := engine.UnpackEvents(nil, b[:n], 9); err == nil && len(got) >= len(evs) {
				t.Errorf("%s, cut to %d of %d bytes: %v", name, n, len(b), got)
			}
		}
	}
}

func TestPackedItems(t *testing.T) {
	for name, items := range map[string][]store.Item{
		"none": nil,
		"two":  {{Kind: store.ArtifactItem, Body: []byte("x")}, {Kind: store.MessageItem, Body: []byte{}}},
	} {
		b := engine.PackItems(items)
		got, err := engine.UnpackItems(nil, b)
		if d := cmp.Diff(items, got); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
		for n := 1; n < len(b); n++ {
			if got, err := engine.UnpackItems(nil, b[:n]); err == nil && len(got) >= len(items) {
				t.Errorf("%s, cut to %d of %d bytes: %v", name, n, len(b), got)
			}
		}
	}
}
