package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// refusedConn is what a dial gives where nobody listens.
var refusedConn = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// failing is a server that fails so often before it answers, and notes when it
// was asked and with what.
type failing struct {
	times  int
	how    func(*http.Request) (*http.Response, error)
	at     []time.Time
	bodies []string
}

func (f *failing) RoundTrip(r *http.Request) (*http.Response, error) {
	whole, _ := r.GetBody()
	b, _ := io.ReadAll(whole)
	f.at, f.bodies = append(f.at, time.Now()), append(f.bodies, string(b))
	if len(f.at) <= f.times {
		return f.how(r)
	}
	return says(r, 200, arcTask), nil
}

// get and make are two calls, one that may be repeated and one that may not.
func get(c *client.Client) error {
	_, err := c.GetTask(context.Background(), "a", arc.GetTaskParams{TaskID: "t"})
	return err
}

func create(key string) func(*client.Client) error {
	return func(c *client.Client) error {
		_, err := c.CreateTask(context.Background(), "a", arc.CreateTaskParams{InitialMessage: text("x"), IdempotencyKey: key})
		return err
	}
}

func status(status int, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return says(r, status, "", header...), nil }
}

func TestRetries(t *testing.T) {
	reset := func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	half := func(r *http.Request) (*http.Response, error) {
		resp := says(r, 200, "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"arc"`), iotest.ErrReader(io.ErrUnexpectedEOF)))
		return resp, nil
	}
	reported := func(body string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) { return says(r, 503, body), nil }
	}
	for label, c := range map[string]struct {
		how      func(*http.Request) (*http.Response, error)
		call     func(*client.Client) error
		times    int
		attempts int
		tries    int
		class    arc.Class // "": it works in the end
	}{
		"a cut, once":                    {reset, get, 1, 0, 2, ""},
		"a cut, twice":                   {reset, get, 2, 0, 3, ""},
		"a cut, always":                  {reset, get, 9, 0, 3, arc.ErrUnavailable},
		"five attempts":                  {reset, get, 9, 5, 5, arc.ErrUnavailable},
		"one attempt":                    {reset, get, 1, 1, 1, arc.ErrUnavailable},
		"half an answer":                 {half, get, 1, 0, 2, ""},
		"502":                            {status(502), get, 2, 0, 3, ""},
		"503":                            {status(503), get, 1, 0, 2, ""},
		"504":                            {status(504), get, 9, 0, 3, arc.ErrTimeout},
		"429":                            {status(429, "Retry-After: 2"), get, 1, 0, 2, ""},
		"500":                            {status(500), get, 1, 0, 1, arc.ErrInternal},
		"404":                            {status(404), get, 1, 0, 1, arc.ErrNotFound},
		"401":                            {status(401), get, 1, 0, 1, arc.ErrAuthentication},
		"a long wait":                    {status(429, "Retry-After: 31"), get, 1, 0, 1, arc.ErrRateLimited},
		"a giant wait":                   {status(503, "Retry-After: 99999999999999"), get, 1, 0, 1, arc.ErrUnavailable},
		"retryable, says ARC":            {reported(`{"arc":"1.0","error":{"code":-41002,"message":"m","details":{"retryable":true}}}`), get, 1, 0, 2, ""},
		"not retryable, says ARC":        {reported(`{"arc":"1.0","error":{"code":-41002,"message":"m","details":{"retryable":false}}}`), get, 1, 0, 1, arc.ErrUnavailable},
		"a problem document":             {reported(`{"type":"service-unavailable","error_code":"DRAINING","detail":"m"}`), get, 1, 0, 2, ""},
		"a create without a key":         {reset, create(""), 1, 0, 1, arc.ErrUnavailable},
		"a create without a key, 503":    {status(503), create(""), 1, 5, 1, arc.ErrUnavailable},
		"a create with a key":            {reset, create("k"), 2, 0, 3, ""},
		"a create with a key, 429":       {status(429), create("k"), 2, 0, 3, ""},
		"a create with a key, half read": {half, create("k"), 1, 0, 2, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			web := &failing{times: c.times, how: c.how}
			err := c.call(&client.Client{URL: "https://arc.test", HTTP: &http.Client{Transport: web}, Attempts: c.attempts})
			if c.class == "" && err != nil || c.class != "" && !errors.Is(err, c.class) || len(web.at) != c.tries {
				t.Errorf("%s: %v after %d tries; want %q after %d", label, err, len(web.at), c.class, c.tries)
			}
			for i, body := range web.bodies {
				if body != web.bodies[0] {
					t.Errorf("%s: try %d differs from the first", label, i+1)
				}
			}
		})
	}
}

