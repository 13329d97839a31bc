package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// recorded answers every request with 200 and answer, and keeps what came.
func recorded(t testing.TB, answer string) (url string, seen func() string) {
	t.Helper()
	var last string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last = r.Method + " " + r.URL.RequestURI()
		for _, name := range []string{"Authorization", "Content-Type", "X-Client-Fingerprint", "Idempotency-Key"} {
			if v, ok := r.Header[name]; ok {
				last += "\n" + name + ": " + strings.Join(v, ", ")
			}
		}
		if len(body) > 0 {
			last += "\n" + string(body)
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(web.Close)
	return web.URL, func() string { return last }
}

// TestRegistryRequests: what goes out, in what form, and with which token.
func TestRegistryRequests(t *testing.T) {
	url, seen := recorded(t, `{}`)
	least := 0.0
	for want, call := range map[string]func(context.Context, *client.Client){
		"GET /base/agents/a%2Fb%3Fc%20d\nAuthorization: Bearer tok\nX-Client-Fingerprint: fp": func(ctx context.Context, c *client.Client) {
			_, _ = c.GetAgent(ctx, "a/b?c d")
		},
		"GET /base/agents?after=m&agent_type=x&capabilities=a&capabilities=b%26&include_metrics=true&limit=7&status=dead\n" +
			"Authorization: Bearer tok\nX-Client-Fingerprint: fp": func(ctx context.Context, c *client.Client) {
			_, _ = c.ListAgents(ctx, client.AgentFilter{
				Type: "x", Status: "dead", Capabilities: []string{"a", "b&"}, Metrics: true, Limit: 7, After: "m",
			})
		},
		"POST /base/auth/login\nContent-Type: application/json\nX-Client-Fingerprint: fp\n" +
			`{"username":"u","password":"p"}`: func(ctx context.Context, c *client.Client) {
			_, _ = c.Login(ctx, "u", "p")
		},
		"POST /base/agents/register\nAuthorization: Bearer temp\nContent-Type: application/json\nX-Client-Fingerprint: fp\nIdempotency-Key: k\n" +
			`{"agent_id":"me","capabilities":["x"]}`: func(ctx context.Context, c *client.Client) {
			_, _ = c.RegisterAgent(ctx, client.Registering{Token: "temp", IdempotencyKey: "k"}, arc.Registration{AgentID: "me", Capabilities: []string{"x"}})
		},
		"POST /base/agents/report-metrics/me?response_time=0.25&success=false\nAuthorization: Bearer tok\nX-Client-Fingerprint: fp": func(ctx context.Context, c *client.Client) {
			_, _ = c.ReportAgentMetrics(ctx, "me", 250e6, false)
		},
		"POST /base/public/search\nContent-Type: application/json\nX-Client-Fingerprint: fp\n" +
			`{"query":"words","min_similarity":0}`: func(ctx context.Context, c *client.Client) {
			_, _ = c.SearchPublicAgents(ctx, arc.SearchParams{Query: "words", MinSimilarity: &least})
		},
	} {
		for _, address := range []string{"/base/arc", "/base/arc/", "/base/arc?x=y"} {
			c := &client.Client{URL: url + address, Token: client.StaticToken("tok"), Fingerprint: "fp"}
			call(t.Context(), c)
			if diff := cmp.Diff(want, seen()); diff != "" {
				t.Errorf("at %s (-want +got):\n%s", address, diff)
			}
		}
	}
}

// TestWhichTokenExpired: only a refusal of the client's own token makes it ask for
// another.
func TestWhichTokenExpired(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer new" {
			fmt.Fprint(w, `{"agents":3}`)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(401)
		fmt.Fprint(w, `{"type":"x/token-invalid","status":401,"detail":"over","error_code":"TOKEN_EXPIRED","token_expired_at":"2024-01-15T09:30:00Z"}`)
	}))
	t.Cleanup(web.Close)
	for label, c := range map[string]struct {
		call  func(context.Context, *client.Client) error
		fails bool
		asked int32
	}{
		"own token": {func(ctx context.Context, c *client.Client) error { _, err := c.GetSession(ctx); return err }, false, 1},
		"given token": {func(ctx context.Context, c *client.Client) error {
			_, err := c.RegisterAgent(ctx, client.Registering{Token: "t"}, arc.Registration{})
			return err
		}, true, 0},
		"judged token": {func(ctx context.Context, c *client.Client) error { _, err := c.ValidateToken(ctx, "old"); return err }, true, 0},
		"no token":     {func(ctx context.Context, c *client.Client) error { _, err := c.GetHealth(ctx); return err }, true, 0},
	} {
		source := &renewing{}
		err := c.call(t.Context(), &client.Client{URL: web.URL, Token: source})
		if errors.Is(err, arc.ErrExpired) != c.fails || source.asked.Load() != c.asked {
			t.Errorf("%s: %v; another token was asked for %d times, want %d", label, err, source.asked.Load(), c.asked)
		}
	}
}

