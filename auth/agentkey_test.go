package auth_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// agentKeys opens keys with these entries of the configuration and, if text is
// not "", a file with it.
func agentKeys(t *testing.T, clock *testClock, text string, entries ...string) (keys *auth.AgentKeys, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "agent-keys")
	if text != "" {
		writeKeys(t, file, text)
	}
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{Entries: entries, File: file, Now: clock.Now})
	if err != nil {
		t.Fatalf("OpenAgentKeys: %v", err)
	}
	return keys, file
}

// writeKeys puts a file in place as a whole, as an editor or a deployment does.
func writeKeys(t *testing.T, file, text string) {
	t.Helper()
	next := file + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
}

// accepted is the key that is good for this agent; a refusal ends the test.
func accepted(t *testing.T, keys *auth.AgentKeys, agent, key string) auth.AgentKey {
	t.Helper()
	got, err := keys.Check(agent, key, "192.0.2.1")
	if err != nil {
		t.Fatalf("Check(%s, %q): %v", agent, key, err)
	}
	return got
}

func TestAgentKeys(t *testing.T) {
	const padded = "c2l4dGVlbiBieXRlcyBsb25nIQ=="
	keys, _ := agentKeys(t, newTestClock(), "# the field\n\nfrom-file\r\nfirst=of-the-file\n#off\n",
		"plain", "my-agent=bound", "first=a=b==", "second=bound", "both", "third=both", padded, "my.agent=x", "no", "ab=c")
	for name, test := range map[string]struct {
		agent, key string
		bound      string // Agent of the entry; "-": refused
	}{
		"plain, id has its own":     {"my-agent", "plain", "-"},
		"plain, another agent":      {"other", "plain", ""},
		"bound":                     {"my-agent", "bound", "my-agent"},
		"one key, two agents":       {"second", "bound", "second"},
		"bound to somebody else":    {"third", "bound", "-"},
		"bound and plain":           {"third", "both", "third"},
		"plain and bound elsewhere": {"fourth", "both", ""},
		"equals signs in the key":   {"first", "a=b==", "first"},
		"padded base64":             {"any-agent", padded, ""},
		"no id before the =":        {"any-agent", "my.agent=x", ""},
		"id too short":              {"any-agent", "ab=c", ""},
		"two characters are a key":  {"any-agent", "no", ""},
		"of the file":               {"any-agent", "from-file", ""},
		"bound in the file":         {"first", "of-the-file", "first"},
		"the entry is no key":       {"my-agent", "my-agent=bound", "-"},
		"comment":                   {"any-agent", "#off", "-"},
		"empty":                     {"any-agent", "", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.bound == "-" {
				_, err := keys.Check(test.agent, test.key, name)
				problem(t, err, arc.ProblemAuthentication, "invalid_agent_key")
				return
			}
			got := accepted(t, keys, test.agent, test.key)
			if got.Agent != test.bound || len(got.Hash) != 64 || !keys.Has(got.Hash) {
				t.Errorf("Check: got %+v, known: %v; want Agent %q", got, keys.Has(got.Hash), test.bound)
			}
		})
	}
	if one, two := accepted(t, keys, "third", "both"), accepted(t, keys, "fourth", "both"); one.Hash == two.Hash {
		t.Error("two entries have one hash")
	}
	if keys.Has("") || keys.Has("plain") || keys.Has(strings.Repeat("0", 64)) {
		t.Error("Has: want none of these")
	}
	if ids := keys.IDs(); len(ids) != 12 || !slices.IsSorted(ids) || len(ids[0]) != 12 {
		t.Errorf("IDs: got %q; want 12 of 12 digits, sorted", ids)
	}
}

// Nothing but what is configured is good, however few keys or many there are: the
// published server took its own dummies for keys and never looked at the ninth
// (flaw W1).
func TestW1OnlyConfiguredKeys(t *testing.T) {
	var entries []string
	for n := range 100 {
		entries = append(entries, fmt.Sprint("key-number-", n))
	}
	for _, count := range []int{0, 1, 8, 100} {
		keys, _ := agentKeys(t, newTestClock(), "", entries[:count]...)
		for n, key := range entries {
			_, err := keys.Check("my-agent", key, fmt.Sprint("198.51.100.", n))
			if (err == nil) != (n < count) {
				t.Errorf("%d keys, key %d: %v", count, n, err)
			}
		}
		for n, key := range []string{
			"", " ", "dummy_key_1", "dummy-key", "key-number-0 ", " key-number-0", "key-number-0\x00", "KEY-NUMBER-0", "key-number-",
			"key-number-0" + strings.Repeat(" ", 52), strings.Repeat("key-number-0", 30),
		} {
			if _, err := keys.Check("my-agent", key, fmt.Sprint("203.0.113.", n)); err == nil {
				t.Errorf("%d keys: %q was taken", count, key)
			}
		}
	}
	long := strings.Repeat("k", 200)
	keys, _ := agentKeys(t, newTestClock(), "", long)
	accepted(t, keys, "my-agent", long)
	for _, key := range []string{long[:199], long + "k", long[:64]} {
		if _, err := keys.Check("my-agent", key, "192.0.2.9"); err == nil {
			t.Errorf("a key of %d characters was taken for one of 200", len(key))
		}
	}
}