// TestPausesBetweenTries: they grow, and keep to Retry-After.
func TestPausesBetweenTries(t *testing.T) {
	for label, c := range map[string]struct {
		header      string
		least, most []time.Duration
	}{
		"without a word": {"", []time.Duration{150 * time.Millisecond, 300 * time.Millisecond}, []time.Duration{200 * time.Millisecond, 400 * time.Millisecond}},
		"asked to wait":  {"Retry-After: 4", []time.Duration{4 * time.Second, 4 * time.Second}, []time.Duration{4 * time.Second, 4 * time.Second}},
	} {
		synctest.Test(t, func(t *testing.T) {
			web := &failing{times: 2, how: status(503, c.header)}
			if err := get(&client.Client{URL: "https://arc.test", HTTP: &http.Client{Transport: web}}); err != nil {
				t.Fatal(err)
			}
			for i := range c.least {
				if pause := web.at[i+1].Sub(web.at[i]); pause < c.least[i] || pause > c.most[i] {
					t.Errorf("%s: pause %d is %v, want %v to %v", label, i+1, pause, c.least[i], c.most[i])
				}
			}
		})
	}
}

// TestTriesEndWithTheContext: a wait that the caller does not live to see is not
// begun, and one that is canceled ends.
func TestTriesEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := &failing{times: 9, how: status(503, "Retry-After: 10")}
		c := &client.Client{URL: "https://arc.test", HTTP: &http.Client{Transport: web}}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := c.Call(ctx, "task.list", "a", nil, nil)
		if !errors.Is(err, arc.ErrUnavailable) || time.Since(begun) != 0 || len(web.at) != 1 {
			t.Errorf("%v after %v and %d tries, want the refusal at once", err, time.Since(begun), len(web.at))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err = c.Call(ctx, "task.list", "a", nil, nil)
		if !errors.Is(err, arc.ErrUnavailable) || time.Since(begun) != time.Second || len(web.at) != 2 {
			t.Errorf("%v after %v and %d tries, want the refusal after a second", err, time.Since(begun), len(web.at))
		}
	})
}

// TestWayErrors: what goes wrong on the way has a class, and is repeated only
// where it may go better.
func TestWayErrors(t *testing.T) {
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	<-late.Done()
	for label, c := range map[string]struct {
		err   error
		class arc.Class
		tries int
	}{
		"refused":              {refusedConn, arc.ErrUnavailable, 2},
		"no such name":         {&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, arc.ErrUnavailable, 2},
		"closed":               {io.EOF, arc.ErrUnavailable, 2},
		"a time limit":         {late.Err(), arc.ErrTimeout, 1},
		"a certificate":        {&tls.CertificateVerificationError{Err: errors.New("x")}, "", 1},
		"no TLS there":         {tls.RecordHeaderError{Msg: "x"}, "", 1},
		"a handshake, refused": {tls.AlertError(40), "", 1},
		"canceled":             {context.Canceled, "", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			web := &failing{times: 9, how: func(*http.Request) (*http.Response, error) { return nil, c.err }}
			err := get(&client.Client{URL: "https://arc.test", HTTP: &http.Client{Transport: web}, Attempts: 2})
			if len(web.at) != c.tries || c.class != "" && !errors.Is(err, c.class) || !errors.Is(err, c.err) {
				t.Errorf("%s: %v after %d tries, want class %q after %d", label, err, len(web.at), c.class, c.tries)
			}
			for _, class := range []arc.Class{arc.ErrTimeout, arc.ErrUnavailable, arc.ErrInternal} {
				if errors.Is(err, class) != (class == c.class) {
					t.Errorf("%s: that it is %q is %t", label, class, class != c.class)
				}
			}
		})
	}
}

// TestWhichMethodsAreRepeated, by their names and params.
func TestWhichMethodsAreRepeated(t *testing.T) {
	type p = map[string]any
	for label, c := range map[string]struct {
		params any
		tries  int
	}{
		"task.info": {p{"taskId": "t"}, 2}, "task.list": {nil, 2}, "rpc.discover": {nil, 2},
		"task.create": {p{"idempotencyKey": "k"}, 2}, "task.send": {p{"idempotencyKey": "k"}, 2},
		"task.create ": {p{"idempotencyKey": ""}, 1}, "task.send ": {p{"idempotencyKey": 7}, 1},
		"task.cancel": {p{"idempotencyKey": "k"}, 1}, "chat.start": {p{"idempotencyKey": "k"}, 1}, "chat.message": {nil, 1}, "made.up": {nil, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			web := &failing{times: 1, how: status(503)}
			caller := &client.Client{URL: "https://arc.test", HTTP: &http.Client{Transport: web}}
			err := caller.Call(t.Context(), strings.TrimSpace(label), "a", c.params, nil)
			if len(web.at) != c.tries || (err == nil) != (c.tries == 2) {
				t.Errorf("%s with %v: %v after %d tries, want %d", label, c.params, err, len(web.at), c.tries)
			}
		})
	}
}
