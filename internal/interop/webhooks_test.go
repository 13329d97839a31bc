package interop_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// receiver takes webhooks as somebody writes it who knows the Standard Webhooks
// library. How it answers is told by the first part of the path, and which
// subscription is meant by the second.
type receiver struct {
	*httptest.Server

	mu      sync.Mutex // guards what follows
	secrets map[string]string
	got     map[string][]told
	faults  []string
}

// told is a message that came.
type told struct {
	id     string
	event  arc.EventType
	taken  bool // the answer was 2xx
	target string
}

func startReceiver(t *testing.T, listener net.Listener) *receiver {
	t.Helper()
	r := &receiver{secrets: map[string]string{}, got: map[string][]told{}}
	r.Server = httptest.NewUnstartedServer(r)
	if listener != nil {
		_ = r.Listener.Close()
		r.Listener = listener
	}
	r.Start()
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP verifies a message and answers as the path says.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	parts := strings.Split(strings.Trim(q.URL.Path, "/"), "/")
	manner, name := parts[0], parts[1]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verify(name, q, body)
	earlier := len(r.got[name])
	taken := true
	switch {
	case manner == "500" && earlier < 2:
		taken = false
		w.WriteHeader(http.StatusInternalServerError)
	case manner == "429" && earlier < 1:
		taken = false
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
	case manner == "410":
		taken = false
		w.WriteHeader(http.StatusGone)
	case manner == "redirect":
		taken = false
		http.Redirect(w, q, "/ok/redirected", http.StatusTemporaryRedirect)
	case manner == "huge":
		_, _ = w.Write(make([]byte, 4<<20))
	}
	id := q.Header.Get(standardwebhooks.HeaderWebhookID)
	r.got[name] = append(r.got[name], told{id, arc.EventType(q.Header.Get("X-ARC-Event")), taken, q.Header.Get("X-ARC-Subscription")})
}

func (r *receiver) verify(name string, q *http.Request, body []byte) {
	fault := func(format string, args ...any) {
		r.faults = append(r.faults, name+": "+fmt.Sprintf(format, args...))
	}
	var message struct {
		ARC, ID, Method string
		RequestAgent    string
		TargetAgent     string
		Params          struct {
			TaskID string
			Event  string
			Data   map[string]any
		}
		TaskID, Event, SubscriptionID string
	}
	if err := json.Unmarshal(body, &message); err != nil || message.ARC != "1.0" || message.Method != "task.notification" {
		fault("the body is %s", body)
	}
	if message.Params.Event != message.Event || message.Event != q.Header.Get("X-ARC-Event") || message.Params.Data["status"] == nil {
		fault("the event is %q, %q and %q in %s", message.Params.Event, message.Event, q.Header.Get("X-ARC-Event"), body)
	}
	secret, known := r.secrets[name]
	if !known {
		return // it came before the answer to task.subscribe was read
	}
	hook, err := standardwebhooks.NewWebhook(secret)
	if err == nil {
		err = hook.Verify(body, q.Header)
	}
	if err != nil {
		fault("the signature: %v", err)
	}
	if hook.Verify(append(body, ' '), q.Header) == nil {
		fault("the signature is good for another body too")
	}
}

// messages gives what came for a subscription.
func (r *receiver) messages(name string) []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got[name])
}

// subscribe has the receiver told of all events of a task.
func (r *receiver) subscribe(t *testing.T, c *client.Client, task, manner, name string, events ...arc.EventType) *arc.Subscription {
	t.Helper()
	sub, err := c.SubscribeTask(t.Context(), "", arc.SubscribeTaskParams{TaskID: task, CallbackURL: r.URL + "/" + manner + "/" + name, Events: events})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets[name] = sub.Secret
	return sub
}

// webhookCalls is a client of the owner; with JSON-RPC it needs no target.
func webhookCalls(t *testing.T, d *daemon) *client.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &client.Client{
		URL: d.endpoint(), JSONRPC: true, Token: client.StaticToken(d.token(t, "--scope", allScopes)),
		HTTP: &http.Client{Transport: transport, Timeout: 20 * time.Second},
	}
}

const withWebhooks = "webhooks: {allow: [127.0.0.0/8], allow_http: true}\nlease: 1s\nmax_attempts: 10\n"

var lifeOfATask = []arc.EventType{arc.NewMessageEvent, arc.NewArtifactEvent, arc.TaskCompletedEvent}

// afterCrash is enough for what the server had claimed when it was killed: it is
// claimed again after 30 s.
const afterCrash = 90 * time.Second