func TestNoAgentKeys(t *testing.T) {
	var none *auth.AgentKeys
	_, err := none.Check("my-agent", "key", "192.0.2.1")
	problem(t, err, arc.ProblemAuthentication, "invalid_agent_key")
	if none.Has("x") || len(none.IDs()) != 0 || none.IDs() == nil {
		t.Errorf("Has: %v, IDs: %v", none.Has("x"), none.IDs())
	}
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = keys.Check("my-agent", "key", "192.0.2.1")
	problem(t, err, arc.ProblemAuthentication, "invalid_agent_key")
	if keys.Has("x") || len(keys.IDs()) != 0 {
		t.Error("keys without entries have some")
	}
}

// The words of the refusal are those of the page, with the agent's id as it is.
func TestAgentKeyRefusal(t *testing.T) {
	keys, _ := agentKeys(t, newTestClock(), "", "valid-agent-key")
	_, err := keys.Check("my-agent", "invalid-key", "192.0.2.1")
	want := arc.Refuse(arc.ProblemAuthentication, "invalid_agent_key", "Authentication failed: Invalid agent key for agent 'my-agent'")
	if diff := cmp.Diff(want, arc.Public(err), cmp.AllowUnexported(arc.Error{})); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
}

// Five failures are free for each agent and address; then it waits, whatever is
// shown, and others do not.
func TestAgentKeyFailuresAreLimited(t *testing.T) {
	clock := newTestClock()
	keys, _ := agentKeys(t, clock, "", "good-key")
	check := func(agent, key, remote string) arc.Problem {
		_, err := keys.Check(agent, key, remote)
		if err == nil {
			return ""
		}
		return arc.Public(err).Kind()
	}
	const here = "192.0.2.1"
	for n := range 5 {
		if got := check("my-agent", fmt.Sprint("guess-", n), here); got != arc.ProblemAuthentication {
			t.Fatalf("guess %d: %s", n, got)
		}
		if got := check("my-agent", "good-key", here); n < 4 && got != "" {
			t.Fatalf("good key after %d failures: %s", n+1, got)
		}
	}
	_, err := keys.Check("my-agent", "good-key", here)
	if e := problem(t, err, arc.ProblemRateLimit, "rate_limited"); e.RetryAfter != 12*time.Second || e.Details["retry_after"] != 12 {
		t.Errorf("refused with %v, %v; want 12 s in both", e.RetryAfter, e.Details)
	}
	if got := check("other-agent", "good-key", here); got != "" {
		t.Errorf("another agent at that address: %s", got)
	}
	if got := check("my-agent", "good-key", "192.0.2.2"); got != "" {
		t.Errorf("the agent at another address: %s", got)
	}
	clock.Advance(12 * time.Second)
	if got := check("my-agent", "good-key", here); got != "" {
		t.Errorf("good key after the wait: %s", got)
	}
	for n := range 200 {
		check(fmt.Sprint("agent-", n), "guess", "203.0.113.1")
	}
	if got := check("fresh-agent", "guess", "203.0.113.1"); got != arc.ProblemRateLimit {
		t.Errorf("an address that guesses with many ids: %s, want it limited", got)
	}
}

// What was counted is not pushed out of the memory by tries that count nothing:
// good ones, and those that are refused unseen.
func TestFailuresAreNotPushedOut(t *testing.T) {
	keys, _ := agentKeys(t, newTestClock(), "", "good-key")
	for n := range 5 {
		keys.Check("my-agent", fmt.Sprint("guess-", n), "192.0.2.1")
	}
	for n := range 20_000 {
		keys.Check(fmt.Sprint("agent-", n), "good-key", fmt.Sprintf("198.51.%d.%d", n/256, n%256))
		keys.Check(fmt.Sprint("agent-", n), "guess", "203.0.113.1")
	}
	_, err := keys.Check("my-agent", "good-key", "192.0.2.1")
	problem(t, err, arc.ProblemRateLimit, "rate_limited")
}

// Many agents that start at once with a good key are not taken for an attack.
func TestAgentKeysSideBySide(t *testing.T) {
	keys, file := agentKeys(t, newTestClock(), "", "good-key")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				got, err := keys.Check("my-agent", "good-key", "192.0.2.1")
				if err != nil || !keys.Has(got.Hash) {
					t.Errorf("Check: %v", err)
					return
				}
			}
		})
	}
	for n := range 20 {
		writeKeys(t, file, fmt.Sprint("file-key-", n))
	}
	wg.Wait()
}

