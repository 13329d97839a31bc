package storetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// testEvents reads from every cursor with every limit.
func testEvents(t *testing.T, s store.Store) {
	x := thread("a")
	var want []arc.Event
	for i := range 9 {
		evs := events(i % 4) // some commits have none
		var items []store.Item
		if i%2 == 0 {
			items = []store.Item{item(store.MessageItem, "between")}
		}
		x = commit(t, s, store.Change{Thread: x, Events: evs, Items: items})
		for _, e := range evs {
			e.Seq = int64(len(want) + 1)
			want = append(want, e)
		}
		commit(t, s, store.Change{Thread: thread(fmt.Sprint("other-", i)), Events: events(2)})
	}
	for after := range int64(len(want) + 2) {
		for limit := 1; limit <= len(want)+1; limit++ {
			evs, gap, err := s.Events(t.Context(), "a", after, limit)
			if err != nil || gap {
				t.Fatalf("Events(%d, %d): gap %v, %v", after, limit, gap, err)
			}
			from := min(after, int64(len(want)))
			same(t, fmt.Sprintf("Events(%d, %d)", after, limit), evs, want[from:min(from+int64(limit), int64(len(want)))])
		}
	}
}

func testItems(t *testing.T, s store.Store) {
	x := thread("a")
	var want []store.Item
	for i := range 12 {
		var items []store.Item
		for k := range i % 3 {
			items = append(items, item(store.ItemKind(1+k%2), fmt.Sprintf("%d/%d", i, k)))
		}
		x = commit(t, s, store.Change{Thread: x, Events: events(i % 2), Items: items})
		want = append(want, items...)
		same(t, "Items", allItems(t, s, "a"), want)
		same(t, "Thread.Items", x.Items, len(want))
	}
}

// testLarge stores bodies beyond what an engine may keep in memory or in one
// page, and bytes that are no text.
func testLarge(t *testing.T, s store.Store) {
	big := bytes.Repeat([]byte{0, 0xff, '"'}, 700_000)
	text := json.RawMessage(`"` + string(bytes.Repeat([]byte("é"), 100_000)) + `"`)
	x := thread("a")
	x.Body = big
	for range 3 {
		x = commit(t, s, store.Change{
			Thread: x, Items: []store.Item{{Kind: store.ArtifactItem, Body: big}},
			Events: []arc.Event{{Type: arc.NewArtifactEvent, Data: text}, {Type: arc.ProgressEvent}},
		})
	}
	if !bytes.Equal(read(t, s, "a").Body, big) {
		t.Error("the thread's body has changed")
	}
	items := allItems(t, s, "a")
	if len(items) != 3 || !bytes.Equal(items[2].Body, big) {
		t.Error("the items have changed")
	}
	for i, e := range allEvents(t, s, "a") {
		same(t, "Seq", e.Seq, int64(i+1))
		if i%2 == 0 && !bytes.Equal(e.Data, text) {
			t.Errorf("event %d has changed", i+1)
		}
	}
}