// TestWebhooks sends to receivers that behave in every way, kills the server in the
// middle, and has one receiver come up late. Each event arrives at least once, those
// of a task in their order.
func TestWebhooks(t *testing.T) {
	d := newDaemon(t, ownIssuer(t.TempDir())+withWebhooks)
	d.start(t)
	c := webhookCalls(t, d)
	lateAddress := freeAddress(t) // nobody is there yet
	r := startReceiver(t, nil)

	create := func() string {
		t.Helper()
		task, err := c.CreateTask(t.Context(), "slow", arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "10"))})
		if err != nil {
			t.Fatal(err)
		}
		return task.ID
	}
	subs := map[string]*arc.Subscription{}
	for _, manner := range []string{"ok", "500", "410", "redirect", "huge"} {
		subs[manner] = r.subscribe(t, c, create(), manner, manner, lifeOfATask...)
	}
	down := &receiver{Server: &httptest.Server{URL: "http://" + lateAddress}, secrets: map[string]string{}, got: map[string][]told{}}
	subs["down"] = down.subscribe(t, c, create(), "ok", "down", lifeOfATask...)

	say := func(sub *arc.Subscription) {
		t.Helper()
		if err := c.SendTask(t.Context(), "", arc.SendTaskParams{TaskID: sub.TaskID, Message: ptr(arc.Text(arc.RoleUser, "hurry up"))}); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range subs {
		say(sub)
	}
	eventually(t, "the first message comes", func() bool { return len(r.messages("ok")) > 0 })
	d.kill()
	d.start(t)
	subs["429"] = r.subscribe(t, c, create(), "429", "429", lifeOfATask...) // a crash takes the record of the attempt that it cuts off
	say(subs["429"])
	late, err := net.Listen("tcp", lateAddress)
	if err != nil {
		t.Fatal(err)
	}
	up := startReceiver(t, late)
	up.mu.Lock()
	up.secrets = down.secrets
	up.mu.Unlock()

	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"ok", "500", "429", "huge"} {
				t.Logf("%s got %+v", name, r.messages(name))
			}
			t.Logf("late got %+v", up.messages("down"))
		}
	})
	for _, name := range []string{"ok", "500", "429", "huge"} {
		eventuallyWithin(t, afterCrash, name+" has every event", func() bool { return slices.Equal(inOrder(t, r.messages(name)), lifeOfATask) })
	}
	eventuallyWithin(t, afterCrash, "the one that came late has every event", func() bool { return slices.Equal(inOrder(t, up.messages("down")), lifeOfATask) })
	if got := r.messages("redirected"); len(got) > 0 {
		t.Errorf("a redirect was followed: %+v", got)
	}
	state := func(manner string) arc.Subscription {
		t.Helper()
		list, err := c.ListSubscriptions(t.Context(), "", arc.ListSubscriptionsParams{TaskID: subs[manner].TaskID})
		if err != nil || len(list.Subscriptions) != 1 {
			t.Fatalf("%s: %+v, %v", manner, list, err)
		}
		return list.Subscriptions[0]
	}
	for manner, reason := range map[string]string{"410": "gone", "redirect": "refused"} {
		eventuallyWithin(t, afterCrash, manner+" ends it", func() bool { return !state(manner).Active })
		if s := state(manner); s.Reason != reason || s.Secret != "" {
			t.Errorf("%s: ended for %q, secret %q", manner, s.Reason, s.Secret)
		}
	}
	for _, list := range []*receiver{r, up} {
		list.mu.Lock()
		for _, fault := range list.faults {
			t.Error(fault)
		}
		list.mu.Unlock()
	}
	attempts, err := c.ListDeliveries(t.Context(), "", arc.ListDeliveriesParams{TaskID: subs["429"].TaskID})
	if err != nil || len(attempts.Deliveries) < len(lifeOfATask)+1 {
		t.Fatalf("%+v, %v", attempts, err)
	}
	first := attempts.Deliveries[len(attempts.Deliveries)-1]
	if first.Status != 429 || first.State != arc.DeliveryFailed || first.Next.Sub(first.At.Time) < 2*time.Second {
		t.Errorf("the attempt that was told to wait 2 s: %+v", first)
	}
	replayed(t, c, r, attempts.Deliveries[0])
}

// inOrder gives the events that were taken, without those that came twice, which
// must not be out of order either.
func inOrder(t *testing.T, messages []told) []arc.EventType {
	t.Helper()
	var events []arc.EventType
	last := ""
	seen := map[string]bool{}
	for _, m := range messages {
		if m.taken && !seen[m.id] {
			events = append(events, m.event)
		}
		if seen[m.id] && m.id != last {
			t.Errorf("%s came again after %s", m.id, last)
		}
		last = m.id
		seen[m.id] = seen[m.id] || m.taken
	}
	return events
}

// replayed sends an event once more by hand.
func replayed(t *testing.T, c *client.Client, r *receiver, of arc.Delivery) {
	t.Helper()
	before := len(r.messages("429"))
	if _, err := c.ReplayDelivery(t.Context(), "", arc.ReplayDeliveryParams{DeliveryID: of.ID}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event comes again", func() bool { return len(r.messages("429")) == before+1 })
	again := r.messages("429")[before]
	if again.id != of.MessageID {
		t.Errorf("the replay has the id %q, want %q", again.id, of.MessageID)
	}
}

// TestWebhookAddresses refuses addresses that only the server can reach, in every
// way to write them. Nothing is sent to them.
func TestWebhookAddresses(t *testing.T) {
	d := newDaemon(t, ownIssuer(t.TempDir()))
	d.start(t)
	c := webhookCalls(t, d)
	task, err := c.CreateTask(t.Context(), "slow", arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "50"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{
		"https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://0.0.0.0/", "https://10.0.0.1/", "https://172.16.0.1/",
		"https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/", "https://100.64.0.1/", "https://198.18.0.1/", "https://240.0.0.1/",
		"https://[::ffff:127.0.0.1]/", "https://[::ffff:169.254.169.254]/", "https://[64:ff9b::a00:1]/", "https://[fc00::1]/", "https://[fe80::1]/",
		"https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://224.0.0.1/", "https://168.63.129.16/",
		"http://localhost/", "ftp://localhost/", "file:///etc/passwd", "https://user:secret@localhost/", "", "https://", "not a url",
	} {
		_, err := c.SubscribeTask(t.Context(), "", arc.SubscribeTaskParams{TaskID: task.ID, CallbackURL: url})
		if code := arc.CodeOf(err); err == nil || code != arc.CodeInvalidParams && code != arc.CodeAddressBlocked {
			t.Errorf("%q: %v", url, err)
		}
	}
}
