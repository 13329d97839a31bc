package interop_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/client"
)

// soon is how long what one replica was told may take until all know it, with room for a
// busy machine. The rule is a second.
const soon = 5 * time.Second

// newTrustingFleet starts one with an administrator, keys for agents, and its signing keys
// in the store.
func newTrustingFleet(t *testing.T) (f *fleet, password string) {
	t.Helper()
	password, hash := auth.NewSecret()
	extra := fmt.Sprintf("auth:\n  issuer:\n    enabled: true\n    clients_file: %s\n    clients: {root: {admin: true, secret_hash: '%s'}}\n",
		filepath.Join(t.TempDir(), "clients.json"), hash)
	extra += "registry: {agent_keys: [worker=a-key-for-the-worker], endpoint_check: 'off', endpoint_allow: [127.0.0.0/8]}\n"
	return newFleetOf(t, extra), password
}

// mint gives a token of a subject, signed with what the commands find in the store.
func (f *fleet) mint(t *testing.T, subject string) string {
	t.Helper()
	return f.replicas[0].run(t, "dev", "token", "--unmask", "-o", "plain", "--scope", allScopes, "--sub", subject)
}

// with gives clients of all replicas that show this token.
func (f *fleet) with(t *testing.T, token string) []*client.Client {
	t.Helper()
	var all []*client.Client
	for _, d := range f.replicas {
		all = append(all, clientAt(t, d.url(), token))
	}
	return all
}

// TestTrustAcrossReplicas: what one replica is told about tokens, keys and agents holds at
// all of them at once.
func TestTrustAcrossReplicas(t *testing.T) {
	f, password := newTrustingFleet(t)
	const fingerprint = "a test"
	login := clientAt(t, f.replicas[0].url(), "")
	login.Fingerprint = fingerprint
	grant, err := login.Login(t.Context(), "root", password)
	if err != nil {
		t.Fatal(err)
	}
	admins := f.with(t, grant.AccessToken)
	for _, admin := range admins {
		admin.Fingerprint = fingerprint
	}
	t.Run("a login", func(t *testing.T) {
		for i, admin := range admins {
			if _, err := admin.GetSession(t.Context()); err != nil {
				t.Errorf("replica %d: %v", i+1, err)
			}
		}
	})
	t.Run("a revoked token", func(t *testing.T) { f.revoked(t, admins[0]) })
	t.Run("a registered agent", func(t *testing.T) { f.registered(t, admins) })
	t.Run("a new key", f.rotated)
	t.Run("a logout", func(t *testing.T) {
		if err := admins[1].Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		took := time.Now()
		for i, admin := range admins {
			eventuallyWithin(t, soon, fmt.Sprintf("replica %d refuses the token", i+1), func() bool {
				_, err := admin.GetSession(t.Context())
				return err != nil
			})
		}
		t.Logf("refused by all after %v", time.Since(took).Round(time.Millisecond))
	})
}

// revoked has one replica revoke a token that all have seen.
func (f *fleet) revoked(t *testing.T, admin *client.Client) {
	token := f.mint(t, "alice")
	callers := f.with(t, token)
	for i, c := range callers {
		if _, err := c.ListTasks(t.Context(), "echo", arc.ListTasksParams{}); err != nil {
			t.Fatalf("replica %d refuses a good token: %v", i+1, err)
		}
	}
	if _, err := admin.RevokeToken(t.Context(), arc.RevokeParams{Token: token}); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	for i, c := range callers {
		eventuallyWithin(t, soon, fmt.Sprintf("replica %d refuses the token", i+1), func() bool {
			_, err := c.ListTasks(t.Context(), "echo", arc.ListTasksParams{})
			return arc.CodeOf(err) == arc.CodeUnauthenticated
		})
	}
	t.Logf("refused by all after %v", time.Since(since).Round(time.Millisecond))
}

