package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/cli"
)

// world is what surrounds the script: a server and the secrets that nobody may
// see.
type world struct {
	dir   string // of the server's files
	front *front

	receivers map[string]*receiver // by the name of their variable

	mu      sync.Mutex // guards what follows
	ends    []func()
	secrets []string
}

// end ends all that was started, the last first.
func (w *world) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, end := range slices.Backward(w.ends) {
		end()
	}
	w.ends = nil
}

func (w *world) later(end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, end)
}

// secret makes it a failure to show this.
func (w *world) secret(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, text)
	if i := strings.LastIndexByte(text, '.'); i > 0 { // a signature is a secret, too
		w.secrets = append(w.secrets, text[i+1:])
	}
	return text
}

// check checks what every call of arcd must keep: no secret is shown, stdout is one
// envelope (behind JSON lines, for a stream) that fits its schema and that of the
// command, and its exit code is that of the process.
func (w *world) check(args []string, code int, stdout, stderr string) error {
	for len(args) > 0 && strings.Contains(args[0], "=") {
		args = args[1:]
	}
	if len(args) == 0 || filepath.Base(args[0]) != "arcd" {
		return nil
	}
	if !slices.Contains(args, "--unmask") && !slices.Contains(args, "add") {
		w.mu.Lock()
		for _, secret := range w.secrets {
			if strings.Contains(stdout+stderr, secret) {
				w.mu.Unlock()
				return fmt.Errorf("a secret is shown: %s", secret)
			}
		}
		w.mu.Unlock()
	}
	e, err := checkEnvelope(stdout, "")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, stdout)
	}
	if e.exit() != code || e.OK != (code == 0) {
		return fmt.Errorf("exit code %d contradicts the envelope: %s", code, stdout)
	}
	return nil
}

// worldKey is where a script keeps its world.
type worldKey struct{}

// front stands before the server, at the server's public address. It counts the
// requests for tokens, and can make a token run out at a certain moment.
type front struct {
	*httptest.Server

	mu      sync.Mutex // guards what follows
	to      *url.URL
	tokens  int
	cut     int            // length at which the next event stream breaks off; 0: none
	after   map[string]int // by method: how many more calls are let through
	retired map[string]bool
}

// startServer is "server [NAME=VALUE…]": it starts "arcd serve --dev" with these
// settings and sets ARCD_SERVER, SERVER (its base address) and CI_SECRET, the
// secret of its client ci. "server stop" ends it.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	w := theWorld(ts)
	if slices.Equal(args, []string{"stop"}) {
		w.end()
		return
	}
	f := &front{after: map[string]int{}, retired: map[string]bool{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		f.mu.Lock()
		defer f.mu.Unlock()
		r.SetURL(f.to)
		r.Out.Host = r.In.Host
	}}
	proxy.Transport, proxy.ModifyResponse = &http.Transport{}, f.shorten
	proxy.ErrorLog = log.New(io.Discard, "", 0) // of streams that break off
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) { f.serve(proxy, out, r) }))
	f.Start()
	w.front = f
	file := func(name string) string { return filepath.Join(w.dir, name) }
	clients := []string{"ARCD_AUTH__ISSUER__CLIENTS_FILE=" + file("clients.json"), "ARCD_PUBLIC_URL=" + f.URL}
	added := inProcess(ts, clients, "client", "add", "ci", "--scope", "arc.task.controller,arc.chat.controller,arc.agent.caller", "-o", "plain")
	ts.Setenv("CI_SECRET", w.secret(added))

	env := append([]string{
		"ARCD_AUTH__ISSUER__KEY_FILE=" + file("keys.json"), "ARCD_REGISTRY__AGENT_KEY_FILE=" + file("agent-keys"), "ARCD_LISTEN=127.0.0.1:0",
		"ARCD_STORE=sqlite:" + file("arcd.db"), "ARCD_LOG__FORMAT=json", "ARCD_DRAIN_TIMEOUT=100ms",
	}, append(clients, args...)...)
	ctx, cancel := context.WithCancel(context.Background())
	stdout, stderr := &watched{}, &watched{}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		cli.Run(ctx, []string{"serve", "--dev"}, env, strings.NewReader(""), stdout, stderr)
	}()
	w.later(func() {
		cancel()
		<-exited
		f.CloseClientConnections()
		f.Close()
		proxy.Transport.(*http.Transport).CloseIdleConnections()
	})
	select {
	case <-stdout.seen("\n"):
	case <-exited:
		ts.Fatalf("arcd serve does not start:\n%s%s", stdout, stderr)
	}
	var ready struct{ Listening string }
	ts.Check(json.Unmarshal([]byte(stdout.String()), &ready))
	f.mu.Lock()
	f.to = &url.URL{Scheme: "http", Host: ready.Listening}
	f.mu.Unlock()
	ts.Setenv("SERVER", f.URL)
	ts.Setenv("ARCD_SERVER", f.URL+"/arc")
}

