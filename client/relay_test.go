package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// TestRelay: whole answers and streams, whichever was asked for, and no second try.
func TestRelay(t *testing.T) {
	const piece, end = "event: stream\ndata: {}\n\n", "event: done\ndata: {}\n\n"
	for label, c := range map[string]struct {
		status int
		media  string
		body   string
		result string
		events []string
		class  arc.Class // of the error; "": none; "broken": none of the classes
	}{
		"whole":                 {200, arc.MediaARC, `{"arc":"1.0","id":ID,"result":{"a":1},"error":null}`, `{"a":1}`, nil, ""},
		"a stream":              {200, arc.MediaSSE, piece + piece + end, "", []string{"stream", "stream", "done"}, ""},
		"a stream with no end":  {200, arc.MediaSSE, piece, "", []string{"stream"}, ""},
		"what follows the end":  {200, arc.MediaSSE, end + piece, "", []string{"done"}, ""},
		"an error event":        {200, arc.MediaSSE, "event: error\ndata: {}\n\n" + end, "", []string{"error", "done"}, ""},
		"no JSON":               {200, arc.MediaSSE, "event: stream\ndata: x\n\n", "", nil, "broken"},
		"an event too large":    {200, arc.MediaSSE, "event: stream\ndata: \"" + strings.Repeat("x", 2000) + "\"\n\n", "", nil, "broken"},
		"a refusal":             {200, arc.MediaARC, `{"arc":"1.0","id":ID,"result":null,"error":{"code":-42001,"message":"m","details":{}}}`, "", nil, arc.ErrNotFound},
		"a gateway":             {502, "text/html", "<html>", "", nil, arc.ErrUnavailable},
		"a stream that refuses": {503, arc.MediaSSE, piece, "", nil, arc.ErrUnavailable},
	} {
		var calls []*http.Request
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			calls = append(calls, r)
			_, id, _ := strings.Cut(string(body), `"id":`)
			id, _, _ = strings.Cut(id, ",")
			if !strings.Contains(string(body), `"requestAgent":"somebody"`) {
				t.Errorf("%s: sent %s", label, body)
			}
			w.Header().Set("Content-Type", c.media)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, strings.Replace(c.body, "ID", id, 1))
		}))
		web := &client.Client{URL: s.URL, Agent: "gateway", HTTP: s.Client()}
		var events []string
		result, err := web.Relay(t.Context(), client.Relayed{
			Method: "task.info", From: "somebody", To: "far", Params: struct{}{}, Header: http.Header{"X-More": {"1"}},
			Stream: true, MaxEvent: 1000, Event: func(ev client.Event) error {
				events = append(events, ev.Name)
				return nil
			},
		})
		s.Close()
		if string(result) != c.result || (c.class == "") != (err == nil) || c.class != "" && c.class != "broken" && !errors.Is(err, c.class) {
			t.Errorf("%s: %s, %v", label, result, err)
		}
		if diff := cmp.Diff(c.events, events); diff != "" {
			t.Errorf("%s: events (-want +got):\n%s", label, diff)
		}
		if len(calls) != 1 || calls[0].Header.Get("X-More") != "1" || calls[0].Header.Get("Accept") != arc.MediaSSE {
			t.Errorf("%s: %d calls, header %v", label, len(calls), calls[0].Header)
		}
	}
}

// TestRelayStops: an error of the reader ends the call and is its error.
func TestRelayStops(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", arc.MediaSSE)
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(w, "event: stream\ndata: {}\n\n"); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	enough := errors.New("enough")
	_, err := (&client.Client{URL: s.URL, HTTP: s.Client()}).Relay(t.Context(), client.Relayed{
		Method: "chat.start", Event: func(client.Event) error { return enough },
	})
	if !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}
