package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/pgtest"
)

// sharedConfigFile writes a configuration for servers on one new database and gives its
// name.
func sharedConfigFile(t *testing.T, issuer string) string {
	t.Helper()
	text := fmt.Sprintf("store: %s\nstore_unsafe: true\npublic_url: http://127.0.0.1:1\nagents: {echo: {kind: demo}}\nauth: {issuer: {enabled: true%s}}\n",
		pgtest.Database(t), issuer)
	if err := os.WriteFile("arcd.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "arcd.yaml"
}

// published counts the keys of a server.
func published(t *testing.T, s *served) int {
	t.Helper()
	res, err := http.Get(s.url + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("keys: %d, %v", res.StatusCode, err)
	}
	return strings.Count(string(body), `"kid"`)
}

// TestKeysInTheStore: servers on one database sign with one key, without a file, and a
// new key is one for all.
func TestKeysInTheStore(t *testing.T) {
	t.Chdir(t.TempDir())
	config := sharedConfigFile(t, "")
	one, two := serve(t, "--config", config), serve(t, "--config", config)
	for _, s := range []*served{one, two} {
		s.url = "http://" + address(s)
	}
	token := func() string {
		got := run(t, nil, "dev", "token", "--config", config, "--unmask", "-o", "plain")
		if got.code != 0 {
			t.Fatalf("dev token: exit %d: %s", got.code, got.stderr)
		}
		return strings.TrimSpace(got.stdout)
	}
	good := func(token string) {
		t.Helper()
		for _, s := range []*served{one, two} {
			if got := s.create(token, "echo"); got.code() != 0 {
				t.Errorf("the token is refused: %+v", got.Error)
			}
		}
	}
	old := token()
	good(old)
	if _, err := os.Stat("arcd-keys.json"); err == nil {
		t.Error("there is a key file")
	}
	got := run(t, nil, "keys", "rotate", "--config", config)
	var result struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || result.Data["key_file"] != nil || result.Data["rotated"] != true {
		t.Fatalf("keys rotate: exit %d: %s %s", got.code, got.stdout, got.stderr)
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for ; published(t, one) != 2 || published(t, two) != 2; <-again.C { // looks are some time apart
	}
	fresh := token()
	for ; header(fresh) == header(old); fresh = token() {
		good(fresh)
		<-again.C
	}
	good(old)
	good(fresh)
}

// TestKeyFileBesideASharedStore: a file that is named counts.
func TestKeyFileBesideASharedStore(t *testing.T) {
	t.Chdir(t.TempDir())
	config := sharedConfigFile(t, ", key_file: mine.json")
	s := serve(t, "--config", config)
	s.url = "http://" + address(s)
	if _, err := os.Stat("mine.json"); err != nil {
		t.Error(err)
	}
	if got := run(t, nil, "keys", "rotate", "--config", config); got.code != 0 || !strings.Contains(got.stdout, "mine.json") {
		t.Errorf("keys rotate: exit %d: %s", got.code, got.stdout)
	}
}