// serve passes a request on, unless its token has run out.
func (f *front) serve(to http.Handler, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var call struct {
		JSONRPC, Method string
		ID              json.RawMessage
	}
	_ = json.Unmarshal(body, &call) // other paths have other bodies
	if f.out(r, call.Method) {
		refuse(w, call.JSONRPC != "", call.ID)
		return
	}
	to.ServeHTTP(w, r)
}

// out tells whether the token of a request has run out, and counts.
func (f *front) out(r *http.Request, method string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path == "/oauth/token" {
		f.tokens++
	}
	token := r.Header.Get("Authorization")
	left, ends := f.after[method]
	if ends && left == 0 && token != "" {
		f.retired[token] = true
		delete(f.after, method)
	} else if ends {
		f.after[method] = left - 1
	}
	return f.retired[token]
}

// shorten makes the event stream break off that is to be cut. By then its token has
// run out.
func (f *front) shorten(answer *http.Response) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut > 0 && strings.HasPrefix(answer.Header.Get("Content-Type"), arc.MediaSSE) {
		answer.Body = &shortBody{ReadCloser: answer.Body, left: f.cut}
		f.retired[answer.Request.Header.Get("Authorization")] = true
		f.cut = 0
	}
	return nil
}

// shortBody is a body whose connection is lost after some bytes.
type shortBody struct {
	io.ReadCloser
	left int
}

func (b *shortBody) Read(into []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(into[:min(len(into), b.left)])
	b.left -= n
	return n, err
}

// cutStream is "cut BYTES": the next event stream breaks off after so many bytes,
// and its token has run out by then.
func cutStream(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	f := theWorld(ts).front
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = n
}