// registered registers an agent at the first replica, has it dial in at the second, and
// gives it work at each.
func (f *fleet) registered(t *testing.T, admins []*client.Client) {
	got, err := clientAt(t, f.replicas[0].url(), "").Enroll(t.Context(), client.EnrollParams{Key: "a-key-for-the-worker", Unvalidated: true, Registration: arc.Registration{
		AgentID: "worker", Name: "worker", AgentType: "worker", Endpoint: "http://127.0.0.1:9", ContextBrief: "Registered at one replica, works for all.",
		Capabilities: []string{"testing"}, Owner: "tests", PublicKey: "0123456789abcdef0123456789abcdef", Metadata: map[string]any{"for": "tests"},
		Version: "1.0.0", CommunicationMode: "remote",
	}})
	if err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	for i, admin := range admins {
		eventuallyWithin(t, soon, fmt.Sprintf("replica %d lists the agent", i+1), func() bool {
			page, err := admin.ListAgents(t.Context(), client.AgentFilter{})
			return err == nil && len(page.Agents) == 1 && page.Agents[0].AgentID == "worker"
		})
	}
	t.Logf("listed by all after %v", time.Since(since).Round(time.Millisecond))
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan struct{})
	agent := &client.Agent{
		Client: clientAt(t, f.replicas[1].url(), got.AccessToken), IDs: []string{"worker"}, Grace: -1, Served: sync.OnceFunc(func() { close(served) }),
		Handle: func(ctx context.Context, w *client.Work) error { return w.Write(ctx, "done: "+w.Message.Text()) },
	}
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	select {
	case <-served:
	case err := <-done:
		t.Fatal(err)
	}
	callers := f.with(t, f.mint(t, "alice, later"))
	for i, c := range callers {
		task, err := c.CreateTask(t.Context(), "worker", arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, fmt.Sprint("job ", i)))})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the agent has done it", func() bool {
			task, err = callers[(i+1)%len(callers)].GetTask(t.Context(), "worker", arc.GetTaskParams{TaskID: task.ID})
			return err == nil && task.Status == arc.TaskCompleted
		})
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// rotated adds a signing key while the replicas run: all publish it, sign with it, and take
// the tokens of both keys.
func (f *fleet) rotated(t *testing.T) {
	if _, err := os.Stat(filepath.Join(f.replicas[0].dir, "arcd-keys.json")); err == nil {
		t.Error("there is a file with keys, which should be in the store")
	}
	old := f.mint(t, "bob")
	good := func(token string) {
		t.Helper()
		for i, c := range f.with(t, token) {
			if _, err := c.ListTasks(t.Context(), "echo", arc.ListTasksParams{}); err != nil {
				t.Errorf("replica %d refuses a good token: %v", i+1, err)
			}
		}
	}
	good(old)
	f.replicas[1].run(t, "keys", "rotate")
	since := time.Now()
	eventuallyWithin(t, 30*time.Second, "tokens are signed with the new key", func() bool {
		token := f.mint(t, "bob")
		good(token)
		return header(token) != header(old)
	})
	t.Logf("signed with the new key after %v", time.Since(since).Round(time.Millisecond))
	good(old)
}

// header gives the first part of a token, which names the key.
func header(token string) string {
	first, _, _ := strings.Cut(token, ".")
	return first
}

// TestOneKeyAtThreeReplicas makes the same task at three replicas at once, many times: each
// key stands for one task.
func TestOneKeyAtThreeReplicas(t *testing.T) {
	const keys = 60
	f := newFleet(t, "")
	made := make([][]string, keys)
	var calls sync.WaitGroup
	for n := range keys {
		made[n] = make([]string, len(f.replicas))
		for i := range f.replicas {
			c := f.at(t, i)
			c.HTTP = http.DefaultClient
			calls.Go(func() {
				task, err := c.CreateTask(t.Context(), "echo", keyed(fmt.Sprint("key ", n)))
				if err != nil {
					t.Errorf("key %d at replica %d: %v", n, i+1, err)
					return
				}
				made[n][i] = task.ID
			})
		}
	}
	calls.Wait()
	book := &ledger{acked: map[string]string{}}
	for n, ids := range made {
		for i, id := range ids {
			if id != ids[0] {
				t.Errorf("key %d is task %s at replica %d and %s at the first", n, id, i+1, ids[0])
			}
		}
		book.acked[fmt.Sprint("key ", n)] = ids[0]
	}
	checkList(t, f.at(t, 0), book)
	for key, id := range book.acked {
		checkDone(t, f.at(t, 1), "echo", id, key)
	}
}
