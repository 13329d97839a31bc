package wholefile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/arcd-io/arcd/internal/wholefile"
)

// TestWrite replaces what a link points at, keeps the file private, and clears
// away what a killed process left.
func TestWrite(t *testing.T) {
	folder := t.TempDir()
	real, link := filepath.Join(folder, "real"), filepath.Join(folder, "link")
	for _, file := range []string{real, real + ".new"} {
		if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := wholefile.Write(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(real)
	if err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(real + ".new"); err == nil {
		t.Error("the draft is still there")
	}
	if err := wholefile.Write(filepath.Join(folder, "none", "file"), nil); err == nil {
		t.Error("a folder that is not there passes")
	}
}
