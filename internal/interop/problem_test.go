package interop_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reply is an answer of the registry API.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// request makes one call of the registry API. A body makes it JSON.
func request(t *testing.T, d *daemon, method, path, body string, headers map[string]string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.url()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, text}
}

// object decodes JSON text; it has to be whole.
func object(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&value); err != nil {
		t.Fatalf("%v in the JSON %s", err, text)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("more than one JSON value: %s", text)
	}
	return value
}

// member reads a text of the answer's body.
func (r reply) member(t *testing.T, name string) string {
	t.Helper()
	value, ok := at(object(t, r.body), name).(string)
	if r.status != http.StatusOK || !ok {
		t.Fatalf("no member %s in the answer %d %s", name, r.status, r.body)
	}
	return value
}

// The forms of what differs from answer to answer.
var (
	requestIDForm = regexp.MustCompile(`^req_[A-Za-z0-9]+$`)
	tokenForm     = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`)
)

// masked checks what differs from answer to answer by its form and puts a word in
// its place: "<time>", "<request>", "<token>".
func masked(t *testing.T, r reply) any {
	t.Helper()
	body := object(t, r.body)
	members, ok := body.(map[string]any)
	if !ok {
		return body
	}
	for name, value := range members {
		text, _ := value.(string)
		switch name {
		case "timestamp":
			stamp, err := time.Parse("2006-01-02T15:04:05Z", text)
			if age := time.Since(stamp); err != nil || age < -time.Minute || age > time.Minute {
				t.Errorf("timestamp %v is not the time of now, in whole seconds, with Z", value)
			}
			members[name] = "<time>"
		case "request_id":
			if !requestIDForm.MatchString(text) {
				t.Errorf("request_id %v is not of the form %v", value, requestIDForm)
			}
			if header := r.header.Get("X-Request-ID"); header != text {
				t.Errorf("request_id %v, but header X-Request-ID %q", value, header)
			}
			members[name] = "<request>"
		case "access_token", "temp_token":
			if !tokenForm.MatchString(text) {
				t.Errorf("%s %v is no token", name, value)
			}
			members[name] = "<token>"
		}
	}
	return body
}

// wantReply compares an answer with a status and a whole body, JSON text with the
// words of masked in it. A problem must come with the headers of one.
func wantReply(t *testing.T, got reply, status int, want string) {
	t.Helper()
	if got.status != status {
		t.Errorf("status %d, want %d", got.status, status)
	}
	if diff := cmp.Diff(object(t, []byte(want)), masked(t, got)); diff != "" {
		t.Errorf("answer differs (-want +got):\n%s", diff)
	}
	kind := "application/json"
	if status >= 400 {
		kind = "application/problem+json"
	}
	if got := got.header.Get("Content-Type"); got != kind {
		t.Errorf("Content-Type %q, want %q", got, kind)
	}
	wantChallenge(t, got, !strings.Contains(want, "/authentication-failed"))
}

// wantChallenge looks for the header that RFC 9110 section 11.6.1 asks for on each
// 401, with the word of RFC 6750 section 3.1 where a token was sent and refused.
func wantChallenge(t *testing.T, got reply, tokenRefused bool) {
	t.Helper()
	challenge := got.header.Get("WWW-Authenticate")
	switch {
	case got.status != http.StatusUnauthorized:
		if got.status < 400 && challenge != "" {
			t.Errorf("WWW-Authenticate %q on a %d", challenge, got.status)
		}
	case challenge != "Bearer" && !strings.HasPrefix(challenge, "Bearer "):
		t.Errorf("WWW-Authenticate %q on a 401, want Bearer", challenge)
	case strings.Contains(challenge, `error="invalid_token"`) != tokenRefused:
		t.Errorf("WWW-Authenticate %q: invalid_token belongs to a refused token, and only there", challenge)
	}
}

// wantVerdict looks at the answer about a good token: all its claims, and the
// agent that it is for.
func wantVerdict(t *testing.T, got reply, token string) {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := object(t, payload)
	want := map[string]any{"valid": true, "agent_id": at(claims, "agent_id"), "payload": claims}
	if diff := cmp.Diff(want, object(t, got.body)); got.status != http.StatusOK || diff != "" {
		t.Errorf("answer %d differs (-want +got):\n%s", got.status, diff)
	}
}
