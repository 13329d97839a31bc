package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// hooked is what came to a receiver.
type hooked struct {
	header http.Header
	body   []byte
}

// rpc makes a call as ARC and gives its result; it must go well.
func (s *served) rpc(token, method, params string) []byte {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/arc",
		strings.NewReader(`{"arc":"1.0","id":1,"method":"`+method+`","requestAgent":"me","targetAgent":"input","params":`+params+`}`))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/arc+json") // no stream
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var got struct{ Result, Error json.RawMessage }
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s %s %v", method, res.Status, got.Error, err)
	}
	return got.Result
}

// TestWebhooks has a server call a receiver that fails at first. What arrives is in
// order and verifies with the public library.
func TestWebhooks(t *testing.T) {
	t.Chdir(t.TempDir())
	arrived := make(chan hooked, 10)
	calls := 0
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		arrived <- hooked{r.Header, body}
	}))
	t.Cleanup(receiver.Close)
	s := serve(t, "--dev")
	token := regexp.MustCompile(`Bearer (\S+)'`).FindStringSubmatch(s.log.String())[1]
	id := s.create(token, "input").Result.Task.TaskID
	var made struct {
		Subscription struct{ SubscriptionID, Secret string }
	}
	if err := json.Unmarshal(s.rpc(token, "task.subscribe", fmt.Sprintf(`{"taskId":%q,"callbackUrl":%q,"events":["NEW_MESSAGE","TASK_COMPLETED"]}`,
		id, receiver.URL+"/hook?key=secret-of-the-url")), &made); err != nil {
		t.Fatal(err)
	}
	s.rpc(token, "task.send", fmt.Sprintf(`{"taskId":%q,"message":{"role":"user","parts":[{"type":"TextPart","content":"answer"}]}}`, id))

	wh, err := standardwebhooks.NewWebhook(made.Subscription.Secret)
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	var numbers []int // of the events
	for !slices.Contains(events, "TASK_COMPLETED") {
		got := <-arrived
		if err := wh.Verify(got.body, got.header); err != nil {
			t.Errorf("%s: %v", got.body, err)
		}
		number, ok := strings.CutPrefix(got.header.Get("Webhook-Id"), made.Subscription.SubscriptionID+".")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			t.Fatalf("webhook-id %s", got.header.Get("Webhook-Id"))
		}
		events, numbers = append(events, got.header.Get("X-ARC-Event")), append(numbers, n)
		if got.header.Get("Authorization") != "" || got.header.Get("Content-Type") != "application/arc+json" {
			t.Errorf("headers: %v", got.header)
		}
	}
	if numbers[0] != numbers[1] || !slices.IsSorted(numbers) || events[0] != "NEW_MESSAGE" {
		t.Errorf("events %v with numbers %v", events, numbers)
	}
	for _, secret := range []string{made.Subscription.Secret, "secret-of-the-url"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %s", secret[:7])
		}
	}
}
