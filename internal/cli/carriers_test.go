package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// register registers an agent at an endpoint, with the agent key of --dev.
func (s *served) register(t *testing.T, id, endpoint string) {
	t.Helper()
	post := func(path, token, body string, into any) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 300 || json.Unmarshal(answer, into) != nil {
			t.Fatalf("%s: %s %s (%v)", path, res.Status, answer, err)
		}
	}
	var temp struct {
		Token string `json:"temp_token"`
	}
	post("/auth/agent/request_temp_token", "", fmt.Sprintf(`{"agent_id":%q,"agent_type":"automation","agent_key":"agent-key"}`, id), &temp)
	var done struct{}
	post("/agents/register", temp.Token, fmt.Sprintf(`{"agent_id":%q,"name":"Somebody","agent_type":"automation","endpoint":%q,
		"context_brief":"Does all tasks at once","capabilities":["all"],"owner":"Tests","public_key":"MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
		"metadata":{"a":1},"version":"1.0.0","communication_mode":"remote"}`, id, endpoint), &done)
}

// TestRegisteredAgents: an agent is called where it registered, if arcd may call that;
// with a token of arcd, but never with one that arcd itself would take.
func TestRegisteredAgents(t *testing.T) {
	for name, c := range map[string]struct {
		allow string
		want  string // in the task
		token bool
	}{
		"allowed":     {"['127.0.0.0/8', '::1']", `"COMPLETED"`, true},
		"not allowed": {"['10.0.0.0/8']", `"endpoint_refused"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			far := newElsewhere(t)
			s := serve(t, "--dev", "-c", file(t, "arcd.yaml", "registry: {endpoint_check: 'off', endpoint_allow: "+c.allow+"}\n"))
			s.register(t, "somebody", far.URL)
			token := s.token()
			id := s.create(token, "somebody").Result.Task.TaskID
			body := fmt.Sprintf(`{"arc":"1.0","id":1,"method":"task.info","requestAgent":"me","targetAgent":"somebody","params":{"taskId":%q}}`, id)
			var last string
			for end := time.Now().Add(20 * time.Second); !strings.Contains(last, c.want); {
				if time.Now().After(end) {
					t.Fatalf("the task is %s", last)
				}
				last = s.raw(t, token, body)
			}
			if len(far.shown) > 0 != c.token {
				t.Fatalf("it was called %d times", len(far.shown))
			}
			if c.token {
				if claims := claimsOf(t, <-far.shown); fmt.Sprint(claims.Aud) != far.URL {
					t.Errorf("the token is for %v", claims.Aud)
				}
			}
		})
	}
}

// raw makes a call and gives the answer as it stands.
func (s *served) raw(t *testing.T, token, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/arc", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/arc+json")
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}
