package sqlite_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// refusal opens a database that must be refused and gives the reason.
func refusal(t *testing.T, file string) string {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{File: file})
	if err == nil {
		t.Fatalf("%s was opened, Close: %v", file, s.Close())
	}
	return err.Error()
}

// expect wants every word in the text.
func expect(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, 0)
	expect(t, refusal(t, filepath.Join(dir, "arcd.db")), "another process has this database open")

	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(filepath.Join(dir, "arcd.db"), link); err != nil {
		t.Fatal(err)
	}
	expect(t, refusal(t, link), "another process has this database open")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openIn(t, dir, 0).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	expect(t, refusal(t, file("text.db", strings.Repeat("no database ", 100))), "text.db", "damaged or not a SQLite database")
	expect(t, refusal(t, filepath.Join(dir, "none", "x.db")), "no such file or directory")
	expect(t, refusal(t, dir), "not a regular file")
	expect(t, refusal(t, ""), "no file named")

	other := filepath.Join(dir, "other.db")
	alter(t, other, "CREATE TABLE things (a)")
	expect(t, refusal(t, other), "database of another program")
}

// alter changes a database that is not open.
func alter(t *testing.T, file, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), text)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestNewerTablesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := openIn(t, dir, 0).Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "arcd.db")
	alter(t, file, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
	expect(t, refusal(t, file), "version 9999", "use a newer arcd")
}

// TestDamagedPages overwrites the middle of a database.
func TestDamagedPages(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, 0)
	for i := range 50 {
		mustCommit(t, s, creation(int64(i), epoch))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "arcd.db")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[100:], strings.Repeat("damage", len(b)/8))
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, refusal(t, file), "the file is damaged", "backup")
}

func TestModes(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, 0)
	defer closeIt(t, s)
	mustCommit(t, s, creation(1, epoch))
	if err := s.Backup(t.Context(), filepath.Join(dir, "copy.db")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"arcd.db", "arcd.db-wal", "arcd.db-shm", "arcd.db-lock", "copy.db"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", name, info.Mode().Perm())
		}
	}
}

func TestLocalFileSystemIsAccepted(t *testing.T) {
	if err := sqlite.CheckFileSystem(t.TempDir()); err != nil {
		t.Error(err)
	}
}

// TestOddNames opens files whose names mean something in a URI.
func TestOddNames(t *testing.T) {
	for _, name := range []string{"a b.db", "a?b=c.db", "a%41#.db", "ä&;.db"} {
		file := filepath.Join(t.TempDir(), name)
		s, err := sqlite.Open(t.Context(), sqlite.Config{File: file})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mustCommit(t, s, creation(1, epoch))
		closeIt(t, s)
		if info, err := os.Stat(file); err != nil || info.Size() == 0 {
			t.Errorf("%s is not where the data is: %v", name, err)
		}
	}
}

// TestBackupOpens puts a copy in the place of the database.
func TestBackupOpens(t *testing.T) {
	dir, place := t.TempDir(), t.TempDir()
	s := openIn(t, dir, 0)
	first := mustCommit(t, s, creation(1, epoch))
	if err := s.Backup(t.Context(), filepath.Join(place, "arcd.db")); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, creation(2, epoch))
	file := filepath.Join(dir, "arcd.db")
	outside := filepath.Join(t.TempDir(), "outside.db")
	if err := sqlite.Backup(t.Context(), file, outside); err != nil {
		t.Errorf("backup of a database that is being served: %v", err)
	}
	closeIt(t, s)
	if err := sqlite.Backup(t.Context(), file, outside); !errors.Is(err, store.ErrExists) {
		t.Errorf("backup over a file: %v, want ErrExists", err)
	}
	if err := sqlite.Backup(t.Context(), file+"x", outside+"x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("backup of nothing: %v, want os.ErrNotExist", err)
	}

	c := openIn(t, place, 0)
	defer closeIt(t, c)
	if got, err := c.Thread(t.Context(), first.ID); err != nil || got.Rev != 1 {
		t.Errorf("thread in the copy: %+v, %v", got, err)
	}
	if evs, _, err := c.Events(t.Context(), first.ID, 0, 9); err != nil || len(evs) != 2 {
		t.Errorf("events in the copy: %v, %v", evs, err)
	}
	if _, err := c.Thread(t.Context(), creation(2, epoch).Thread.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("thread made after the copy: %v, want ErrNotFound", err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check of the copy: %v", err)
	}
}
