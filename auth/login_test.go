package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

const password = "correct horse battery"

// withAdmin opens an issuer with the administrator "root", whose password costs
// next to nothing to check, and a client "ci" that is none.
func withAdmin(t *testing.T, clock *testClock) (*auth.Issuer, auth.IssuerConfig) {
	return openTestIssuer(t, clock, func(c *auth.IssuerConfig) {
		c.Clients["root"] = auth.Client{SecretHash: cheapHash(password), Admin: true}
	})
}

// problem gives the arc.Error of err, which must be one of this kind, with its
// reason.
func problem(t *testing.T, err error, kind arc.Problem, reason string) *arc.Error {
	t.Helper()
	e, ok := errors.AsType[*arc.Error](err)
	if !ok {
		t.Fatalf("error %v (%T), want an *arc.Error", err, err)
	}
	if e.Kind() != kind || e.Reason() != reason {
		t.Fatalf("refused with %s, %s; want %s, %s", e.Kind(), e.Reason(), kind, reason)
	}
	return e
}

func TestLogin(t *testing.T) {
	i, _ := withAdmin(t, newTestClock())
	for range 2 {
		got, err := i.Login("root", password, "192.0.2.1")
		if err != nil || !got.Admin {
			t.Fatalf("Login = %+v, %v", got, err)
		}
	}
	if i.AdminStamp("root") == "" || i.AdminStamp("ci")+i.AdminStamp("nobody")+i.AdminStamp("") != "" {
		t.Error("AdminStamp: want root and nobody else")
	}
}

// Whoever guesses learns nothing from the answer; only the private cause differs.
func TestLoginRefusalsAreTheSame(t *testing.T) {
	i, _ := withAdmin(t, newTestClock())
	for cause, try := range map[string][2]string{
		"wrong_secret":    {"root", "guess"},
		"unknown_account": {"nobody", password},
		"not_admin":       {"ci", "s3cret"},
	} {
		c, err := i.Login(try[0], try[1], "192.0.2.1")
		e := problem(t, err, arc.ProblemAuthentication, "invalid_credentials")
		if errors.Unwrap(e).Error() != cause {
			t.Errorf("Login%q: cause %v, want %s", try, errors.Unwrap(e), cause)
		}
		want := arc.Refuse(arc.ProblemAuthentication, "invalid_credentials", "Invalid admin credentials")
		if diff := cmp.Diff(want, e.Because(nil), cmp.AllowUnexported(arc.Error{})); diff != "" || c.SecretHash != "" {
			t.Errorf("Login%q: client %+v, refusal (-want +got):\n%s", try, c, diff)
		}
	}
}

// The whole password counts, blanks at its ends included (flaw W2 of the
// published server, which padded and cut).
func TestW2TheWholePasswordCounts(t *testing.T) {
	long := ""
	for n := range 100 {
		long += fmt.Sprintf("%010d ", n)
	}
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Clients["plain"] = auth.Client{SecretHash: cheapHash(password), Admin: true}
		c.Clients["blank"] = auth.Client{SecretHash: cheapHash(password + " "), Admin: true}
		c.Clients["long"] = auth.Client{SecretHash: cheapHash(long), Admin: true}
	})
	for _, test := range []struct {
		name, password string
		good           bool
	}{
		{"plain", password, true},
		{"plain", password + " ", false},
		{"plain", " " + password, false},
		{"plain", password + "\x00", false},
		{"blank", password + " ", true},
		{"blank", password, false},
		{"blank", password + "  ", false},
		{"long", long, true},
		{"long", long[:64], false},
		{"long", long[:1024], false},
		{"long", long + "x", false},
		{"plain ", password, false},
		{"plain", "", false},
		{"", "", false},
	} {
		if _, err := i.Login(test.name, test.password, "192.0.2.1"); (err == nil) != test.good {
			t.Errorf("Login(%q, %.30q…): %v, want good: %v", test.name, test.password, err, test.good)
		}
	}
}

// Five failures are free, then the account waits at that address, whatever is
// sent; neither a good login nor a bad request takes a failure back (flaw W10).
func TestW10NothingResetsTheLimit(t *testing.T) {
	clock := newTestClock()
	i, _ := withAdmin(t, clock)
	const here = "192.0.2.1"
	for n := range 5 {
		_, err := i.Login("root", fmt.Sprint("guess ", n), here)
		problem(t, err, arc.ProblemAuthentication, "invalid_credentials")
		if n == 4 {
			break
		}
		if _, err := i.Login("root", password, here); err != nil {
			t.Fatalf("good login after %d failures: %v", n+1, err)
		}
		_, err = i.Login("", "", here)
		problem(t, err, arc.ProblemAuthentication, "invalid_credentials")
	}
	_, err := i.Login("root", "guess", here)
	e := problem(t, err, arc.ProblemRateLimit, "rate_limited")
	if e.RetryAfter != 12*time.Second || e.Details["retry_after"] != 12 || e.Details["retryable"] != true {
		t.Errorf("refused with %v, %v; want 12 s in both", e.RetryAfter, e.Details)
	}
	// An answer that differs would tell which password is right.
	_, err = i.Login("root", password, here)
	problem(t, err, arc.ProblemRateLimit, "rate_limited")
	// The limit is one with that of the token endpoint, which is no way around it.
	if _, err := i.Authenticate("root", password, here); refused(t, err).Status != http.StatusTooManyRequests {
		t.Errorf("Authenticate at the limit: %v, want 429", err)
	}
	// That it is remembered as good does not open the address.
	for range 2 {
		if _, err := i.Authenticate("root", password, "192.0.2.2"); err != nil {
			t.Errorf("Authenticate from elsewhere: %v", err)
		}
	}
	if _, err := i.Authenticate("root", password, here); refused(t, err).Status != http.StatusTooManyRequests {
		t.Errorf("Authenticate at the limit, remembered: %v, want 429", err)
	}
	clock.Advance(12 * time.Second)
	if _, err := i.Login("root", password, here); err != nil {
		t.Errorf("good login after the wait: %v", err)
	}
}