// The file counts at once, although the clock stands still: a line that is gone
// is gone, and a file that cannot be read changes nothing.
func TestAgentKeyFileCountsAtOnce(t *testing.T) {
	var log bytes.Buffer
	clock := newTestClock()
	file := filepath.Join(t.TempDir(), "agent-keys")
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{
		Entries: []string{"fixed"}, File: file, Now: clock.Now, Log: zerolog.New(&log),
	})
	if err != nil {
		t.Fatal(err)
	}
	fixed := accepted(t, keys, "my-agent", "fixed")
	writeKeys(t, file, "first-secret\nmy-agent=second-secret\n")
	first, second := accepted(t, keys, "other-agent", "first-secret"), accepted(t, keys, "my-agent", "second-secret")

	writeKeys(t, file, "my-agent=second-secret")
	if keys.Has(first.Hash) || !keys.Has(second.Hash) || !keys.Has(fixed.Hash) {
		t.Error("after a line was removed: want the other two")
	}
	for n, bad := range []string{"line-one\nmy-agent=\n", "third-secret \n", strings.Repeat("x", 201), "bell\a"} {
		writeKeys(t, file, bad)
		if !keys.Has(second.Hash) {
			t.Errorf("bad file %d took the last good content away", n)
		}
	}
	if n := strings.Count(log.String(), `"event":"file_refused"`); n != 4 {
		t.Errorf("%d lines of refused files, want 4:\n%s", n, log.String())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if keys.Has(second.Hash) || !keys.Has(fixed.Hash) || len(keys.IDs()) != 1 {
		t.Error("after the file was removed: want the fixed key only")
	}
	if strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "line 2") {
		t.Errorf("the log must tell the line and no key:\n%s", log.String())
	}
}

func TestOpenAgentKeysRefuses(t *testing.T) {
	var many []string
	for n := range 10_001 {
		many = append(many, fmt.Sprint("secret-", n))
	}
	for want, entries := range map[string][]string{
		"entry 1: the agent key is empty":             {""},
		"entry 2: there is no key behind the =":       {"x", "secret-agent="},
		"entry 1: there is no key behind the =":       {"c2VjcmV0=="},
		"entry 1: the agent key begins or ends":       {"my-agent= secret"},
		"entry 3: the agent key begins or ends":       {"a", "b", "secret\u00a0"},
		"entry 1: the agent key is longer":            {strings.Repeat("secret", 34)},
		"entry 1: the agent key holds control":        {"secret\nsecret"},
		"control characters or is not UTF-8":          {"secret\xff"},
		"more than 10000 agent keys":                  many,
		"opening the agent key file: ":                nil,
		"may be read or changed by other users (mode": nil,
	} {
		t.Run(want, func(t *testing.T) {
			cfg := auth.AgentKeysConfig{Entries: entries}
			if entries == nil {
				cfg.File = filepath.Join(t.TempDir(), "keys")
				if err := os.WriteFile(cfg.File, []byte("secret"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := auth.OpenAgentKeys(cfg)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("OpenAgentKeys: %v, want %q in it and no key", err, want)
			}
		})
	}
}

// What is public of a key does not tell it, and what stays on the server is no
// plain hash of it (flaw W14: an unsalted hash and eight characters in a token).
func TestW14KeysStayOnTheServer(t *testing.T) {
	const key = "valid-agent-key"
	keys, _ := agentKeys(t, newTestClock(), "", key)
	got := accepted(t, keys, "my-agent", key)
	_, err := keys.Check("my-agent", key+"x", "192.0.2.1")
	shown := fmt.Sprint(keys.IDs(), err, got)
	if strings.Contains(shown, key[:8]) {
		t.Errorf("a part of the key is shown: %s", shown)
	}
	if plain := fmt.Sprintf("%x", sha256.Sum256([]byte(key))); got.Hash == plain || strings.HasPrefix(plain, keys.IDs()[0]) {
		t.Errorf("the hash %s or the public id %s is that of the bare key", got.Hash, keys.IDs()[0])
	}
	if strings.HasPrefix(got.Hash, keys.IDs()[0]) {
		t.Errorf("the public id %s is a part of the hash %s", keys.IDs()[0], got.Hash)
	}
	again, _ := agentKeys(t, newTestClock(), "", key)
	if !again.Has(got.Hash) || !slices.Equal(again.IDs(), keys.IDs()) {
		t.Error("another process names the key in another way")
	}
}

// Base64 keys of all lengths are one key each, whatever they end in.
func TestAgentKeysOfBase64(t *testing.T) {
	for length := 16; length < 64; length++ {
		for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
			key := alphabet.EncodeToString(bytes.Repeat([]byte{0xa5, 0xfb, 0xf0}, length)[:length])
			if len(key) > 200 {
				continue
			}
			keys, _ := agentKeys(t, newTestClock(), "", key, "other-agent="+key)
			if got := accepted(t, keys, "my-agent", key); got.Agent != "" {
				t.Errorf("%s: taken for a key of %s", key, got.Agent)
			}
		}
	}
}

// It is asked on every call of an agent.
func BenchmarkAgentKeysHas(b *testing.B) {
	file := filepath.Join(b.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("in-the-file"), 0o600); err != nil {
		b.Fatal(err)
	}
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{File: file, Entries: []string{"fixed"}})
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"fixed", "in-the-file"} {
		key, err := keys.Check("my-agent", name, "192.0.2.1")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !keys.Has(key.Hash) {
					b.Fatal("gone")
				}
			}
		})
	}
}
