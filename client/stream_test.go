package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// ended is how arcd ends a stream whose token is no longer good.
func ended(code arc.Code) string {
	return fmt.Sprintf("event: error\ndata: {\"error\":{\"code\":%d,\"message\":\"m\",\"details\":{}}}\n\n", code)
}

// TestStreamEndings: what a stream does when connections end in one way or
// another.
func TestStreamEndings(t *testing.T) {
	const gone = `401!{"arc":"1.0","id":"x","result":null,"error":{"code":-44004,"message":"m","details":{}}}`
	for label, c := range map[string]struct {
		bodies      []string
		text        string
		class       arc.Class // of the one error; "": none
		connections int
	}{
		"events come again":          {[]string{chunk(2, "a") + chunk(3, "b"), chunk(2, "a") + chunk(3, "b") + chunk(4, "c") + done}, "abc.", "", 2},
		"numbers are left out":       {[]string{"event: stream\ndata: {\"chatId\":\"c\"}\n\n"}, "", arc.ErrUnavailable, 1},
		"cut in the middle":          {[]string{"event: stream\nda"}, "", arc.ErrUnavailable, 1},
		"a gateway fails once":       {[]string{chunk(2, "a"), "502!<html>", chunk(3, "b") + done}, "ab.", "", 3},
		"a gateway has no such page": {[]string{chunk(2, "a"), "404!<html>"}, "a", arc.ErrNotFound, 2},
		"too many streams":           {[]string{chunk(2, "a"), `429!{"arc":"1.0","id":"x","error":{"code":-44007,"message":"m"}}`, chunk(3, "b") + done}, "ab.", "", 3},
		"an event is no JSON":        {[]string{chunk(2, "a") + "event: stream\ndata: {\n\n", done}, "a", "broken", 1},
		"taken back":                 {[]string{chunk(2, "a") + ended(-44001), done}, "a", arc.ErrAuthentication, 1},
		"expired":                    {[]string{chunk(2, "a") + ended(-44004), chunk(3, "b") + done}, "ab.", "", 2},
		"expired, with a text":       {[]string{chunk(2, "a") + strings.Replace(ended(-44004), "{}", `"text"`, 1), chunk(3, "b") + done}, "ab.", "", 2},
		"expired and resume refused": {[]string{chunk(2, "a") + ended(-44004), gone, gone}, "a", arc.ErrExpired, 3},
		"expired before it began":    {[]string{ended(-44004), done}, "", arc.ErrExpired, 1},
		"expired at the opening":     {[]string{gone, chunk(2, "a") + done}, "a.", "", 2},
		"expired again and again":    {[]string{chunk(2, "a") + ended(-44004), ended(-44004)}, "a", arc.ErrExpired, 3},
	} {
		web, all := streams(t, c.bodies...)
		web.Retries = 2
		web.Token = &serial{}
		got, errs := read(t.Context(), web)
		if got != c.text || len(*all) != c.connections || (c.class == "") != (len(errs) == 0) || len(errs) > 1 {
			t.Errorf("%s: %q, %v in %d connections; want %q, class %q, %d", label, got, errs, len(*all), c.text, c.class, c.connections)
			continue
		}
		if c.class != "" && c.class != "broken" {
			isOnly(t, label, errs[0], c.class)
		}
	}
}

// serial is a source that always has another token.
type serial struct{ last atomic.Int32 }

func (s *serial) Token(_ context.Context, expired string) (string, error) {
	if expired != "" {
		s.last.Add(1)
	}
	return fmt.Sprint("token-", s.last.Load()), nil
}

// TestStreamWithoutAnotherToken: the refusal is the error, and nothing is sent
// again.
func TestStreamWithoutAnotherToken(t *testing.T) {
	c, all := streams(t, chunk(2, "a")+ended(-44004), chunk(3, "b")+done)
	c.Token = client.StaticToken("tok")
	got, errs := read(t.Context(), c)
	if got != "a" || len(errs) != 1 || len(*all) != 1 {
		t.Fatalf("%q, %v in %d connections", got, errs, len(*all))
	}
	isOnly(t, "expired", errs[0], arc.ErrExpired)
}

