package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/pgtest"
)

// onStore serves a store, with tokens that are good wherever it is.
func onStore(t *testing.T, store string) *served {
	t.Helper()
	unsafe := fmt.Sprint(strings.HasPrefix(store, "postgres")) // the test server does not flush
	config := file(t, "arcd.yaml", "store_unsafe: "+unsafe+"\npublic_url: http://127.0.0.1:1\n")
	s := serve(t, "--dev", "-c", config, "--store", store)
	s.url = "http://" + address(s)
	return s
}

// storeToken gets a token that servers of onStore take wherever the store is: its key
// moves with it.
func (s *served) storeToken() string {
	s.t.Helper()
	secret := regexp.MustCompile(`-u dev:(\S+)`).FindStringSubmatch(s.log.String())
	return s.tokenFor("dev", secret[1])
}

// has tells whether a server has a task.
func (s *served) has(token, id string) bool {
	s.t.Helper()
	got := s.call(http.DefaultClient, token, fmt.Sprintf(
		`{"arc":"1.0","id":1,"method":"task.info","requestAgent":"me","targetAgent":"echo","params":{"taskId":%q}}`, id))
	return id != "" && got.Result.Task.TaskID == id
}

// data decodes the data of a command that succeeded.
func data[T any](t *testing.T, got outcome, name string) (v T) {
	t.Helper()
	if got.code != 0 {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	if err := json.Unmarshal(validateEnvelope(t, got.stdout, name).Data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// copied is what is looked at of a copy.
type copied struct {
	Effect, From, To string
	Rows             int64
	Tables           []struct{ Table, SHA256 string }
}

// TestStoreMoves moves a store from SQLite to PostgreSQL and back, and serves it at each
// place.
func TestStoreMoves(t *testing.T) {
	t.Chdir(t.TempDir())
	database := pgtest.Database(t)
	s := onStore(t, "sqlite:arcd.db")
	token := s.storeToken()
	id := s.create(token, "echo").Result.Task.TaskID
	inUse := run(t, nil, "store", "copy", "--from", "sqlite:arcd.db", "--to", database)
	if inUse.code != 6 || !strings.Contains(inUse.stdout, `"code":"LOCK_HELD"`) {
		t.Errorf("a copy beside a server: exit %d: %s", inUse.code, inUse.stdout)
	}
	s.stop()

	dry := data[copied](t, run(t, nil, "store", "copy", "--from", "sqlite:arcd.db", "--to", database, "--dry-run"), "store.copy")
	there := data[copied](t, run(t, nil, "store", "copy", "--from", "sqlite:arcd.db", "--to", database), "store.copy")
	if dry.Effect != "would_create" || there.Effect != "created" || there.Rows == 0 || strings.Contains(there.To, "sslmode") {
		t.Errorf("dry run %+v, copy %+v", dry, there)
	}
	if d := cmp.Diff(dry.Tables, there.Tables); d != "" {
		t.Errorf("the dry run saw something else (-dry +copied):\n%s", d)
	}
	again := run(t, nil, "store", "copy", "--from", "sqlite:arcd.db", "--to", database)
	if again.code != 6 || !strings.Contains(again.complaint(t), "not empty") {
		t.Errorf("a second copy: exit %d: %s", again.code, again.stdout)
	}

	s = onStore(t, database)
	if !s.has(token, id) {
		t.Error("the database does not have the task")
	}
	later := s.create(token, "echo").Result.Task.TaskID
	inUse = run(t, nil, "store", "copy", "--from", database, "--to", "sqlite:back.db")
	if inUse.code != 6 || !strings.Contains(inUse.stdout, `"code":"LOCK_HELD"`) {
		t.Errorf("a copy beside a server: exit %d: %s", inUse.code, inUse.stdout)
	}
	s.stop()
	data[copied](t, run(t, []string{"DB=" + database}, "store", "copy", "--from", "env:DB", "--to", "sqlite:back.db"), "store.copy")
	s = onStore(t, "sqlite:back.db")
	if !s.has(token, id) || !s.has(token, later) {
		t.Error("the file does not have both tasks")
	}
	s.stop()
}

// TestBackupOfDatabase takes a backup beside a running server, and brings it back to
// both engines.
func TestBackupOfDatabase(t *testing.T) {
	t.Chdir(t.TempDir())
	database := pgtest.Database(t)
	s := onStore(t, database)
	token := s.storeToken()
	id := s.create(token, "echo").Result.Task.TaskID
	asked := s.create(token, "input").Result.Task.TaskID
	s.until(token, asked, 3)
	if got := run(t, nil, "backup", "--store", database, "copy.db"); got.code != 0 {
		t.Fatalf("backup: exit %d: %s", got.code, got.stdout)
	}
	late := s.create(token, "echo").Result.Task.TaskID
	ahead := s.goOn(token, asked)
	s.stop()
	if got := run(t, nil, "backup", "--store", database, "copy.db"); got.code != 6 || !strings.Contains(got.complaint(t), "never overwrites") {
		t.Errorf("backup over a file: exit %d: %s", got.code, got.stdout)
	}
	if files, err := os.ReadDir("."); err != nil || len(filesLike(files, "copy.db")) != 1 {
		t.Errorf("the backup left %v, %v", filesLike(files, "copy.db"), err)
	}
	if got := run(t, nil, "store", "check", "--store", "sqlite:copy.db"); got.code != 0 {
		t.Errorf("check of the backup: exit %d: %s", got.code, got.stdout)
	}
	for _, to := range []string{"sqlite:restored.db", pgtest.Database(t)} {
		data[copied](t, run(t, nil, "restore", "copy.db", "--to", to), "restore")
		s := onStore(t, to)
		if !s.has(token, id) || s.has(token, late) {
			t.Errorf("%s: the task of before is there: %v, that of after: %v", to, s.has(token, id), s.has(token, late))
		}
		if s.create(token, "echo").Result.Task.TaskID == "" {
			t.Error("the restored store takes no task")
		}
		// A reader that is ahead of the log is told so: silence would be for ever.
		got := s.call(http.DefaultClient, token, fmt.Sprintf(
			`{"arc":"1.0","id":1,"method":"task.events","requestAgent":"me","targetAgent":"input","params":{"taskId":%q,"after":%d}}`, asked, ahead))
		if got.code() != -32602 || got.Error.Details["reason"] != "gap" {
			t.Errorf("%s: reading on after event %d: %d %+v", to, ahead, got.code(), got.Error)
		}
		s.goOn(token, asked) // and the task goes on from where it was
		s.stop()
	}
}

// until waits for a task; code is the exit code of "task wait".
func (s *served) until(token, id string, code int) {
	s.t.Helper()
	env := []string{"ARCD_SERVER=" + s.url, "ARCD_TOKEN=" + token, "ARCD_CONFIG_DIR=" + s.t.TempDir(), "ARCD_STATE_DIR=" + s.t.TempDir()}
	if got := run(s.t, env, "task", "wait", id, "--timeout", "30s"); got.code != code {
		s.t.Fatalf("waiting for %s: exit %d, want %d: %s", id, got.code, code, got.stdout)
	}
}

// goOn answers a task that asks, waits for its end and gives the number of its last
// event.
func (s *served) goOn(token, id string) int64 {
	s.t.Helper()
	s.rpc(token, "task.send", fmt.Sprintf(`{"taskId":%q,"message":{"role":"user","parts":[{"type":"TextPart","content":"Blue"}]}}`, id))
	s.until(token, id, 0)
	var list struct{ Events []struct{ Seq int64 } }
	if err := json.Unmarshal(s.rpc(token, "task.events", fmt.Sprintf(`{"taskId":%q}`, id)), &list); err != nil {
		s.t.Fatal(err)
	}
	return list.Events[len(list.Events)-1].Seq
}

// filesLike gives the names that begin like this.
func filesLike(files []os.DirEntry, prefix string) (names []string) {
	for _, f := range files {
		if strings.HasPrefix(f.Name(), prefix) {
			names = append(names, f.Name())
		}
	}
	return names
}

// TestStoreMigrate lists the steps of a new database, takes them, and has nothing left.
func TestStoreMigrate(t *testing.T) {
	type migrated struct {
		Effect string
		From   int64 `json:"from_version"`
		Steps  []string
	}
	database := pgtest.Database(t)
	for _, want := range []struct {
		effect string
		steps  bool
		args   []string
	}{
		{"would_update", true, []string{"--dry-run"}}, {"would_update", true, []string{"--dry-run"}}, {"updated", true, nil}, {"unchanged", false, nil},
	} {
		got := data[migrated](t, run(t, nil, append([]string{"store", "migrate", "--store", database}, want.args...)...), "store.migrate")
		if got.Effect != want.effect || (len(got.Steps) > 0) != want.steps {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestStoreCheckFinds has exit code 1 for what is wrong: here a server that does not
// flush.
func TestStoreCheckFinds(t *testing.T) {
	database := pgtest.Database(t)
	run(t, nil, "store", "migrate", "--store", database)
	got := run(t, nil, "store", "check", "--store", database)
	if got.code != 1 || !strings.Contains(got.stdout, `"rule":"storage"`) || !strings.Contains(got.stdout, "fsync = off") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
	validateEnvelope(t, got.stdout, "store.check")
}

// TestStorePlaces: what names no store is refused before anything is opened, and a
// password is no argument.
func TestStorePlaces(t *testing.T) {
	t.Chdir(t.TempDir())
	for place, want := range map[string]struct {
		code int
		text string
	}{
		"arcd.db":                               {2, "VALIDATION_ERROR"},
		"sqlite:":                               {2, "VALIDATION_ERROR"},
		"mysql://u@h/db":                        {2, "VALIDATION_ERROR"},
		"postgres://u:geheim@127.0.0.1/db":      {2, "SECRET_IN_ARGV"},
		"postgres://127.0.0.1/db?password=secr": {2, "SECRET_IN_ARGV"},
		"env:NOT_SET":                           {4, "NOT_SET"},
		"file:none":                             {2, "FILE_NOT_FOUND"},
		"sqlite:none.db":                        {2, "FILE_NOT_FOUND"},
		"postgres://u@127.0.0.1:1/db":           {12, "UNAVAILABLE"},
	} {
		got := run(t, nil, "store", "check", "--store", place)
		if got.code != want.code || !strings.Contains(got.stdout, want.text) || strings.Contains(got.stdout+got.stderr, "geheim") {
			t.Errorf("%s: exit %d: %s", place, got.code, got.stdout)
		}
	}
}
