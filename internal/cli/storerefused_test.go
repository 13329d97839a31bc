package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/internal/pgtest"
)

// changed gives the URL of a database with other parts.
func changed(t *testing.T, database string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// TestStoreRefused: whatever command opens a store says in one sentence why it cannot,
// with the same code, and how that is mended.
func TestStoreRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	database := pgtest.Database(t)
	pgtest.Exec(t, database, `CREATE ROLE guest`+strings.TrimPrefix(mustParse(t, database).Path, "/")+` LOGIN`)
	guest := "guest" + strings.TrimPrefix(mustParse(t, database).Path, "/")
	strange := pgtest.Database(t)
	pgtest.Exec(t, strange, `CREATE TABLE agent (id bigint)`)
	newer := pgtest.Database(t)
	if got := run(t, nil, "store", "migrate", "--store", newer); got.code != 0 {
		t.Fatalf("migrate: %s", got.stdout)
	}
	pgtest.Exec(t, newer, `INSERT INTO arcd_version (version_id, is_applied) VALUES (9999, true)`)
	for label, c := range map[string]struct {
		store         string
		exit          int
		code          string
		message, cure string
	}{
		"no such role": {changed(t, database, func(u *url.URL) { u.User = url.User("nobody_such") }), 4, "PRECONDITION_FAILED",
			`role "nobody_such" does not exist (SQLSTATE 28000)`, "PGPASSWORD"},
		"no such database": {changed(t, database, func(u *url.URL) { u.Path = "/none" }), 4, "PRECONDITION_FAILED",
			`database "none" does not exist (SQLSTATE 3D000)`, "Create the database"},
		"no rights": {changed(t, database, func(u *url.URL) { u.User = url.User(guest) }), 4, "PRECONDITION_FAILED",
			"permission denied for schema public (SQLSTATE 42501)", "owner of the database"},
		"no TLS": {changed(t, database, func(u *url.URL) { u.RawQuery = "sslmode=require" }), 4, "TLS_CONFIG",
			"server refused TLS connection", "sslmode"},
		"nobody there":  {"postgres://arcd@127.0.0.1:1/arcd", 12, "UNAVAILABLE", "127.0.0.1:1: connect: ", "server runs"},
		"other program": {strange, 4, "PRECONDITION_FAILED", "the database of another program: it has a table agent", "empty"},
		"newer tables":  {newer, 4, "PRECONDITION_FAILED", "its tables have version 9999, this arcd knows versions up to ", "as new as"},
	} {
		config := file(t, "arcd.yaml", "store_unsafe: true\nauth: {issuer: {enabled: true}}\nagents: {echo: {kind: demo}}\nlisten: 127.0.0.1:0\nstore: "+c.store+"\n")
		for _, command := range []string{
			"serve", "store check", "store migrate --dry-run", "store migrate", "backup copy.db", "dev token", "keys rotate",
		} {
			got := run(t, nil, append(strings.Fields(command), "--config", config)...)
			if label == "no rights" && (command == "store check" || command == "store migrate --dry-run" || command == "backup copy.db") {
				continue // they only read, and there is nothing
			}
			r := got.reply(t).Error
			if r == nil || got.code != c.exit || r.Code != c.code || !strings.Contains(r.Message, c.message) || !strings.Contains(r.Suggestion, c.cure) {
				t.Errorf("%s: arcd %s: exit %d: %s", label, command, got.code, got.stdout)
				continue
			}
			if strings.Contains(r.Message, `\n`) || strings.Count(r.Message, "127.0.0.1") > 1 {
				t.Errorf("%s: arcd %s: not one short sentence: %q", label, command, r.Message)
			}
		}
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestTargetRefused: nothing is copied beside the tables of another program.
func TestTargetRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	s := onStore(t, "sqlite:arcd.db")
	second := run(t, nil, "serve", "--dev", "--listen", "127.0.0.1:0", "--store", "sqlite:arcd.db")
	if second.code != 6 || second.reply(t).Error.Code != "LOCK_HELD" {
		t.Errorf("a second server on one file: exit %d: %s", second.code, second.stdout)
	}
	if log := s.log.String(); !strings.Contains(log, `"event":"store_open"`) || !strings.Contains(log, `"tables_version":`) || !strings.Contains(log, "/arcd.db") {
		t.Errorf("the log does not tell the store: %s", log)
	}
	s.stop()
	strange := pgtest.Database(t)
	pgtest.Exec(t, strange, `CREATE TABLE orders (id bigint)`)
	for _, command := range []string{"store copy --from sqlite:arcd.db --to ", "store copy --dry-run --from sqlite:arcd.db --to ", "restore arcd.db --to "} {
		got := run(t, nil, strings.Fields(command+strange)...)
		if got.code != 4 || !strings.Contains(got.complaint(t), "a table orders, and none of arcd") {
			t.Errorf("arcd %s: exit %d: %s", command, got.code, got.stdout)
		}
	}
}

// TestNoBackup: a file that is no backup is called that.
func TestNoBackup(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"empty.db": "", "text.db": strings.Repeat("no database ", 100)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got := run(t, nil, "restore", name, "--to", "sqlite:new.db")
		if got.code != 4 || !strings.Contains(got.complaint(t), name+" is no backup of arcd") {
			t.Errorf("%s: exit %d: %s", name, got.code, got.stdout)
		}
	}
	got := run(t, nil, "store", "check")
	if cure := got.reply(t).Error.Suggestion; got.code != 2 || !strings.Contains(cure, "--store") || !strings.Contains(cure, "ARCD_CONFIG") {
		t.Errorf("store check without a store: exit %d: %s", got.code, got.stdout)
	}
}

// TestStoreShown: a password in the URL of the store is hidden, and nothing else.
func TestStoreShown(t *testing.T) {
	for store, want := range map[string]string{
		"sqlite:a.db":                        "sqlite:a.db",
		"postgres://arcd@h:5433/arcd?x=y":    "postgres://arcd@h:5433/arcd?x=y",
		"postgres://arcd:s3cret@h/arcd":      "postgres://arcd:xxxxx@h/arcd",
		"postgres://arcd@h/arcd?password=s3": "postgres://arcd@h/arcd?password=xxxxx",
		"postgres://arcd:s3%zz@h/arcd":       "(hidden)",
		"mysql://arcd:s3cret@h/arcd":         "(hidden)",
	} {
		var list struct {
			Items []struct{ Key, Value string }
		}
		r := run(t, nil, "config", "show", "--config", file(t, "a.yaml", "store: "+store+"\n"))
		if err := json.Unmarshal(r.reply(t).Data, &list); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, l := range list.Items {
			if l.Key == "store" {
				got = l.Value
			}
		}
		if got != want {
			t.Errorf("%s is shown as %q, want %q", store, got, want)
		}
	}
}

// TestDoctorWithoutDatabase: a token that cannot be judged is not blamed.
func TestDoctorWithoutDatabase(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/arc+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"arc":"1.0","id":"1","responseAgent":"a","targetAgent":"b","error":{"code":-44001,"message":"m","details":{"reason":"revocations_unknown","retryable":true}}}`))
	}))
	defer server.Close()
	e := told(t, home(t, "ARCD_TOKEN=opaque"), 1, "CHECK_FAILED", "doctor", "token", "--server", server.URL)
	if got := strings.Join(failing(t, e), " "); got != "token.form server.ready*" {
		t.Errorf("failing are %q\n%s", got, e.Data)
	}
	if !strings.Contains(string(e.Data), "cannot use its database") {
		t.Errorf("the reason is not told: %s", e.Data)
	}
}
