package server_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
)

// rest gives what is left of an answer when the server has ended it.
func rest(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the stream: %v", err)
	}
	return string(b)
}

// endless is an agent that does not stop talking before it is closed.
type endless chan struct{}

func (e endless) Run(ctx context.Context, t *methods.Turn) error {
	for {
		select {
		case <-e:
			return nil
		default:
		}
		if err := t.Write(ctx, strings.Repeat("x", 100)); err != nil {
			return err
		}
	}
}

func TestStreamEndsWhenTheTokenIsRevoked(t *testing.T) {
	silent, talkative := gate{make(chan string)}, make(endless)
	for label, c := range map[string]struct {
		runner methods.Runner
		end    func()
	}{
		"silent":    {silent, func() { close(silent.next) }},
		"talkative": {talkative, func() { close(talkative) }},
	} {
		t.Run(label, func(t *testing.T) {
			v := &revocable{}
			w := start(t, options{
				agents: map[string]methods.Agent{"agent": {Runner: c.runner}},
				config: func(cfg *server.Config) {
					v.Validator, cfg.Validator = cfg.Validator, v
					cfg.KeepAlive = 20 * time.Millisecond // the time between two looks too
				},
			})
			resp := w.open(t.Context(), arcCall("chat.start", "agent", streamedHello))
			var first [1]byte
			if _, err := io.ReadFull(resp.Body, first[:]); err != nil {
				t.Fatal(err)
			}
			v.refuse(auth.ReasonRevoked)
			got := rest(t, resp)
			_, last, _ := strings.Cut(got, "event: error\n")
			want := `data: {"error":{"code":-44001,"message":"the token is not valid","details":{"reason":"revoked","retryable":false}}}` + "\n\n"
			if last != want {
				t.Errorf("the stream ends with %q, want %q", got[max(0, len(got)-300):], want)
			}
			c.end()
		})
	}
}

func TestStreamThatHasNotBegunIsRefused(t *testing.T) {
	v, g := &revocable{}, gate{make(chan string)}
	w := start(t, options{
		agents: map[string]methods.Agent{"gate": {Runner: g}},
		config: func(cfg *server.Config) {
			v.Validator, cfg.Validator = cfg.Validator, &refuseLater{revocable: v}
			cfg.KeepAlive = 10 * time.Second // no keep-alive opens the stream
		},
	})
	resp := w.open(t.Context(), arcCall("chat.start", "gate", streamedHello))
	if body := rest(t, resp); resp.StatusCode != http.StatusUnauthorized || code(t, body) != int(arc.CodeUnauthenticated) {
		t.Errorf("got %d %s, want 401 with -44001", resp.StatusCode, body)
	}
	close(g.next)
}

// refuseLater lets a token pass once.
type refuseLater struct{ *revocable }

func (v *refuseLater) Validate(ctx context.Context, token string) (*auth.Principal, error) {
	p, err := v.revocable.Validate(ctx, token)
	v.refuse(auth.ReasonRevoked)
	return p, err
}

func TestStreamEndsWhenTheTokenExpires(t *testing.T) {
	g := gate{make(chan string)}
	w := start(t, options{
		agents: map[string]methods.Agent{"gate": {Runner: g}},
		auth:   func(cfg *auth.Config) { cfg.Leeway = time.Millisecond },
	})
	claims := w.issuer.Claims(audience, time.Now())
	expires := time.Now().Add(1200 * time.Millisecond).Truncate(time.Second).Add(time.Second)
	claims["exp"] = expires.Unix()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/arc",
		strings.NewReader(arcCall("chat.start", "gate", streamedHello)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.issuer.Mint(t, "ES256", claims))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body := rest(t, resp); code(t, body) != int(arc.CodeTokenExpired) {
		t.Errorf("got %s, want -44004", body)
	}
	if late := time.Since(expires); late > time.Second {
		t.Errorf("ended %v after the expiry, want within a second", late)
	}
	close(g.next)
}

// TestRevokedAtTheTokenService revokes a token of arcd's own issuer by the route
// for it; what the token holds open ends within a second.
func TestRevokedAtTheTokenService(t *testing.T) {
	ts := startTokenService(t, nil)
	token := ts.grantToken(t)
	ws, _, err := websocket.Dial(t.Context(), ts.URL+"/arc", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	revoked := time.Now()
	a := ts.do(t, http.MethodPost, "/oauth/revoke", "token="+token,
		"Content-Type", formType, "Authorization", basic("ci", ts.secret))
	if a.Status != http.StatusOK {
		t.Fatalf("revoking: %d %s", a.Status, a.raw)
	}
	if status := (talker{t, ws}).closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want 1008", status)
	}
	if late := time.Since(revoked); late > time.Second {
		t.Errorf("closed after %v, want within a second", late)
	}
}

// stuckIssuer keeps every token waiting once it is asked to, as an issuer does
// whose keys are not to be had, but one, which it refuses.
type stuckIssuer struct {
	auth.Validator
	stuck   atomic.Bool
	refused string
	release chan struct{}
}

func (v *stuckIssuer) Validate(ctx context.Context, token string) (*auth.Principal, error) {
	switch {
	case !v.stuck.Load():
		return v.Validator.Validate(ctx, token)
	case token == v.refused:
		return nil, arc.Errorf(arc.CodeUnauthenticated, "the token is not valid").With("reason", auth.ReasonRevoked).With("retryable", false)
	}
	<-v.release
	return v.Validator.Validate(ctx, token)
}

// TestNoTokenWaitsForAnother has many tokens whose issuer does not answer, and one
// that is revoked: what that one holds open ends within a second all the same.
func TestNoTokenWaitsForAnother(t *testing.T) {
	v := &stuckIssuer{release: make(chan struct{})}
	w := start(t, options{config: func(cfg *server.Config) { v.Validator, cfg.Validator = cfg.Validator, v }})
	defer close(v.release)
	var revoked talker
	for n := range 20 {
		claims := w.issuer.Claims(audience, time.Now())
		claims["jti"] = strconv.Itoa(n)
		token := w.issuer.Mint(t, "ES256", claims)
		ws, _, err := websocket.Dial(t.Context(), w.url+"/arc", &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		if n == 10 {
			v.refused, revoked = token, talker{t, ws}
		}
	}
	at := time.Now()
	v.stuck.Store(true)
	if status := revoked.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want 1008", status)
	}
	if late := time.Since(at); late > 2*time.Second { // a look a second, and what it takes
		t.Errorf("closed after %v", late)
	}
}

// TestTokensAreLookedAtWithinASecond: what nobody tells of, such as an agent key
// that is removed, ends what it holds open within a second too.
func TestTokensAreLookedAtWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := make(chan time.Time, 1)
		stop := server.Guard(func() { looks <- time.Now() })
		defer stop()
		last := time.Now()
		for range 5 {
			at := <-looks
			if gap := at.Sub(last); gap >= time.Second {
				t.Errorf("looked at after %v", gap)
			}
			last = at
		}
	})
}