// Somebody who fails behind an address, or at an account from elsewhere, locks
// nobody else out (flaw W11).
func TestW11OneGuesserLocksNobodyOut(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Clients["root"] = auth.Client{SecretHash: cheapHash(password), Admin: true}
		c.Clients["second"] = auth.Client{SecretHash: cheapHash(password), Admin: true}
	})
	for n := range 6 {
		_, err := i.Login("root", fmt.Sprint(n), "192.0.2.1")
		if want := arc.ProblemRateLimit; n == 5 && arc.Public(err).Kind() != want {
			t.Fatalf("guess %d: %v, want %s", n, err, want)
		}
	}
	for _, try := range [][2]string{{"second", "192.0.2.1"}, {"root", "192.0.2.2"}, {"root", "2001:db8::1"}} {
		if _, err := i.Login(try[0], password, try[1]); err != nil {
			t.Errorf("good login of %s from %s: %v", try[0], try[1], err)
		}
	}
	if _, err := i.Login("root", password, "::ffff:192.0.2.1"); arc.Public(err).Kind() != arc.ProblemRateLimit {
		t.Errorf("the limited address, written in another way: %v, want 429", err)
	}
}

// Each login costs one argon2id hash, whoever asks, and nobody waits for a timer
// (flaw W17). The best of several tries shows the work without the noise.
func TestW17LoginsCostTheSame(t *testing.T) {
	hash := auth.HashSecret(password)
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Clients["root"] = auth.Client{SecretHash: hash, Admin: true}
		c.Clients["machine"] = auth.Client{SecretHash: hash}
	})
	tries := map[string][2]string{
		"wrong password": {"root", "guess"}, "unknown": {"nobody", password}, "no administrator": {"machine", password},
		"right password": {"root", password},
	}
	best := map[string]time.Duration{}
	for n := range 5 {
		for name, try := range tries {
			start := time.Now()
			_, err := i.Login(try[0], try[1], fmt.Sprint("192.0.2.", n))
			took := time.Since(start)
			if (err == nil) != (name == "right password") {
				t.Fatalf("%s: %v", name, err)
			}
			if at, ok := best[name]; !ok || took < at {
				best[name] = took
			}
		}
	}
	for name, took := range best {
		if took < best["wrong password"]/3 || took > 3*best["wrong password"] || took > time.Second {
			t.Errorf("%s took %v, a wrong password %v", name, took, best["wrong password"])
		}
	}
}

// Equal logins side by side are one try, so that a good one is not refused.
func TestLoginSideBySide(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Clients["root"] = auth.Client{SecretHash: auth.HashSecret(password), Admin: true}
	})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := i.Login("root", password, "192.0.2.1"); err != nil {
				t.Errorf("Login: %v", err)
			}
		})
	}
	wg.Wait()
}

// Logins beyond the queue are turned away with a word that helps.
func TestLoginsAreBounded(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Clients["root"] = auth.Client{SecretHash: hashOf(password, 8<<10), Admin: true}
	})
	var mu sync.Mutex
	busy := 0
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() {
			_, err := i.Login("root", fmt.Sprint(n), fmt.Sprint("198.51.100.", n))
			e := arc.Public(err)
			mu.Lock()
			defer mu.Unlock()
			if e.Kind() == arc.ProblemUnavailable && e.Reason() == "busy" && e.RetryAfter > 0 {
				busy++
			} else if e.Reason() != "invalid_credentials" {
				t.Errorf("Login: %v", err)
			}
		})
	}
	wg.Wait()
	if busy == 0 {
		t.Error("none of 200 logins side by side was turned away")
	}
}

// An administrator of the file can log in at once, and is none once removed.
func TestAdminOfTheFile(t *testing.T) {
	i, cfg := withAdmin(t, newTestClock())
	if err := auth.AddClientSecret(cfg.ClientsFile, "late", password, auth.Client{Admin: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Login("late", password, "192.0.2.1"); err != nil || i.AdminStamp("late") == "" {
		t.Errorf("Login: %v; AdminStamp: %q", err, i.AdminStamp("late"))
	}
	stamp := i.AdminStamp("late")
	if err := auth.RemoveClient(cfg.ClientsFile, "late"); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Login("late", password, "192.0.2.1"); err == nil || i.AdminStamp("late") != "" {
		t.Errorf("after the removal, Login: %v; AdminStamp: %q", err, i.AdminStamp("late"))
	}
	if err := auth.AddClientSecret(cfg.ClientsFile, "late", password, auth.Client{Admin: true}); err != nil {
		t.Fatal(err)
	}
	if again := i.AdminStamp("late"); again == "" || again == stamp {
		t.Errorf("an account that was made anew has the stamp %q, as before: %q", again, stamp)
	}
}
