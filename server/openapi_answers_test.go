package server_test

import (
	"context"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
)

// described compares answers with the OpenAPI document.
type described struct {
	*openAPI
	m       *members
	ops     map[string]map[string]any
	answers func(pointer string) *jsonschema.Schema // closed, see openAPI.closed
	bodies  func(pointer string) *jsonschema.Schema
	seen    map[string]map[int]bool // statuses by operation
}

func describe(t *testing.T, m *members) *described {
	d := &described{openAPI: readOpenAPI(t, m.world), m: m, seen: map[string]map[int]bool{}}
	d.ops = d.operations()
	d.answers, d.bodies = d.compiler(d.closed()), d.compiler(d.doc)
	return d
}

// operation finds the operation of a request: the one with the fewest parameters.
func (d *described) operation(method, path string) string {
	d.t.Helper()
	path, _, _ = strings.Cut(path, "?")
	var found []string
	for name := range d.ops {
		if m, template, _ := strings.Cut(name, " "); m == method && fits(template, path) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		d.t.Fatalf("%s %s is not in the document", method, path)
	}
	slices.SortFunc(found, func(a, b string) int { return strings.Count(a, "{") - strings.Count(b, "{") })
	return found[0]
}

func fits(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}

// call makes a request whose answer must have this status and be as the document
// says.
func (d *described) call(want int, a ask) reply {
	d.t.Helper()
	if a.header["Content-Type"] == "" && a.body != "" {
		header := map[string]string{"Content-Type": "application/json"}
		maps.Copy(header, a.header)
		a.header = header
	}
	r := d.m.do(a)
	name := d.operation(a.method, a.path)
	label := name + " " + strconv.Itoa(r.status)
	if r.status != want {
		d.t.Errorf("%s, want %d: %s\n%s", label, want, r.body, a.body)
		return r
	}
	if d.seen[name] == nil {
		d.seen[name] = map[int]bool{}
	}
	d.seen[name][r.status] = true
	response, at := d.response(name, r.status)
	if response == nil {
		d.t.Errorf("%s: the document does not have this status; the answer is %s", label, r.body)
		return r
	}
	d.checkHeaders(label, response, r)
	d.checkBody(label, response, at, r)
	d.checkRequest(label, name, a, r.status)
	return r
}

// response finds what the document says of a status, and where.
func (d *described) response(name string, status int) (map[string]any, []any) {
	method, path, _ := strings.Cut(name, " ")
	code := strconv.Itoa(status)
	at := []any{"paths", path, strings.ToLower(method), "responses", code}
	o, _ := d.at("paths", path, strings.ToLower(method), "responses")[code].(map[string]any)
	if ref, ok := o["$ref"].(string); ok {
		at = []any{"components", "responses", ref[strings.LastIndex(ref, "/")+1:]}
		o = d.resolve(o)
	}
	return o, at
}

func (d *described) checkHeaders(label string, response map[string]any, r reply) {
	d.t.Helper()
	headers, _ := response["headers"].(map[string]any)
	for name, o := range headers {
		if required := d.resolve(o.(map[string]any))["required"] == true; required && r.header.Get(name) == "" {
			d.t.Errorf("%s: the header %s is missing", label, name)
		}
	}
	if r.header.Get("X-Request-ID") == "" {
		d.t.Errorf("%s: the header X-Request-ID is missing", label)
	}
	for _, name := range []string{"WWW-Authenticate", "Retry-After", "Link", "X-Idempotent-Replayed"} {
		if r.header.Get(name) != "" && headers[name] == nil {
			d.t.Errorf("%s: the header %s is not in the document", label, name)
		}
	}
}