// TestQuietStream: a stream on which nothing happens outlives any number of tokens
// and of cuts, as long as its connections last.
func TestQuietStream(t *testing.T) {
	for label, c := range map[string]struct {
		end   string
		lasts time.Duration
		fails bool
	}{
		"tokens expire":        {ended(-44004), time.Minute, false},
		"a gateway cuts":       {"", time.Minute, false},
		"tokens are worthless": {ended(-44004), time.Second, true},
		"it breaks at once":    {"", time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			const connections = 20
			n := 0
			web := over(func(r *http.Request) (*http.Response, error) {
				if n++; n == connections {
					return says(r, 200, done, "Content-Type: "+arc.MediaSSE), nil
				}
				resp := says(r, 200, "", "Content-Type: "+arc.MediaSSE)
				resp.Body = &lasting{text: strings.NewReader(c.end), until: time.After(c.lasts)}
				return resp, nil
			})
			web.Token = &serial{}
			var last error
			for _, err := range web.TaskEvents(t.Context(), "a", arc.TaskEventsParams{TaskID: "t"}) {
				last = err
			}
			if (last != nil) != c.fails || !c.fails && n != connections {
				t.Errorf("%s: %v after %d connections", label, last, n)
			}
		})
	}
}

// lasting is the body of a stream that says something after a while, and ends.
type lasting struct {
	text  *strings.Reader
	until <-chan time.Time
}

func (l *lasting) Read(p []byte) (int, error) {
	if l.until != nil {
		<-l.until
		l.until = nil
	}
	return l.text.Read(p)
}

func (l *lasting) Close() error { return nil }

// TestNoRushForTokens: a server that calls each new token expired, whatever else it
// says, does not make the client flood the place where tokens come from.
func TestNoRushForTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		web := over(func(r *http.Request) (*http.Response, error) {
			n++
			return says(r, 200, chunk(n, "a")+ended(-44004), "Content-Type: "+arc.MediaSSE), nil
		})
		web.Token = &serial{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range web.TaskEvents(ctx, "a", arc.TaskEventsParams{TaskID: "t"}) {
			if n > 500 {
				break
			}
		}
		if n > 500 {
			t.Errorf("%d connections in a minute", n)
		}
	})
}

// TestStreamTwice: the same iterator begins anew each time, as if nothing had been
// read.
func TestStreamTwice(t *testing.T) {
	c, all := streams(t, chunk(2, "a"), chunk(3, "b")+done)
	events := c.ResumeChat(t.Context(), "a", "c", 1)
	for range 2 {
		said, _, err := drain(events)
		*all = nil
		if said != "ab" || err != nil {
			t.Errorf("%q, %v", said, err)
		}
	}
}

// TestResumeAsksForNothingNew: it names the chat and the event, and says nothing.
func TestResumeAsksForNothingNew(t *testing.T) {
	c, all := streams(t, chunk(8, "a")+done)
	for after, want := range map[int64]string{0: "0", 7: "7"} {
		_, _, err := drain(c.ResumeChat(t.Context(), "a", "c", after))
		must(t, err)
		last := (*all)[len(*all)-1]
		params := last.body["params"].(map[string]any)
		if id := last.header.Get("Last-Event-ID"); id != want || params["chatId"] != "c" || len(params) != 2 {
			t.Errorf("after %d: Last-Event-ID %q, params %v", after, id, params)
		}
	}
}

func TestNotReady(t *testing.T) {
	requests := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":"unavailable","reason":"draining"}`)
	}))
	t.Cleanup(web.Close)
	err := (&client.Client{URL: web.URL}).CheckReady(t.Context())
	isOnly(t, "not ready", err, arc.ErrUnavailable)
	if e, ok := errors.AsType[*client.StatusError](err); !ok || e.Status != 503 || requests != 1 {
		t.Errorf("%#v after %d requests", err, requests)
	}
}
