package interop_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// curlPrelude is what a shell needs to know before a command of a page: where
// localhost:8001 is in this test, and to keep the answer's headers. The text of
// the command itself stays as it is on the page. Where uuidgen is not installed,
// the kernel makes the same.
const curlPrelude = `
set -euo pipefail
curl() {
	command curl -q --silent --show-error --noproxy '*' --max-time 20 \
		--connect-to "localhost:8001:$ARCD_ADDRESS" --dump-header "$ARCD_HEADERS" "$@"
}
command -v uuidgen >/dev/null || uuidgen() { cat /proc/sys/kernel/random/uuid; }
`

// paste runs a command of a page as a user would.
func paste(t *testing.T, d *daemon, command string) reply {
	t.Helper()
	headers := filepath.Join(t.TempDir(), "headers")
	shell := exec.CommandContext(t.Context(), "bash", "-c", curlPrelude+command)
	shell.Env = append(os.Environ(), "ARCD_ADDRESS="+d.addr, "ARCD_HEADERS="+headers)
	var stdout, stderr bytes.Buffer
	shell.Stdout, shell.Stderr = &stdout, &stderr
	if err := shell.Run(); err != nil {
		t.Fatalf("%v: %s\n%s", err, &stderr, command)
	}
	text, err := os.ReadFile(headers)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{body: stdout.Bytes()}
	if r.status, r.header, err = parseHeaders(text); err != nil {
		t.Fatalf("%v in the headers %q", err, text)
	}
	return r
}

// parseHeaders reads a status line and the headers below it.
func parseHeaders(text []byte) (int, http.Header, error) {
	lines := textproto.NewReader(bufio.NewReader(bytes.NewReader(text)))
	first, err := lines.ReadLine()
	if err != nil {
		return 0, nil, err
	}
	words := strings.Fields(first)
	if len(words) < 2 {
		return 0, nil, fmt.Errorf("no status in %q", first)
	}
	status, err := strconv.Atoi(words[1])
	if err != nil {
		return 0, nil, err
	}
	header, err := lines.ReadMIMEHeader()
	return status, http.Header(header), err
}

// pasted is what a command of a page must answer.
type pasted struct {
	line   int               // where it stands on the page
	golden string            // its answer, word for word as on the page
	fill   map[string]string // placeholders, and what has to stand there
	filled string            // its answer then; "admin configuration" and "good token" are looked at closer
}

// TestSeedCommands runs every curl command of both pages, in their order, on one
// server. Those with a placeholder are run twice: as they stand there, and filled in.
func TestSeedCommands(t *testing.T) {
	d := startedDev(t)
	temp := request(t, d, "POST", "/auth/temp-token", tempRequest, nil).member(t, "temp_token")
	admin := request(t, d, "POST", "/auth/login", adminLogin, fingerprint("unique-session-id")).member(t, "access_token")
	pages := map[string][]pasted{
		authenticationPage: {
			{line: 39, golden: "A1"},
			{line: 49, golden: "A2"},
			{line: 54, golden: "A3"},
			{line: 64, golden: "A4"},
			{line: 78, golden: "A6 as admin"},
			{line: 90, golden: "T2", fill: map[string]string{"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9...": temp}, filled: "no agents"},
			{line: 98, golden: "A8"},
			{line: 107, golden: "A6 as ARCP"},
			{line: 120, golden: "A2 at the configuration", fill: map[string]string{"<admin-token>": admin}, filled: "admin configuration"},
			{line: 127, golden: "A6 as ARCP"},
		},
		tokenPage: {
			{line: 41, golden: "T1"},
			{line: 46, golden: "T2"},
			{line: 51, golden: "T3"},
			{line: 91, golden: "A8"},
			{line: 101, golden: "A6 as ARCP"},
			{line: 111, golden: "T3", fill: map[string]string{"your-current-token": temp}, filled: "good token"},
		},
	}
	for _, page := range []string{authenticationPage, tokenPage} {
		for i, e := range commands(t, page) {
			test := pages[page][i]
			name := fmt.Sprintf("%s line %d %s", page, e.line, e.heading)
			if e.line != test.line {
				t.Fatalf("%s: want the command of line %d", name, test.line)
			}
			t.Run(name, func(t *testing.T) {
				want := goldens[test.golden]
				wantReply(t, paste(t, d, e.text), want.status, want.body)
			})
			if test.fill != nil {
				t.Run(name+", filled in", func(t *testing.T) { wantFilled(t, d, e.text, test) })
			}
		}
	}
}

// wantFilled runs a command with its placeholders filled in.
func wantFilled(t *testing.T, d *daemon, command string, test pasted) {
	t.Helper()
	var value string
	for placeholder, text := range test.fill {
		if !strings.Contains(command, placeholder) {
			t.Fatalf("no placeholder %s in\n%s", placeholder, command)
		}
		command, value = strings.ReplaceAll(command, placeholder, text), text
	}
	got := paste(t, d, command)
	switch test.filled {
	case "admin configuration":
		wantConfig(t, got)
	case "good token":
		wantVerdict(t, got, value)
	default:
		want := goldens[test.filled]
		wantReply(t, got, want.status, want.body)
	}
}