// refuse answers as a server does whose clock says that the token has run out.
func refuse(w http.ResponseWriter, jsonRPC bool, id json.RawMessage) {
	at := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	more := map[string]any{"reason": "expired", "retryable": true, "expired_at": at}
	answer := map[string]any{"arc": "1.0", "id": id, "responseAgent": "arcd", "targetAgent": "me", "result": nil}
	fault, key := map[string]any{"code": -44004, "message": "the token has expired"}, "details"
	if jsonRPC {
		answer, key = map[string]any{"jsonrpc": "2.0", "id": id}, "data"
	}
	fault[key] = more
	answer["error"] = fault
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="the token has expired"`)
	w.WriteHeader(http.StatusUnauthorized)
	_ = json.NewEncoder(w).Encode(answer)
}

// retire is "retire METHOD N": the token that sends the call of this method after
// N more has run out.
func retire(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	f := theWorld(ts).front
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after[args[0]] = n
}

// tokens is "tokens N": so many tokens were asked for since the last such line.
func tokens(ts *testscript.TestScript, neg bool, args []string) {
	f := theWorld(ts).front
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := strconv.Itoa(f.tokens); got != args[0] {
		ts.Fatalf("%s tokens were asked for, want %s", got, args[0])
	}
	f.tokens = 0
}

// mint is "mint NAME TTL [FLAG…]": it mints a token of the server with all scopes,
// or what the flags of "arcd dev token" say, into a variable.
func mint(ts *testscript.TestScript, neg bool, args []string) {
	w := theWorld(ts)
	flags := append([]string{
		"dev", "token", "--public-url", w.front.URL, "--key-file", filepath.Join(w.dir, "keys.json"), "--ttl", args[1], "--unmask", "-o", "plain",
	}, args[2:]...)
	ts.Setenv(args[0], w.secret(inProcess(ts, nil, flags...)))
}

// inProcess runs a command in this process and gives what it prints.
func inProcess(ts *testscript.TestScript, env []string, args ...string) string {
	var stdout, stderr bytes.Buffer
	if code := cli.Run(context.Background(), args, env, strings.NewReader(""), &stdout, &stderr); code != 0 {
		ts.Fatalf("arcd %s: exit %d: %s%s", strings.Join(args, " "), code, &stdout, &stderr)
	}
	return strings.TrimSpace(stdout.String())
}

// startStub is "stub NAME CASE": it starts a server that answers as the case says,
// and puts its address into a variable.
func startStub(ts *testscript.TestScript, neg bool, args []string) {
	handler, ok := stubs[args[1]]
	if !ok {
		ts.Fatalf("there is no stub %s", args[1])
	}
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		handler(w, body, over)
	}))
	theWorld(ts).later(func() {
		close(over)
		s.CloseClientConnections()
		s.Close()
	})
	ts.Setenv(args[0], s.URL+"/arc")
}

// fixed answers always the same.
func fixed(status int, header, body string) func(http.ResponseWriter, []byte, <-chan struct{}) {
	return func(w http.ResponseWriter, _ []byte, _ <-chan struct{}) {
		w.Header().Set("Content-Type", "application/json")
		if name, value, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// stubs are servers of others, and ones that fail.
var stubs = map[string]func(w http.ResponseWriter, body []byte, over <-chan struct{}){
	"expired-challenge": fixed(401, `WWW-Authenticate: Bearer realm="x", error="invalid_token", error_description="The access token expired"`, ""),
	"invalid-challenge": fixed(401, `WWW-Authenticate: Bearer realm="x", error="invalid_token", error_description="The signature is wrong"`, ""),
	"scope-challenge":   fixed(403, `WWW-Authenticate: Bearer realm="x", error="insufficient_scope", scope="x y"`, ""),
	"expired-problem": fixed(401, "Content-Type: application/problem+json", `{"type":"about:blank","title":"Token expired","status":401,`+
		`"detail":"JWT token has expired","code":"TOKEN_EXPIRED","error_code":"TOKEN_EXPIRED","token_expired_at":"2026-01-02T03:04:05Z"}`),
	"rate-limit": fixed(429, "Retry-After: 3", `{"message":"slow down"}`),
	"silent":     func(_ http.ResponseWriter, _ []byte, over <-chan struct{}) { <-over },
	"expired-200": func(w http.ResponseWriter, body []byte, _ <-chan struct{}) {
		var call struct {
			JSONRPC string
			ID      json.RawMessage
		}
		_ = json.Unmarshal(body, &call)
		refuse(statusOK{w}, call.JSONRPC != "", call.ID)
	},
}

// statusOK answers 200 whatever happens, as some servers do.
type statusOK struct{ http.ResponseWriter }

func (w statusOK) WriteHeader(int) { w.ResponseWriter.WriteHeader(http.StatusOK) }

// eachAuth is "eachauth CODE ERROR": every command of the manifest that needs a
// credential ends with this code and error; the first of its examples is run.
func eachAuth(ts *testscript.TestScript, neg bool, args []string) {
	var all struct {
		Data struct {
			Commands map[string]struct {
				Subcommands []string
				Examples    []struct{ Command string }
			}
		}
	}
	ts.Check(json.Unmarshal([]byte(inProcess(ts, nil, "manifest", "--max-output", "0")), &all))
	var failures []error
	tried := 0
	for name, c := range all.Data.Commands {
		if !described().Commands[name].RequiresAuth || len(c.Subcommands) > 0 {
			continue
		}
		tried++
		if len(c.Examples) == 0 {
			failures = append(failures, fmt.Errorf("%s has no example", name))
			continue
		}
		code := spawn(ts, []string{"bash", "-c", c.Examples[0].Command})
		if got := text(find(ts, "error.code")); strconv.Itoa(code) != args[0] || got != args[1] {
			failures = append(failures, fmt.Errorf("%s: exit %d %s; want %s %s: %s", name, code, got, args[0], args[1], ts.ReadFile("stdout")))
		}
	}
	if tried < 10 {
		failures = append(failures, fmt.Errorf("only %d commands need a credential", tried))
	}
	ts.Check(errors.Join(failures...))
}