// renewing is a source of the token "old", and once that has expired, "new".
type renewing struct{ asked atomic.Int32 }

func (s *renewing) Token(_ context.Context, expired string) (string, error) {
	if expired == "" && s.asked.Load() == 0 {
		return "old", nil
	}
	s.asked.Add(1)
	return "new", nil
}

// TestSecretPages: what is secret in a body goes no other way than tokens do.
func TestSecretPages(t *testing.T) {
	for label, call := range map[string]func(context.Context, *client.Client) error{
		"login": func(ctx context.Context, c *client.Client) error { _, err := c.Login(ctx, "u", "secret"); return err },
		"judged": func(ctx context.Context, c *client.Client) error {
			_, err := c.ValidateToken(ctx, "secret")
			return err
		},
		"agent key": func(ctx context.Context, c *client.Client) error {
			_, err := c.Enroll(ctx, client.EnrollParams{Key: "secret"})
			return err
		},
		"taken away": func(ctx context.Context, c *client.Client) error {
			_, err := c.RevokeToken(ctx, arc.RevokeParams{Token: "secret"})
			return err
		},
	} {
		sent := 0
		c := over(func(r *http.Request) (*http.Response, error) {
			sent++
			return says(r, 404, ""), nil
		})
		c.URL = "http://arc.test/arc"
		if err := call(t.Context(), c); !errors.Is(err, client.ErrInsecure) || sent != 0 {
			t.Errorf("%s: %v after %d requests, want ErrInsecure", label, err, sent)
		}
		c.AllowHTTP = true
		if err := call(t.Context(), c); !errors.Is(err, arc.ErrNotFound) || sent != 1 {
			t.Errorf("%s, allowed: %v after %d requests", label, err, sent)
		}
	}
}

// TestPages: pages follow each other as the server says, and a list without an end
// is found out.
func TestPages(t *testing.T) {
	for label, c := range map[string]struct {
		link string
		want int
		err  bool
	}{
		"one page":          {"", 2, false},
		"another relation":  {`</agents?after=b>; rel="prev", </x>; title=next`, 2, false},
		"next, for ever":    {`<https://elsewhere.example/agents?after=b>; rel="next"`, 2, true},
		"next, in capitals": {`</a>; rel=prev, </b> ; REL=NEXT`, 2, true},
	} {
		requests := 0
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			if c.link != "" {
				w.Header().Set("Link", c.link)
			}
			fmt.Fprint(w, `[{"agent_id":"a"},{"agent_id":"b"}]`)
		}))
		n, last := 0, error(nil)
		for _, err := range (&client.Client{URL: web.URL}).Agents(t.Context(), client.AgentFilter{}) {
			if last = err; err == nil {
				n++
			}
		}
		web.Close()
		if n != c.want || (last != nil) != c.err || c.err && requests != 2 {
			t.Errorf("%s: %d agents, %v, %d requests; want %d", label, n, last, requests, c.want)
		}
	}
}

// TestPagesInACircle: a list whose pages come around again is found out too.
func TestPagesInACircle(t *testing.T) {
	const circle = 5
	requests := 0
	c := over(func(r *http.Request) (*http.Response, error) {
		requests++
		return says(r, 200, fmt.Sprintf(`{"entries":[{}],"next":"page-%d"}`, requests%circle)), nil
	})
	n := 0
	for _, err := range c.Audit(t.Context(), client.AuditFilter{}) {
		if n++; err != nil {
			return
		}
		if n > 4*circle {
			t.Fatalf("%d lines of a log that has %d", n, circle)
		}
	}
}

func TestUnusablePages(t *testing.T) {
	for label, answer := range map[string]string{
		"no JSON": `<html>`, "nothing": ``, "a list": `[1]`, "other types": `{"agents":"many"}`, "too large": strings.Repeat(" ", 2000) + "{}",
	} {
		url, _ := recorded(t, answer)
		c := &client.Client{URL: url, MaxAnswer: 1000}
		if health, err := c.GetHealth(t.Context()); err == nil {
			t.Errorf("%s: %+v, want an error", label, health)
		}
	}
}