func (d *described) checkBody(label string, response map[string]any, at []any, r reply) {
	d.t.Helper()
	content, _ := response["content"].(map[string]any)
	if content == nil {
		if r.body != "" {
			d.t.Errorf("%s: there is a body: %s", label, r.body)
		}
		return
	}
	media, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil || content[media] == nil {
		d.t.Errorf("%s: the Content-Type %q is not in the document", label, r.header.Get("Content-Type"))
		return
	}
	if strings.HasPrefix(media, "text/") {
		return
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	if err != nil {
		d.t.Errorf("%s: %v: %s", label, err, r.body)
		return
	}
	schema := d.answers(pointer(slices.Concat(at, []any{"content", media, "schema"})...))
	if err := schema.Validate(value); err != nil {
		d.t.Errorf("%s: %v\n%s", label, err, r.body)
	}
}

// checkRequest sees that what was taken is right by the document, and what was
// refused for its form is wrong.
func (d *described) checkRequest(label, name string, a ask, status int) {
	d.t.Helper()
	method, path, _ := strings.Cut(name, " ")
	body, _ := d.ops[name]["requestBody"].(map[string]any)
	if body == nil || a.body == "" || !strings.HasPrefix(a.header["Content-Type"], "application/json") || status != 200 && status != 422 {
		return
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(a.body))
	if err == nil {
		err = d.bodies(pointer("paths", path, strings.ToLower(method), "requestBody", "content", "application/json", "schema")).Validate(value)
	}
	if (err == nil) != (status == 200) {
		d.t.Errorf("%s: the document says of the body %s: %v", label, a.body, err)
	}
}

// upgrade opens a WebSocket, which is the answer 101.
func (d *described) upgrade(path string, header http.Header) {
	d.t.Helper()
	ws, resp, err := websocket.Dial(d.t.Context(), d.m.url+path, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		d.t.Errorf("GET %s: %v", path, err)
		return
	}
	defer func() { _ = ws.CloseNow() }()
	if response, _ := d.response("GET "+path, resp.StatusCode); response == nil {
		d.t.Errorf("GET %s: the document does not have %d", path, resp.StatusCode)
	}
	d.seen["GET "+path] = map[int]bool{resp.StatusCode: true}
}

// An answer of every operation, good and bad, is as the document says.
func TestOpenAPIFitsTheAnswers(t *testing.T) {
	told := 0
	m := startMembers(t, memberOptions{
		server: func(c *server.Config) {
			c.ScrapeToken, c.Metrics = "scrape-token-of-the-test", server.NewMetrics("test")
			c.Notify = func(context.Context, string, any) (int, error) { told++; return http.StatusOK + told%2*300, nil }
		},
		registry: func(c *registry.Config) {
			c.AgentScopes = []string{"arc.agent.caller"}
			c.Probe = func(context.Context, string, string) registry.Probed {
				return registry.Probed{Reached: true, Status: http.StatusOK, Latency: time.Millisecond}
			}
		},
	})
	d := describe(t, m)
	root := map[string]string{"X-Client-Fingerprint": fingerprint}
	d.service()
	d.logins(root)
	agent := d.registration()
	d.agents(agent)
	d.public(agent)
	d.administration(m.login(), root)
	d.tokens(agent)
	d.oauth()
	d.arc(m.login(), agent)
	d.complete()
}

// service calls what needs no token.
func (d *described) service() {
	for _, path := range []string{
		"/", "/health", "/livez", "/readyz", "/agent-info", "/openrpc.json", "/openapi.json", "/docs/problems", "/docs/problems/not-found",
		"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/arc", "/.well-known/jwks.json",
		"/.well-known/oauth-authorization-server", "/.well-known/arcp-configuration", "/public/info", "/public/stats", "/public/agent_types",
	} {
		d.call(http.StatusOK, ask{method: http.MethodGet, path: path})
	}
	d.call(http.StatusNotFound, ask{method: http.MethodGet, path: "/docs/problems/none"})
	d.call(http.StatusUnauthorized, ask{method: http.MethodGet, path: "/agent-info/nobody"})
	d.call(http.StatusNotImplemented, ask{method: http.MethodPost, path: "/security/attestation/challenge", body: `{"agent_id":"abc"}`})
	d.call(http.StatusBadRequest, ask{method: http.MethodGet, path: "/public/stats?" + strings.Repeat("a=1&", 60)})
	d.call(http.StatusRequestEntityTooLarge, ask{
		method: http.MethodGet, path: "/public/info", header: map[string]string{"X-Long": strings.Repeat("x", 30<<10)},
	})
}

// logins calls /auth/login and what goes with it.
func (d *described) logins(root map[string]string) {
	const path = "/auth/login"
	good := ask{method: http.MethodPost, path: path, body: `{"username":"root","password":"correct horse"}`, header: root}
	session := d.member(d.call(http.StatusOK, good), "access_token")
	bad := func(want int, body string, header map[string]string) {
		d.t.Helper()
		d.call(want, ask{method: http.MethodPost, path: path, body: body, header: header})
	}
	bad(http.StatusUnauthorized, `{"username":"root","password":"wrong"}`, root)
	bad(http.StatusUnauthorized, good.body, nil)
	bad(http.StatusUnauthorized, `{"agent_id":"abc","agent_type":"x"}`, root)
	bad(http.StatusBadRequest, `{}`, root)
	bad(http.StatusUnprocessableEntity, `{"username":5,"password":"x"}`, root)
	bad(http.StatusUnprocessableEntity, `{"username":"`+strings.Repeat("é", 300)+`","password":"x"}`, root)
	bad(http.StatusUnprocessableEntity, `[]`, root)
	bad(http.StatusUnsupportedMediaType, `username=root`, map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	bad(http.StatusRequestEntityTooLarge, `{"username":"`+strings.Repeat("x", 1<<20)+`"}`, root)
	bad(http.StatusForbidden, good.body, map[string]string{"Origin": "https://elsewhere.test", "Sec-Fetch-Site": "cross-site"})
	d.call(http.StatusOK, ask{method: http.MethodGet, path: "/auth/session_status", token: session, header: root})
	d.call(http.StatusUnauthorized, ask{method: http.MethodGet, path: "/auth/session_status", token: session})
	d.call(http.StatusOK, ask{method: http.MethodPost, path: "/auth/logout", token: session, header: root})
	d.call(http.StatusUnauthorized, ask{method: http.MethodPost, path: "/auth/logout", token: session, header: root})
}

// wish is a registration of agent 1 that passes.
const wish = `{"agent_id":"agent-01","name":"Scanner","agent_type":"testing","endpoint":"http://127.0.0.1:9/agent","context_brief":"An agent of a test",
"capabilities":["testing","data-processing"],"owner":"Tests","public_key":"0123456789abcdef0123456789abcdef","metadata":{"a":[1,"b",true],"c":2.5},
"version":"1.0.0","communication_mode":"remote","features":["fast"],"max_tokens":10,"language_support":["en"],"rate_limit":5,"policy_tags":["x"],
"ai_context":"Say hello.","requirements":{"network_ports":["80",443],"schema_version":"1.0","required_fields":[{"name":"a","label":"A","type":"text"}]}}`

// registration goes the whole way of agent 1 and gives its token.
func (d *described) registration() string {
	ask1 := ask{method: http.MethodPost, path: "/auth/agent/request_temp_token",
		body: `{"agent_id":"agent-01","agent_type":"testing","agent_key":"key-of-agent-01"}`}
	temp := d.member(d.call(http.StatusOK, ask1), "temp_token")
	for _, path := range []string{ask1.path, "/auth/temp-token"} {
		d.call(http.StatusOK, ask{method: http.MethodPost, path: path, body: ask1.body})
		d.call(http.StatusUnauthorized, ask{method: http.MethodPost, path: path, body: `{"agent_id":"agent-01","agent_type":"testing","agent_key":"no"}`})
		d.call(http.StatusBadRequest, ask{method: http.MethodPost, path: path, body: `{"agent_id":"agent-01"}`})
		d.call(http.StatusUnprocessableEntity, ask{method: http.MethodPost, path: path, body: `{"agent_id":"a b","agent_type":"testing","agent_key":"no"}`})
	}
	const compliance = "/auth/agent/validate_compliance"
	check := `{"agent_id":"agent-01","agent_type":"testing","endpoint":"http://127.0.0.1:9/agent","capabilities":["testing"],"metadata":{}}`
	once := map[string]string{"Idempotency-Key": "k1"}
	passed := d.call(http.StatusOK, ask{method: http.MethodPost, path: compliance, token: temp, body: check, header: once})
	d.call(http.StatusOK, ask{method: http.MethodPost, path: compliance, token: temp, body: check, header: once})
	d.call(http.StatusConflict, ask{method: http.MethodPost, path: compliance, token: temp, header: once, body: strings.Replace(check, "remote", "local", 1)[:len(check)-1] + `,"version":"1.2.3"}`})
	d.call(http.StatusForbidden, ask{method: http.MethodPost, path: compliance, token: temp, body: strings.Replace(check, "agent-01", "agent-02", 1)})
	d.call(http.StatusUnprocessableEntity, ask{method: http.MethodPost, path: compliance, token: temp, body: strings.Replace(check, "http://", "ftp://", 1)})
	d.call(http.StatusUnauthorized, ask{method: http.MethodPost, path: compliance, body: check})
	validation := "/auth/agent/validation/" + d.member(passed, "validation_id")
	d.call(http.StatusOK, ask{method: http.MethodGet, path: validation, token: temp})
	d.call(http.StatusForbidden, ask{method: http.MethodGet, path: validation, token: d.m.temp(2)})
	d.call(http.StatusNotFound, ask{method: http.MethodGet, path: "/auth/agent/validation/val_0", token: temp})

	const register = "/agents/register"
	validated := d.member(passed, "validated_token")
	d.call(http.StatusUnauthorized, ask{method: http.MethodPost, path: register, body: wish})
	for _, change := range []struct{ from, to string }{
		{`"Scanner"`, `"S"`}, {`"1.0.0"`, `"1.0"`}, {`"remote"`, `"Remote"`}, {`"capabilities":[`, `"capabilities":["a.b",`},
		{`"metadata":{`, `"metadata":{"n":null,`}, {`"max_tokens":10`, `"max_tokens":0`}, {`["en"]`, `["english"]`}, {`443`, `70000`},
		{`"type":"text"`, `"type":"what"`}, {`"http://127.0.0.1:9/agent"`, `"http://me:pw@127.0.0.1/"`}, {`"owner":"Tests",`, ``}, {`"Scanner"`, `7`},
	} {
		d.call(http.StatusUnprocessableEntity, ask{method: http.MethodPost, path: register, token: temp, body: strings.Replace(wish, change.from, change.to, 1)})
	}
	d.call(http.StatusForbidden, ask{method: http.MethodPost, path: register, token: temp, body: strings.Replace(wish, "agent-01", "agent-02", 1)})
	agent := d.member(d.call(http.StatusOK, ask{method: http.MethodPost, path: register, token: validated, body: wish}), "access_token")
	d.call(http.StatusOK, ask{method: http.MethodPost, path: register, token: validated, body: wish}) // the same request again
	d.call(http.StatusConflict, ask{method: http.MethodPost, path: register, token: temp, body: strings.Replace(wish, "Scanner", "Other", 1)})
	d.m.register(2)
	return agent
}

// agents calls the registry with an agent's token.
func (d *described) agents(agent string) {
	get := func(want int, path string) {
		d.t.Helper()
		d.call(want, ask{method: http.MethodGet, path: path, token: agent})
	}
	post := func(want int, path, body string) {
		d.t.Helper()
		d.call(want, ask{method: http.MethodPost, path: path, token: agent, body: body})
	}
	const own, other, nobody = "/agents/agent-01", "/agents/agent-02", "/agents/nobody"
	get(200, "/agents")
	get(200, "/agents?limit=1&include_metrics=true&status=alive&capabilities=testing&agent_type=testing")
	get(422, "/agents?status=sleeping")
	d.call(401, ask{method: http.MethodGet, path: "/agents"})
	get(200, own)
	get(404, nobody)
	get(404, "/agents/%ff%00")
	get(422, own+"?include_metrics=maybe")
	post(200, own+"/heartbeat", "")
	post(403, other+"/heartbeat", "")
	d.call(404, ask{method: http.MethodPost, path: nobody + "/heartbeat", token: d.m.login(), header: map[string]string{"X-Client-Fingerprint": fingerprint}})
	post(200, own+"/metrics", `{"success_rate":0.5,"total_requests":4,"reputation_score":99999,"more":{}}`)
	post(422, own+"/metrics", `{"success_rate":2}`)
	post(403, other+"/metrics", `{}`)
	get(200, own+"/metrics")
	get(403, other+"/metrics")
	for _, path := range []string{"/agents/report-metrics/agent-01", own + "/metrics/compat"} {
		post(200, path+"?response_time=0.5&success=true", "")
		post(422, path, "")
	}
	post(403, "/agents/report-metrics/agent-02?response_time=1", "")
	post(200, "/agents/search", `{"query":"scanner","top_k":5,"min_similarity":0}`)
	post(422, "/agents/search", `{"query":"x"}`)
	post(422, "/agents/search", `{"query":"scanner","top_k":0}`)
	get(200, "/agents/search?query=scanner&top_k=2")
	get(422, "/agents/search?query=scanner&top_k=many")
	get(403, "/agents/stats")
	notify := `{"agent_id":"agent-01","agent_endpoint":"http://127.0.0.1:9/x","agent_info":{"a":1}}`
	post(502, other+"/connection/notify", notify) // the stub refuses each first time
	post(200, other+"/connection/notify", notify)
	post(404, nobody+"/connection/notify", notify)
	post(422, other+"/connection/notify", `{"agent_id":"agent-01","agent_endpoint":"x"}`)
	d.upgrade("/agents/ws", nil)
	d.call(http.StatusUpgradeRequired, ask{method: http.MethodGet, path: "/agents/ws"})
	get(200, "/agent-info")
	get(200, "/agent-info/agent-01")
	get(404, "/agent-info/nobody")
	d.call(200, ask{method: http.MethodDelete, path: other, token: d.m.login(), header: map[string]string{"X-Client-Fingerprint": fingerprint}})
	d.call(403, ask{method: http.MethodDelete, path: other, token: agent})
}

// public calls what anybody may.
func (d *described) public(string) {
	get := func(want int, path string) { d.t.Helper(); d.call(want, ask{method: http.MethodGet, path: path}) }
	post := func(want int, path, body string) {
		d.t.Helper()
		d.call(want, ask{method: http.MethodPost, path: path, body: body})
	}
	get(200, "/public/discover?limit=5&capabilities=testing")
	get(422, "/public/discover?limit=500")
	post(200, "/public/search", `{"query":"scanner"}`)
	post(422, "/public/search", `{"query":"scanner","capabilities":[]}`)
	get(200, "/public/agent/agent-01")
	get(404, "/public/agent/nobody")
	connect := `{"user_id":"me@example","user_endpoint":"http://127.0.0.1:9/me","additional_info":{"a":{"b":null}}}`
	post(502, "/public/connect/agent-01", connect)
	post(200, "/public/connect/agent-01", connect)
	post(404, "/public/connect/nobody", connect)
	post(422, "/public/connect/agent-01", `{"user_id":"me","user_endpoint":"nowhere"}`)
	d.upgrade("/public/ws", nil)
	d.call(http.StatusUpgradeRequired, ask{method: http.MethodGet, path: "/public/ws"})
}

// administration calls what administrators may.
func (d *described) administration(session string, root map[string]string) {
	get := func(want int, path string) {
		d.t.Helper()
		d.call(want, ask{method: http.MethodGet, path: path, token: session, header: root})
	}
	get(200, "/agents/stats")
	get(200, "/audit?limit=2")
	get(200, "/audit?limit=1000")
	get(422, "/audit?from=yesterday")
	get(400, "/audit?cursor=x")
	d.call(401, ask{method: http.MethodGet, path: "/audit"})
	get(200, "/dashboard/config")
	d.call(200, ask{method: http.MethodGet, path: "/dashboard/config", token: session})
	get(200, "/metrics")
	d.call(200, ask{method: http.MethodGet, path: "/metrics", token: "scrape-token-of-the-test"})
	d.call(401, ask{method: http.MethodGet, path: "/metrics"})
	d.call(200, ask{method: http.MethodGet, path: "/metrics/scrape", token: "scrape-token-of-the-test"})
	d.call(403, ask{method: http.MethodGet, path: "/metrics/scrape", token: "other"})
	for body, want := range map[string]int{
		`{"user_id":"me@example","agent_id":"agent-01","scopes":["arc.agent.caller"],"role":"agent"}`: 200,
		`{"user_id":"me@example","agent_id":"agent-01","role":"admin"}`:                               400,
		`{"user_id":"me example","agent_id":"agent-01"}`:                                              422,
	} {
		d.call(want, ask{method: http.MethodPost, path: "/tokens/mint", token: session, header: root, body: body})
	}
	for body, want := range map[string]int{`{"token_id":"x"}`: 200, `{"token":"not.a.token"}`: 400, `{}`: 400, `{"token_id":1}`: 422} {
		d.call(want, ask{method: http.MethodPost, path: "/tokens/revoke", token: session, header: root, body: body})
	}
}

// tokens calls what looks at tokens, and refreshes the agent's.
func (d *described) tokens(agent string) {
	const past = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZ2VudC0wMDEiLCJleHAiOjE3MDUzOTk4MDB9.signature"
	for token, want := range map[string]int{agent: 200, past: 401, "invalid.token.format": 401, "": 400} {
		d.call(want, ask{method: http.MethodPost, path: "/auth/validate", body: `{"token":"` + token + `"}`})
	}
	d.call(422, ask{method: http.MethodPost, path: "/auth/validate", body: `{"token":[]}`})
	d.call(200, ask{method: http.MethodGet, path: "/tokens/validate", token: agent})
	d.call(401, ask{method: http.MethodGet, path: "/tokens/validate", token: past})
	d.call(401, ask{method: http.MethodGet, path: "/tokens/validate"})
	d.call(200, ask{method: http.MethodPost, path: "/tokens/validate?token=" + url.QueryEscape(agent)})
	d.call(200, ask{method: http.MethodPost, path: "/tokens/validate", body: `{"token":"` + agent + `"}`})
	d.call(401, ask{method: http.MethodPost, path: "/tokens/validate?token=x"})
	d.call(200, ask{method: http.MethodPost, path: "/tokens/refresh", token: agent})
	d.call(401, ask{method: http.MethodPost, path: "/tokens/refresh", token: agent}) // it is revoked now
	d.call(403, ask{method: http.MethodPost, path: "/tokens/refresh", token: d.m.temp(3)})
}

// oauth calls the token service.
func (d *described) oauth() {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	secret := "&client_id=root&client_secret=" + url.QueryEscape("correct horse")
	grant := d.call(200, ask{method: http.MethodPost, path: "/oauth/token", header: form, body: "grant_type=client_credentials" + secret})
	d.call(401, ask{method: http.MethodPost, path: "/oauth/token", header: form, body: "grant_type=client_credentials&client_id=root&client_secret=wrong"})
	d.call(400, ask{method: http.MethodPost, path: "/oauth/token", header: form, body: "grant_type=password" + secret})
	d.call(200, ask{method: http.MethodPost, path: "/oauth/revoke", header: form, body: "token=" + d.member(grant, "access_token") + secret})
	d.call(400, ask{method: http.MethodPost, path: "/oauth/revoke", header: form, body: "a=b" + secret})
}

// arc calls the ARC endpoint.
func (d *described) arc(session, revoked string) {
	agent := d.m.register(4)
	for body, want := range map[string]int{
		arcCall("task.info", "nobody", `{"taskId":"x"}`):            403,
		`{"jsonrpc":"2.0","id":1,"method":"no.method","params":{}}`: 200,
		`{`:                    400,
		`{"arc":"1.0","id":1}`: 400,
	} {
		d.call(want, ask{method: http.MethodPost, path: "/arc", token: agent, body: body})
	}
	d.call(401, ask{method: http.MethodPost, path: "/arc", body: arcCall("task.info", "nobody", `{"taskId":"x"}`)})
	d.call(401, ask{method: http.MethodPost, path: "/arc", token: revoked, body: arcCall("task.info", "nobody", `{"taskId":"x"}`)})
	d.call(415, ask{method: http.MethodPost, path: "/arc", token: agent, body: "{}", header: map[string]string{"Content-Type": "text/plain"}})
	d.call(405, ask{method: http.MethodGet, path: "/arc", token: agent})
	d.upgrade("/arc", http.Header{"Authorization": {"Bearer " + agent}})
}

// member reads a text out of an answer.
func (d *described) member(r reply, name string) string {
	d.t.Helper()
	var answer map[string]any
	fatal(d.t, json.Unmarshal([]byte(r.body), &answer))
	value, _ := answer[name].(string)
	if value == "" {
		d.t.Fatalf("%s is missing: %s", name, r.body)
	}
	return value
}

// complete sees that every operation has been called with success, unless it has
// none.
func (d *described) complete() {
	for name, op := range d.ops {
		good := false
		for status := range op["responses"].(map[string]any) {
			if status < "300" {
				good = true
			}
		}
		reached := false
		for status := range d.seen[name] {
			reached = reached || status < 300 || !good
		}
		if !reached {
			d.t.Errorf("%s was never called with success", name)
		}
	}
}
