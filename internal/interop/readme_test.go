package interop_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeRequest pastes the commands of the README's first request into a
// shell, in the folder of the server.
func TestReadmeRequest(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## One request\n")
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(section)
	if !found || block == nil {
		t.Fatal("the README has no commands for one request")
	}
	d := startedDev(t)
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(block[1], "http://127.0.0.1:8001", d.url()))
	shell.Dir = d.dir
	path := filepath.Dir(binary) + string(os.PathListSeparator) + os.Getenv("PATH")
	shell.Env = append(os.Environ(), "no_proxy=*", "PATH="+path, "ARCD_PUBLIC_URL="+d.url(), "ARCD_SERVER="+d.endpoint())
	if out, err := shell.CombinedOutput(); err != nil || !strings.Contains(string(out), "task-") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestReadmeRegistry pastes the commands of the README's section on the registry
// into a shell; only the address of the server is another.
func TestReadmeRegistry(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## Registry\n")
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(section)
	if !found || block == nil {
		t.Fatal("the README has no commands for the registry")
	}
	d := startedDev(t)
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(block[1], "http://127.0.0.1:8001", d.url()))
	shell.Env = append(os.Environ(), "no_proxy=*")
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"status":"success"`, `"access_token":"`, `"id":"my-agent"`, `"similarity":1`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the answers lack %s:\n%s", want, out)
		}
	}
}
