package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// pageStyle is all that the pages look like. Its hash is in pagePolicy.
const pageStyle = `body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}` +
	`table{border-collapse:collapse}th,td{border-bottom:1px solid silver;padding:.2em 1em .2em 0;text-align:left}` +
	`pre{background:whitesmoke;padding:1em;overflow:auto}`

// pagePolicy lets the browser use that style and nothing else.
var pagePolicy = func() []string {
	sum := sha256.Sum256([]byte(pageStyle))
	return []string{"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
}()

var (
	mediaHTML = []string{"text/html; charset=utf-8"}
	pageCache = []string{"public, max-age=3600"}
)

// problemPages are the two pages. Their links are relative, so that they work
// below any public URL. They are parsed when the first is asked for: commands that
// serve nothing start without them, and without html/template, which takes its time
// when a program starts. So every value is escaped by hand, "| html"; all of them stand
// in text or in quoted attributes, where that is all there is to do.
var problemPages = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Parse(problemPageSource))
})

const problemPageSource = `
{{- define "head"}}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{. | html}}</title>
<style>` + pageStyle + `</style>
</head>
<body>
<h1>{{. | html}}</h1>
{{end}}

{{- define "list"}}{{template "head" "Problems"}}
<p>What the problem documents (RFC 9457) of this server mean.</p>
<table>
<tr><th>kind</th><th>status</th><th>title</th><th>meaning</th></tr>
{{- range .}}
<tr><td><a href="problems/{{.Kind | html}}">{{.Kind | html}}</a></td><td>{{.Status | html}}</td><td>{{.Kind.Title | html}}</td><td>{{.Kind.Meaning | html}}</td></tr>
{{- end}}
</table>
</body>
</html>
{{end}}

{{- define "problem"}}{{template "head" .Kind.Title}}
<p>{{.Kind.Meaning | html}}</p>
<table>
<tr><th>type</th><td><code>{{.Type | html}}</code></td></tr>
<tr><th>status</th><td>{{.Status | html}} {{.StatusText | html}}</td></tr>
<tr><th>title</th><td>{{.Kind.Title | html}}</td></tr>
<tr><th>error_code</th><td>{{range $i, $code := .Kind.ErrorCodes}}{{if $i}}, {{end}}<code>{{$code | html}}</code>{{end}}</td></tr>
</table>
<h2>What to do</h2>
<p>{{.Kind.Cure | html}}</p>
<h2>Example</h2>
<pre>{{.Example | html}}</pre>
<p><a href="../problems">All problems</a></p>
</body>
</html>
{{end}}`

// problemEntry is what the pages show of a kind of problem.
type problemEntry struct {
	Kind arc.Problem
	Type string // the URI
}

// Status is the HTTP status of the kind.
func (e problemEntry) Status() int { return e.Kind.Status() }

// StatusText is the HTTP name of the status.
func (e problemEntry) StatusText() string { return http.StatusText(e.Status()) }

// Example is a document of this kind, made as real ones are.
func (e problemEntry) Example() (string, error) {
	document := appendProblem(nil, problem{
		Type: e.Type, Title: e.Kind.Title(), Status: e.Status(), Detail: e.Kind.Meaning(), Instance: "/agents",
		Time: time.Date(2024, time.January, 15, 10, 30, 0, 0, time.UTC).Format(time.RFC3339), RequestID: requestPrefix + "mno345",
	}, arc.Refuse(e.Kind, e.Kind.Reasons()[0], "%s", e.Kind.Meaning()))
	var b bytes.Buffer
	err := json.Indent(&b, document, "", "  ")
	return b.String(), err
}

// entry describes a kind of problem.
func (s *Server) entry(kind arc.Problem) problemEntry {
	return problemEntry{Kind: kind, Type: s.cfg.ProblemBase + string(kind)}
}

// problemList is the page /docs/problems: all kinds of problems.
func (s *Server) problemList(w *response, r *http.Request) {
	var entries []problemEntry
	for kind := range arc.Problems() {
		entries = append(entries, s.entry(kind))
	}
	s.html(w, r, "list", entries)
}

// problemPage is the page of one kind of problem. ARCP files some of its pages
// in another case, so case does not matter.
func (s *Server) problemPage(w *response, r *http.Request) {
	slug := r.PathValue("slug")
	kinds := slices.Collect(arc.Problems())
	i := slices.IndexFunc(kinds, func(kind arc.Problem) bool { return strings.EqualFold(string(kind), slug) })
	if i < 0 {
		s.problem(w, r, nothingHere())
		return
	}
	s.html(w, r, "problem", s.entry(kinds[i]))
}

// html sends one of problemPages.
func (s *Server) html(w *response, r *http.Request, name string, data any) {
	var b bytes.Buffer
	if err := problemPages().ExecuteTemplate(&b, name, data); err != nil {
		s.problem(w, r, s.public(err, w.requestID))
		return
	}
	h := w.Header()
	h["Content-Type"] = mediaHTML
	h["Cache-Control"] = pageCache
	h["Content-Security-Policy"] = pagePolicy
	s.write(w, http.StatusOK, b.Bytes())
}
