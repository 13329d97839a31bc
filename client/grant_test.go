package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// asked is one request that a token endpoint got.
type asked struct {
	media, id, secret string
	params            map[string]string
}

// tokenServer answers each request for a token with the next of the answers, the
// last again and again, and keeps what it was asked.
func tokenServer(t *testing.T, answers ...string) (*httptest.Server, *[]asked) {
	t.Helper()
	var mu sync.Mutex
	var all []asked
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		one := asked{media: r.Header.Get("Content-Type"), params: map[string]string{}}
		one.id, one.secret, _ = r.BasicAuth()
		if b, _ := io.ReadAll(r.Body); one.media == "application/json" {
			_ = json.Unmarshal(b, &one.params)
		} else {
			form, _ := url.ParseQuery(string(b))
			for name := range form {
				one.params[name] = form.Get(name)
			}
		}
		all = append(all, one)
		answer := answers[min(len(all), len(answers))-1]
		w.Header().Set("Content-Type", "application/json")
		if status, body, ok := strings.Cut(answer, "!"); ok {
			var code int
			_, _ = fmt.Sscan(status, &code)
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(code)
			answer = body
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(web.Close)
	return web, &all
}

func granted(token string, seconds int, more string) string {
	return fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d%s}`, token, seconds, more)
}

func TestClientCredentialsOnTheWire(t *testing.T) {
	web, all := tokenServer(t, granted("t", 60, ""))
	form := &client.ClientCredentials{
		TokenURL: web.URL, ClientID: "a b", ClientSecret: "s:%", Scopes: []string{"x", "y"}, Audience: "api", Params: url.Values{"resource": {"r"}}, HTTP: web.Client(),
	}
	doc := &client.ClientCredentials{TokenURL: web.URL, ClientID: "id", ClientSecret: "s", Audience: "api", JSON: true, HTTP: web.Client()}
	params := &client.ClientCredentials{TokenURL: web.URL, ClientID: "id", ClientSecret: "s:%", Form: true, HTTP: web.Client()}
	for _, source := range []*client.ClientCredentials{form, doc, params} {
		token, err := source.Fetch(t.Context())
		if err != nil || token.AccessToken != "t" || time.Until(token.Expiry) < 50*time.Second {
			t.Fatalf("Fetch = %v, %v", token, err)
		}
	}
	want := []asked{
		{"application/x-www-form-urlencoded", "a+b", "s%3A%25", map[string]string{"grant_type": "client_credentials", "scope": "x y", "audience": "api", "resource": "r"}},
		{"application/json", "", "", map[string]string{"grant_type": "client_credentials", "client_id": "id", "client_secret": "s", "audience": "api"}},
		{"application/x-www-form-urlencoded", "", "", map[string]string{"grant_type": "client_credentials", "client_id": "id", "client_secret": "s:%"}},
	}
	if diff := cmp.Diff(want, *all, cmp.AllowUnexported(asked{})); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestTokenEndpointFailures: each has its class, keeps its RetrieveError, and
// shows neither secret nor body.
func TestTokenEndpointFailures(t *testing.T) {
	const secret = "the-secret-word"
	for label, c := range map[string]struct {
		answer string
		class  arc.Class
		code   string // of OAuth; "-": no RetrieveError
		says   string
	}{
		"wrong secret":        {`401!{"error":"invalid_client","error_description":"no the-secret-word"}`, arc.ErrAuthentication, "invalid_client", "HTTP status 401, invalid_client: no [hidden]"},
		"grant gone":          {`400!{"error":"invalid_grant"}`, arc.ErrAuthentication, "invalid_grant", "invalid_grant"},
		"not allowed":         {`400!{"error":"unauthorized_client"}`, arc.ErrPermission, "unauthorized_client", "unauthorized_client"},
		"scope":               {`400!{"error":"invalid_scope"}`, arc.ErrScope, "invalid_scope", "invalid_scope"},
		"outage":              {`503!<html>the-secret-word and much more</html>`, arc.ErrUnavailable, "", "HTTP status 503"},
		"soon":                {`400!{"error":"temporarily_unavailable"}`, arc.ErrUnavailable, "temporarily_unavailable", "temporarily"},
		"limit":               {`429!`, arc.ErrRateLimited, "", "HTTP status 429"},
		"a redirect":          {`307!`, "", "", "HTTP status 307"},
		"an error at 200":     {`{"error":"invalid_client"}`, arc.ErrAuthentication, "invalid_client", "invalid_client"},
		"no token":            {`{}`, "", "-", "missing access_token"},
		"no JSON":             {`the-secret-word`, "", "-", "is no token"},
		"another kind":        {`{"access_token":"t","token_type":"DPoP"}`, "", "-", `type "DPoP"`},
		"a token of two rows": {`{"access_token":"the-secret-word\nx"}`, "", "-", "character"},
		"a long description":  {`400!{"error":"invalid_request","error_description":"` + strings.Repeat("x", 9000) + `"}`, arc.ErrInvalid, "invalid_request", "…"},
		"an endless answer":   {strings.Repeat(" ", 2<<20), "", "-", "is no token"},
	} {
		web, all := tokenServer(t, c.answer)
		source := &client.ClientCredentials{TokenURL: web.URL, ClientID: "id", ClientSecret: secret, HTTP: web.Client()}
		_, err := source.Token(t.Context(), "")
		if err == nil || c.class != "" && !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) || len(*all) != 1 {
			t.Errorf("%s: %v after %d requests; want %q, class %q", label, err, len(*all), c.says, c.class)
			continue
		}
		refused, ok := errors.AsType[*oauth2.RetrieveError](err)
		if ok != (c.code != "-") || ok && (refused.ErrorCode != c.code || len(refused.Body) > 0 || refused.Response.StatusCode == 0) {
			t.Errorf("%s: RetrieveError %+v", label, refused)
		}
		if shown := fmt.Sprintf("%v %+v %v", err, err, refused); strings.Contains(shown, secret) || len(shown) > 2000 {
			t.Errorf("%s: the error shows too much: %s", label, shown)
		}
	}
}

func TestSecretsAreNotSent(t *testing.T) {
	for label, c := range map[string]struct {
		url   string
		open  bool
		class error
	}{
		"plain http":   {"http://id.test/token", false, client.ErrInsecure},
		"no address":   {"token", false, arc.ErrInvalid},
		"no scheme":    {"//id.test/token", false, arc.ErrInvalid},
		"another":      {"ftp://id.test/token", false, arc.ErrInvalid},
		"with a user":  {"https://u:pw@id.test/token", false, arc.ErrInvalid},
		"no good form": {"https://id.test/\x7f", false, arc.ErrInvalid},
	} {
		reached := false
		web := &http.Client{Transport: trip(func(r *http.Request) (*http.Response, error) {
			reached = true
			return says(r, 200, granted("t", 60, "")), nil
		})}
		machine := &client.ClientCredentials{TokenURL: c.url, ClientID: "id", ClientSecret: "s", HTTP: web}
		refresh := &client.RefreshToken{TokenURL: c.url, ClientID: "id", Refresh: "r", HTTP: web}
		for _, source := range []client.TokenSource{machine, refresh} {
			if _, err := source.Token(t.Context(), ""); !errors.Is(err, c.class) || reached || strings.Contains(err.Error(), "pw") {
				t.Errorf("%s, %T: %v, reached %t; want %v", label, source, err, reached, c.class)
			}
		}
	}
	allowed := &client.ClientCredentials{TokenURL: "http://id.test/token", ClientID: "id", AllowHTTP: true, HTTP: &http.Client{
		Transport: trip(func(r *http.Request) (*http.Response, error) {
			return says(r, 200, granted("t", 60, ""), "Content-Type: application/json"), nil
		}),
	}}
	if token, err := allowed.Token(t.Context(), ""); token != "t" || err != nil {
		t.Errorf("allowed: %q, %v", token, err)
	}
	empty := &client.RefreshToken{TokenURL: "https://id.test/token", ClientID: "id"}
	if _, err := empty.Token(t.Context(), ""); !errors.Is(err, arc.ErrAuthentication) {
		t.Errorf("no refresh token: %v", err)
	}
}

// minting gives a transport that grants t1, t2 … for so long, after so long, and
// tells how often.
func minting(life, takes time.Duration) (*http.Client, *int) {
	var mu sync.Mutex
	n := 0
	return &http.Client{Transport: trip(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		n++
		token := fmt.Sprint("t", n)
		mu.Unlock()
		select {
		case <-time.After(takes):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		return says(r, 200, granted(token, int(life/time.Second), ""), "Content-Type: application/json"), nil
	})}, &n
}

func TestTokensAreKept(t *testing.T) {
	for label, c := range map[string]struct {
		life, early time.Duration
		keeps       time.Duration // at least; a second later there is another
	}{
		"an hour":            {time.Hour, 0, time.Hour - 31*time.Second},
		"an hour, to an end": {time.Hour, -1, time.Hour - time.Second},
		"five minutes early": {time.Hour, 5 * time.Minute, 55*time.Minute - time.Second},
		"ten seconds":        {10 * time.Second, 0, 4 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			web, _ := minting(c.life, 0)
			source := &client.ClientCredentials{TokenURL: "https://id.test", ClientID: "id", HTTP: web, Early: c.early}
			for _, step := range []struct {
				after time.Duration
				want  string
			}{{0, "t1"}, {c.keeps, "t1"}, {2 * time.Second, "t2"}} {
				<-time.After(step.after)
				if got, err := source.Token(t.Context(), ""); got != step.want || err != nil {
					t.Errorf("%s: %q, %v; want %s", label, got, err, step.want)
				}
			}
			if got, err := source.Token(t.Context(), "t2"); got != "t3" || err != nil {
				t.Errorf("%s: after the server's word %q, %v; want t3", label, got, err)
			}
			if got, err := source.Token(t.Context(), "t2"); got != "t3" || err != nil {
				t.Errorf("%s: another caller's word of the same token gives %q, %v; want t3", label, got, err)
			}
		})
	}
}

func TestOneRequestForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web, requests := minting(time.Hour, time.Second)
		source := &client.ClientCredentials{TokenURL: "https://id.test", ClientID: "id", HTTP: web}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() { // the first, and the first to leave
			if _, err := source.Token(impatient, ""); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the impatient caller got %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			all.Go(func() {
				if got, err := source.Token(t.Context(), ""); got != "t1" || err != nil {
					t.Errorf("%q, %v; want t1", got, err)
				}
			})
		}
		all.Wait()
		for range 50 {
			all.Go(func() {
				if got, err := source.Token(t.Context(), "t1"); got != "t2" || err != nil {
					t.Errorf("%q, %v; want t2", got, err)
				}
			})
		}
		all.Wait()
		if *requests != 2 {
			t.Errorf("%d requests, want 2", *requests)
		}
	})
}

// TestSilentEndpointEnds: a request for a token has a time limit of its own.
func TestSilentEndpointEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web, _ := minting(time.Hour, 24*time.Hour)
		begun := time.Now()
		source := &client.RefreshToken{TokenURL: "https://id.test", ClientID: "id", Refresh: "r", HTTP: web}
		if _, err := source.Token(t.Context(), ""); !errors.Is(err, arc.ErrTimeout) || time.Since(begun) > time.Minute {
			t.Errorf("%v after %v, want a timeout", err, time.Since(begun))
		}
	})
}

func TestRefreshTokenRotates(t *testing.T) {
	web, all := tokenServer(t,
		granted("t1", 3600, `,"refresh_token":"r2"`), `503!`, granted("t2", 3600, ``), granted("t3", 3600, `,"refresh_token":"r3"`), `400!{"error":"invalid_grant"}`)
	var kept []string
	source := &client.RefreshToken{
		TokenURL: web.URL, ClientID: "id", Refresh: "r1", Scopes: []string{"a"}, HTTP: web.Client(),
		Rotated: func(token *oauth2.Token) { kept = append(kept, token.AccessToken+" "+token.RefreshToken) },
	}
	var got []string
	for _, expired := range []string{"", "", "t1", "t1", "t2", "t3"} {
		token, err := source.Token(t.Context(), expired)
		got = append(got, fmt.Sprintf("%s %t %t", token, err != nil, errors.Is(err, arc.ErrAuthentication)))
	}
	want := []string{"t1 false false", "t1 false false", " true false", "t2 false false", "t3 false false", " true true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"t1 r2", "t2 r2", "t3 r3"}, kept); diff != "" {
		t.Errorf("told to keep (-want +got):\n%s", diff)
	}
	var spent []string
	for _, one := range *all {
		spent = append(spent, one.params["refresh_token"])
		if one.params["grant_type"] != "refresh_token" || one.params["client_id"] != "id" || one.params["scope"] != "a" || one.id != "" {
			t.Errorf("a request was %+v", one)
		}
	}
	if diff := cmp.Diff([]string{"r1", "r2", "r2", "r2", "r3"}, spent); diff != "" {
		t.Errorf("spent (-want +got):\n%s", diff)
	}
}

// TestRefreshTokenIsSpentOnce: whoever asks in whatever way, no refresh token goes
// out twice, and a caller who leaves does not lose the next one.
func TestRefreshTokenIsSpentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spent := map[string]int{}
		n := 0
		web := &http.Client{Transport: trip(func(r *http.Request) (*http.Response, error) {
			id, secret, _ := r.BasicAuth()
			b, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(b))
			spent[form.Get("refresh_token")+id+secret]++
			n++
			<-time.After(time.Second)
			return says(r, 200, granted(fmt.Sprint("t", n), 3600, fmt.Sprintf(`,"refresh_token":"r%d"`, n)), "Content-Type: application/json"), nil
		})}
		source := &client.RefreshToken{TokenURL: "https://id.test", ClientID: "i", ClientSecret: "s", Refresh: "r0", HTTP: web}
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { _, _ = source.Token(t.Context(), "") })
			all.Go(func() { _, _ = source.Fetch(t.Context()) })
			all.Go(func() { _, _ = source.Fetch(short) })
		}
		all.Wait()
		if token, err := source.Fetch(t.Context()); err != nil || token.RefreshToken != fmt.Sprint("r", n) {
			t.Errorf("the last is %+v, %v", token, err)
		}
		for refresh, times := range spent {
			if times != 1 {
				t.Errorf("%s was spent %d times", refresh, times)
			}
		}
	})
}

// TestUnreadableGrants: an error shows nothing of an answer that cannot be read, and
// one that was cut is an outage.
func TestUnreadableGrants(t *testing.T) {
	for body, class := range map[string]arc.Class{
		`{"access_token":"x","expires_in":"the-secret"}`: "", `{"access_token":["the-secret"]}`: "", `the-secret`: "",
		`cut`: arc.ErrUnavailable,
	} {
		web := trip(func(r *http.Request) (*http.Response, error) {
			resp := says(r, 200, body, "Content-Type: application/json")
			if body == "cut" {
				resp.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
			}
			return resp, nil
		})
		source := &client.ClientCredentials{TokenURL: "https://id.test/token", ClientID: "id", ClientSecret: "the-secret", HTTP: &http.Client{Transport: web}}
		_, err := source.Token(t.Context(), "")
		if err == nil || strings.Contains(err.Error(), "the-secret") || errors.Is(err, arc.ErrUnavailable) != (class != "") {
			t.Errorf("%s: %v", body, err)
		}
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			if strings.Contains(cause.Error(), "the-secret") {
				t.Errorf("%s: the cause shows it: %v", body, cause)
			}
		}
	}
}
