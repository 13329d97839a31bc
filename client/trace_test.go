package client_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

func TestTraces(t *testing.T) {
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for label, c := range map[string]struct {
		trace      client.Trace
		id, parent string
		bad        bool
	}{
		"none":             {client.Trace{}, "default", "", false},
		"an id":            {client.Trace{ID: "mine"}, "mine", "", false},
		"a parent":         {client.Trace{Parent: parent}, id, parent, false},
		"both":             {client.Trace{ID: "mine", Parent: parent}, "mine", parent, false},
		"a later version":  {client.Trace{Parent: "cc" + parent[2:] + "-more"}, id, "cc" + parent[2:] + "-more", false},
		"this one, longer": {client.Trace{Parent: parent + "-more"}, "", "", true},
		"version ff":       {client.Trace{Parent: "ff" + parent[2:]}, "", "", true},
		"upper case":       {client.Trace{Parent: strings.ToUpper(parent)}, "", "", true},
		"trace of zeros":   {client.Trace{Parent: "00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, "", "", true},
		"parent of zeros":  {client.Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"}, "", "", true},
		"no hex":           {client.Trace{Parent: strings.Replace(parent, "a", "g", 1)}, "", "", true},
		"too short":        {client.Trace{Parent: parent[:54]}, "", "", true},
		"other parts":      {client.Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e47-3600f067aa0ba902b7-01"}, "", "", true},
		"a line end":       {client.Trace{Parent: "cc" + parent[2:] + "-\r\nX: y"}, "", "", true},
		"a giant":          {client.Trace{Parent: "cc" + parent[2:] + "-" + strings.Repeat("x", 1000)}, "", "", true},
		"words":            {client.Trace{Parent: "my trace"}, "", "", true},
	} {
		var seen http.Header
		var body string
		web := over(func(r *http.Request) (*http.Response, error) {
			seen = r.Header
			b := make([]byte, r.ContentLength)
			whole, _ := r.GetBody()
			_, _ = whole.Read(b)
			body = string(b)
			return says(r, 200, arcTask), nil
		})
		web.TraceID = "default"
		_, err := web.GetTask(client.WithTrace(t.Context(), c.trace), "a", arc.GetTaskParams{TaskID: "t"})
		if c.bad {
			if !errors.Is(err, arc.ErrInvalid) || seen != nil {
				t.Errorf("%s: %v, sent %v; want it refused before", label, err, seen != nil)
			}
			continue
		}
		if err != nil || seen.Get("Traceparent") != c.parent || !strings.Contains(body, `"traceId":"`+c.id+`"`) {
			t.Errorf("%s: %v, traceparent %q in\n%s", label, err, seen.Get("Traceparent"), body)
		}
	}
}
