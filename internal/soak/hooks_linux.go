package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/arcd-io/arcd/arc"
)

// hookEvents are those that subscriptions ask for: what may happen to a task of slow, but
// its progress.
var hookEvents = []arc.EventType{
	arc.TaskStartedEvent, arc.StatusChangeEvent, arc.NewMessageEvent, arc.NewArtifactEvent, arc.TaskCompletedEvent, arc.TaskFailedEvent, arc.TaskCanceledEvent,
}

// receiver takes webhooks, and refuses some of them.
type receiver struct {
	*httptest.Server

	mu      sync.Mutex // guards what follows
	rng     *rand.Rand
	secrets map[string]string // by path
	came    map[string][]told
	refused int
}

// told is a message that came to the receiver.
type told struct {
	id    string
	body  string
	taken bool   // it was answered with success
	fault string // what was wrong with its signature
}

// newReceiver starts one that refuses a tenth of what comes.
func newReceiver(rng *rand.Rand) *receiver {
	r := &receiver{rng: rng, secrets: map[string]string{}, came: map[string][]told{}}
	r.Server = httptest.NewServer(r)
	return r
}

// expect names the secret of the messages to a path.
func (r *receiver) expect(path, secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets[path] = secret
}

// ServeHTTP takes a message.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // it was cut
	}
	t := told{id: q.Header.Get(standardwebhooks.HeaderWebhookID), body: string(body), taken: true}
	r.mu.Lock()
	defer r.mu.Unlock()
	if secret, known := r.secrets[q.URL.Path]; known { // the first may come before the answer to task.subscribe
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = verifier.Verify(body, q.Header)
		}
		if err != nil {
			t.fault = fmt.Sprint(err)
		}
	}
	if r.rng.IntN(10) == 0 {
		t.taken = false
		r.refused++
		w.WriteHeader(http.StatusInternalServerError)
	}
	r.came[q.URL.Path] = append(r.came[q.URL.Path], t)
}

// messages gives what came to a path.
func (r *receiver) messages(path string) []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.came[path])
}

// counts gives how many messages came, and how many were refused.
func (r *receiver) counts() (came, refused int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, all := range r.came {
		came += len(all)
	}
	return came, r.refused
}
