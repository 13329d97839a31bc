package registry

import (
	"encoding/json"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
)

// What passes is stored and shown in every listing: it must pass again, unchanged,
// however often it is written and read.
func FuzzRegistration(f *testing.F) {
	f.Add([]byte(goodAgent))
	f.Add([]byte(`{"agent_id":"abc","requirements":"{\"network_ports\":[1]}"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		first := new(arc.Registration)
		if jsonv2.Unmarshal(body, first) != nil || len(checkRegistration(first)) > 0 {
			return
		}
		again, err := json.Marshal(first) // as listings are written
		if err != nil {
			t.Fatalf("does not encode: %v", err)
		}
		second := new(arc.Registration)
		if err := jsonv2.Unmarshal(again, second); err != nil {
			t.Fatalf("cannot be read again: %v\n%s", err, again)
		}
		if issues := checkRegistration(second); len(issues) > 0 {
			t.Fatalf("does not pass again: %v\n%s", issues, again)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatal("changed:", diff)
		}
	})
}
