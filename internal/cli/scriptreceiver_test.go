package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// receiver is somebody whom webhooks are sent to.
type receiver struct {
	*httptest.Server
	came chan struct{} // has one for each message that came

	mu     sync.Mutex // guards what follows
	status int        // that it answers with
	got    []message
}

// message is a webhook as it came.
type message struct {
	header http.Header
	body   []byte
}

// startReceiver is "receiver NAME": it starts a receiver of webhooks and puts its URL
// into a variable.
func startReceiver(ts *testscript.TestScript, neg bool, args []string) {
	r := &receiver{came: make(chan struct{}, 1000), status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(r.take))
	w := theWorld(ts)
	w.later(r.Close)
	if w.receivers == nil {
		w.receivers = map[string]*receiver{}
	}
	w.receivers[args[0]] = r
	ts.Setenv(args[0], r.URL+"/hook")
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.got = append(r.got, message{req.Header, body})
	status := r.status
	r.mu.Unlock()
	w.WriteHeader(status)
	r.came <- struct{}{}
}

// answers is "answers NAME STATUS": what the receiver answers from now on.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	r := theWorld(ts).receivers[args[0]]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// received is "received NAME N SECRET": it waits until the receiver has N messages in
// all, each a notification that the secret in the variable verifies.
func received(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	r := theWorld(ts).receivers[args[0]]
	late := time.After(20 * time.Second)
	for r.count() < n {
		select {
		case <-r.came:
		case <-late:
			ts.Fatalf("%d messages came, want %d", r.count(), n)
		}
	}
	verifier, err := webhooks.NewWebhook(ts.Getenv(args[2]))
	ts.Check(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	var problems []error
	for _, m := range r.got {
		problems = append(problems, m.check(verifier))
	}
	if len(r.got) != n {
		problems = append(problems, fmt.Errorf("%d messages came, want %d", len(r.got), n))
	}
	ts.Check(errors.Join(problems...))
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// check checks one message.
func (m *message) check(verifier *webhooks.Webhook) error {
	if err := verifier.Verify(m.body, m.header); err != nil {
		return fmt.Errorf("a signature: %w", err)
	}
	var call struct{ Method, Event string }
	if err := json.Unmarshal(m.body, &call); err != nil || call.Method != "task.notification" || call.Event != m.header.Get("X-Arc-Event") {
		return fmt.Errorf("no notification: %v %s", err, m.body)
	}
	return nil
}

// hide is "hide NAME": no command may show the value of the variable from now on.
func hide(ts *testscript.TestScript, neg bool, args []string) {
	theWorld(ts).secret(ts.Getenv(args[0]))
}
