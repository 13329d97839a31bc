package server_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/arcd-io/arcd/server"
)

var update = flag.Bool("update", false, "write what the server answers into testdata")

// TestConversations plays the files in testdata against a whole server. Each
// holds pairs of sections: "NAME.send", a request as its first line, its header
// fields, an empty line and its body; and "NAME.receive", the status, the header
// fields of [shown] and the body.
//
// Of a request the field Token is turned into a bearer token with these scopes
// ("all": all of them). A body that begins with ! is a Go string; !repeat N "s"
// repeats one. Ids that the server makes are written as task-1, task-2, ... in
// their order, in both directions, and times as TIME.
//
// Lines of a file's comment that begin with "config" change the server's
// configuration.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			converse(t, file)
		})
	}
}

func converse(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, options{config: func(cfg *server.Config) { configure(t, cfg, string(archive.Comment)) }})
	talk := &talk{world: w, names: map[string]string{}}
	var played []txtar.File
	for i := 0; i < len(archive.Files); i++ {
		send := archive.Files[i]
		name, ok := strings.CutSuffix(send.Name, ".send")
		if !ok {
			t.Fatalf("%s: section %q is no .send", file, send.Name)
		}
		got := talk.play(string(send.Data))
		played = append(played, send, txtar.File{Name: name + ".receive", Data: []byte(got)})
		var want string
		if i+1 < len(archive.Files) && archive.Files[i+1].Name == name+".receive" {
			i++
			want = string(archive.Files[i].Data)
		}
		if diff := cmp.Diff(want, got); diff != "" && !*update {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if *update {
		archive.Files = played
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// configure applies the config lines of a file's comment.
func configure(t testing.TB, cfg *server.Config, comment string) {
	for line := range strings.Lines(comment) {
		setting, ok := strings.CutPrefix(strings.TrimSpace(line), "config ")
		if !ok {
			continue
		}
		name, value, _ := strings.Cut(setting, "=")
		switch name {
		case "http_status":
			cfg.HTTPStatus = value
		case "body_bytes":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Limits.BodyBytes = n
		case "cors":
			cfg.CORSOrigins = strings.Split(value, ",")
		case "insecure_no_auth":
			cfg.InsecureNoAuth = true
		default:
			t.Fatalf("unknown setting %q", line)
		}
	}
}

// talk is one conversation: it keeps the names that made ids go by.
type talk struct {
	*world
	names map[string]string // real id to name
}

// shown are the header fields that a conversation shows.
var shown = []string{
	"Content-Type", "Allow", "WWW-Authenticate", "Retry-After", "Idempotency-Replayed", "Location",
	"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Credentials", "Vary",
}

func (c *talk) play(send string) string {
	head, body, _ := strings.Cut(send, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	a := ask{method: method, path: path, header: map[string]string{}, body: c.body(strings.TrimSuffix(body, "\n"))}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case name != "Token":
			a.header[name] = value
		case value == "all":
			a.token = c.token()
		case value == "expired":
			claims := c.issuer.Claims(audience, time.Now().Add(-2*time.Hour))
			a.token = c.issuer.Mint(c.t, "ES256", claims)
		default:
			a.token = c.token(strings.Fields(value)...)
		}
	}
	r := c.do(a)
	var b bytes.Buffer
	fmt.Fprintln(&b, r.status)
	for _, name := range shown {
		if v := r.header.Values(name); len(v) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(v, ", "))
		}
	}
	if r.body != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSuffix(r.body, "\n"))
	}
	return c.hide(b.String())
}

// body makes the bytes to send.
func (c *talk) body(text string) string {
	if rest, ok := strings.CutPrefix(text, "!repeat "); ok {
		n, s, _ := strings.Cut(rest, " ")
		times, err := strconv.Atoi(n)
		if err != nil {
			c.t.Fatal(err)
		}
		return strings.Repeat(c.unquote(s), times)
	}
	if rest, ok := strings.CutPrefix(text, "!"); ok {
		return c.unquote(rest)
	}
	for real, name := range c.names {
		text = strings.ReplaceAll(text, `"`+name+`"`, `"`+real+`"`)
	}
	return text
}

func (c *talk) unquote(s string) string {
	plain, err := strconv.Unquote(s)
	if err != nil {
		c.t.Fatalf("%s: %v", s, err)
	}
	return plain
}

var (
	madeIDs = regexp.MustCompile(`(task|chat|req)[-_][0-9A-Za-z_-]{20,}`)
	times   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
)

// hide replaces what differs from run to run.
func (c *talk) hide(text string) string {
	text = strings.ReplaceAll(text, c.url, "http://server")
	text = strings.ReplaceAll(text, c.issuer.URL, "http://issuer")
	text = times.ReplaceAllString(text, "TIME")
	return madeIDs.ReplaceAllStringFunc(text, func(id string) string {
		name, ok := c.names[id]
		if !ok {
			kind := id[:strings.IndexAny(id, "-_")]
			if kind == "req" {
				kind = "request"
			}
			n := 1
			for slices.Contains(slices.Collect(maps.Values(c.names)), fmt.Sprintf("%s-%d", kind, n)) {
				n++
			}
			name = fmt.Sprintf("%s-%d", kind, n)
			c.names[id] = name
		}
		return name
	})
}
