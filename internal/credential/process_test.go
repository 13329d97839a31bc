package credential_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/credential"
)

// process is a child that has been started.
type process struct {
	*exec.Cmd
	begin func() // lets it begin
	out   *bytes.Buffer
}

// start starts a child that waits for begin.
func start(t *testing.T, work string, s *credential.Store, server string, environ ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0]), out: &bytes.Buffer{}}
	p.Env = append([]string{childVariable + "=" + work, "TEST_FOLDER=" + s.Folder, "TEST_SERVER=" + server, "ARCD_KEYRING=off"}, environ...)
	p.Stdout, p.Stderr = p.out, os.Stderr
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.begin = func() { _ = in.Close() }
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// report waits for a child's report.
func (p *process) report(t *testing.T) childReport {
	t.Helper()
	if err := p.Wait(); err != nil {
		t.Fatalf("child: %v", err)
	}
	var r childReport
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		t.Fatalf("child said %q: %v", p.out, err)
	}
	return r
}

// TestManyProcesses: however many processes find the credential dead at once,
// the token endpoint is asked once and all have the new token.
func TestManyProcesses(t *testing.T) {
	const many = 20
	for name, test := range map[string]struct {
		work    string
		environ []string
		login   func(*testing.T, *authority, *credential.Store) // what is stored before
	}{
		"stored client credentials": {work: "refresh", environ: withSecret(), login: loginClient},
		"stored refresh token":      {work: "refresh", login: loginRefresh},
		"nothing stored":            {work: "refresh", environ: withSecret()},
		"automatic":                 {work: "source", login: loginRefresh},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			s := newStore(t, test.environ...)
			if test.login != nil {
				a.set(func(a *authority) { a.ttl = -2 * time.Minute })
				test.login(t, a, s)
				a.set(func(a *authority) { a.ttl = time.Hour })
			}
			before := len(a.asked())
			if tokens, _ := gather(t, a, s, many, test.work, test.environ); len(tokens) != 1 || tokens[0] == "" {
				t.Errorf("the processes have %d different tokens", len(tokens))
			}
			if asked := a.asked()[before:]; len(asked) != 1 {
				t.Errorf("the token endpoint was asked %d times: %v", len(asked), asked)
			}
		})
	}
}

// TestManyProcessesDeadVariable is the same for a dead ARCD_TOKEN and the client
// credentials of the environment.
func TestManyProcessesDeadVariable(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := newStore(t)
	environ := withSecret("ARCD_TOKEN=" + a.like(-time.Hour))
	if tokens, updated := gather(t, a, s, 20, "refresh", environ); len(tokens) != 1 || updated != 1 {
		t.Errorf("the processes have %d different tokens, and %d say that they refreshed", len(tokens), updated)
	}
	if asked := a.asked(); len(asked) != 1 {
		t.Errorf("the token endpoint was asked %d times: %v", len(asked), asked)
	}
	s.Environ = append(s.Environ, environ...)
	c, err := s.Resolve(t.Context(), a.target())
	if err != nil || c.Superseded != "env:ARCD_TOKEN" {
		t.Errorf("after it: %v, %v; want the successor", c, err)
	}
}

// TestForcedProcesses: with force each process that comes late asks again, and a
// refresh token that may be used once is never used twice.
func TestForcedProcesses(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := newStore(t)
	loginRefresh(t, a, s)
	tokens, updated := gather(t, a, s, 10, "force", nil)
	if asked := a.asked(); len(tokens) != updated || len(asked) != updated+1 {
		t.Errorf("%d tokens, %d refreshes, %d requests", len(tokens), updated, len(asked)-1)
	}
}

// gather runs many children at once. It gives their tokens, each once, and how
// many say that they refreshed.
func gather(t *testing.T, a *authority, s *credential.Store, many int, work string, environ []string) (tokens []string, updated int) {
	t.Helper()
	var all []*process
	for range many {
		all = append(all, start(t, work, s, a.URL+"/arc", environ...))
	}
	for _, p := range all {
		p.begin()
	}
	for _, p := range all {
		r := p.report(t)
		if r.Err != "" {
			t.Errorf("a process failed: %s", r.Err)
		}
		if r.Effect == credential.Updated {
			updated++
		}
		tokens = append(tokens, r.Token)
	}
	slices.Sort(tokens)
	return slices.Compact(tokens), updated
}

// TestKilledHolder: a process that is killed in the middle of its request holds
// nobody up.
func TestKilledHolder(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t, withSecret()...)
	kill(t, a, s, withSecret())
	p := start(t, "refresh", s, a.URL+"/arc", withSecret()...)
	p.begin()
	if r := p.report(t); r.Err != "" || r.Effect != credential.Updated {
		t.Errorf("after the kill: %+v", r)
	}
	if asked := a.asked(); len(asked) != 2 {
		t.Errorf("the token endpoint was asked %d times", len(asked))
	}
}

// TestKilledRotation: a process is killed after the server has spent its refresh
// token and before it could store the next one. That token is lost, and the next
// refresh says why; nothing else is.
func TestKilledRotation(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t)
	a.set(func(a *authority) { a.ttl = -2 * time.Minute })
	loginRefresh(t, a, s)
	kill(t, a, s, nil)
	_, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{})
	refused, ok := errors.AsType[*credential.RejectedError](err)
	if !ok || refused.Code != "invalid_grant" || refused.Interrupted.IsZero() {
		t.Fatalf("Refresh: %v; want a rejection that names the interrupted one", err)
	}
	// A server that forgives, by taking the spent one for a while, helps.
	a.set(func(a *authority) { a.refresh, a.ttl = "refresh-1", time.Hour })
	if r, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{}); err != nil || r.Effect != credential.Updated {
		t.Errorf("Refresh with the old token: %v, %v", r, err)
	}
}

// kill starts a refresh and kills it while the token endpoint has decided and not
// answered yet.
func kill(t *testing.T, a *authority, s *credential.Store, environ []string) {
	t.Helper()
	arrived, release := make(chan struct{}), make(chan struct{})
	a.set(func(a *authority) { a.hold = func() { close(arrived); <-release } })
	p := start(t, "refresh", s, a.URL+"/arc", environ...)
	p.begin()
	<-arrived
	a.set(func(a *authority) { a.hold = nil })
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // it was killed
	close(release)
}

// TestContextsInParallel: no change of another process gets lost.
func TestContextsInParallel(t *testing.T) {
	s := newStore(t)
	var all []*process
	var want []string
	for i := range 10 {
		name := fmt.Sprintf("c%d", i)
		want = append(want, name)
		all = append(all, start(t, "context", s, "https://arc.example/arc", "TEST_NAME="+name))
	}
	for _, p := range all {
		p.begin()
	}
	for _, p := range all {
		if r := p.report(t); r.Err != "" {
			t.Error(r.Err)
		}
	}
	got, err := credential.ContextFile{Folder: s.Folder}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Names()); diff != "" {
		t.Error(diff)
	}
}

// loginClient and loginRefresh store a credential of the authority.
func loginClient(t *testing.T, a *authority, s *credential.Store) {
	t.Helper()
	if _, err := s.LoginClient(t.Context(), a.target(), credential.ClientLogin{}); err != nil {
		t.Fatal(err)
	}
}

func loginRefresh(t *testing.T, a *authority, s *credential.Store) {
	t.Helper()
	a.mu.Lock()
	refresh := a.refresh
	a.mu.Unlock()
	if _, err := s.LoginRefreshToken(t.Context(), a.target(), credential.RefreshLogin{Token: credential.FromValue(refresh)}); err != nil {
		t.Fatal(err)
	}
}
