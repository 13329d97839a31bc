package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/server"
)

// between gives what stands between two texts.
func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, before)
	found, _, closed := strings.Cut(rest, after)
	if !ok || !closed {
		t.Fatalf("nothing between %q and %q in %s", before, after, s)
	}
	return found
}

// TestProblemPages: there is a page for every kind of problem, it says what the
// table says, and its example is a document as the server sends them.
func TestProblemPages(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.ProblemBase = "https://arcd.test/p/" }})
	list := w.do(ask{method: http.MethodGet, path: "/docs/problems"})
	for p := range arc.Problems() {
		if !strings.Contains(list.body, `<a href="problems/`+string(p)+`">`) {
			t.Errorf("the list has no link to %s", p)
		}
		r := w.do(ask{method: http.MethodGet, path: "/docs/problems/" + string(p)})
		if r.status != http.StatusOK || r.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %s", p, r.status, r.header.Get("Content-Type"))
			continue
		}
		text := html.UnescapeString(r.body)
		wanted := append([]string{
			"https://arcd.test/p/" + string(p), strconv.Itoa(p.Status()) + " " + http.StatusText(p.Status()), p.Title(), p.Meaning(), p.Cure(),
		}, p.ErrorCodes()...)
		for _, part := range wanted {
			if !strings.Contains(text, part) {
				t.Errorf("%s: the page lacks %q", p, part)
			}
		}
		example := between(t, text, "<pre>", "</pre>")
		header := http.Header{"Content-Type": {"application/problem+json"}, "X-Request-Id": {"req_mno345"}}
		document(t, reply{p.Status(), header, example})
	}
}

func TestProblemPageHeaders(t *testing.T) {
	w := start(t, options{})
	for _, path := range []string{"/docs/problems", "/docs/problems/token-invalid"} {
		r := w.do(ask{method: http.MethodGet, path: path})
		sum := sha256.Sum256([]byte(between(t, r.body, "<style>", "</style>")))
		want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
		if got := r.header.Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: Content-Security-Policy: %s, want %s", path, got, want)
		}
		if got := r.header.Get("Cache-Control"); got != "public, max-age=3600" {
			t.Errorf("%s: Cache-Control: %s", path, got)
		}
		if strings.Contains(r.body, "ZgotmplZ") || strings.Contains(r.body, "<script") || strings.Contains(r.body, "style=") {
			t.Errorf("%s: %s", path, r.body)
		}
	}
}

// TestProblemPageInAnyCase: ARCP files one of its pages as TPR-disabled.
func TestProblemPageInAnyCase(t *testing.T) {
	w := start(t, options{})
	for slug, status := range map[string]int{"TPR-disabled": 200, "tpr-disabled": 200, "Token-Invalid": 200, "token_invalid": 404, "x": 404} {
		if r := w.do(ask{method: http.MethodGet, path: "/docs/problems/" + slug}); r.status != status {
			t.Errorf("%s: %d, want %d", slug, r.status, status)
		}
	}
}
