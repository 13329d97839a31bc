package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// seen is what a served request held.
type seen struct {
	header http.Header
	body   map[string]any
}

// serve answers each call with answer, in which $ID stands for the call's id.
// It keeps what it saw.
func serve(t testing.TB, status int, header map[string]string, answer string) (*client.Client, *seen) {
	t.Helper()
	last := &seen{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		last.header, last.body = r.Header, nil
		_ = json.Unmarshal(b, &last.body)
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, strings.ReplaceAll(answer, "$ID", fmt.Sprintf("%q", last.body["id"])))
	}))
	t.Cleanup(web.Close)
	return &client.Client{URL: web.URL + "/arc", Token: client.StaticToken("tok"), Agent: "me", TraceID: "w"}, last
}

const arcTask = `{"arc":"1.0","id":$ID,"responseAgent":"a","targetAgent":"me","result":{"type":"task","task":{"taskId":"t","status":"WORKING"}},"error":null}`

func text(s string) *arc.Message {
	m := arc.Text(arc.RoleUser, s)
	return &m
}

func TestEnvelopes(t *testing.T) {
	c, last := serve(t, 200, nil, arcTask)
	task, err := c.CreateTask(t.Context(), "echo", arc.CreateTaskParams{InitialMessage: text("hi")})
	if err != nil || task.ID != "t" || task.Status != arc.TaskWorking {
		t.Fatalf("CreateTask = %+v, %v", task, err)
	}
	delete(last.body, "id")
	want := map[string]any{
		"arc": "1.0", "method": "task.create", "requestAgent": "me", "targetAgent": "echo", "traceId": "w",
		"params": map[string]any{"initialMessage": map[string]any{
			"role": "user", "parts": []any{map[string]any{"type": "TextPart", "content": "hi"}},
		}},
	}
	if diff := cmp.Diff(want, last.body); diff != "" {
		t.Errorf("the ARC envelope (-want +got):\n%s", diff)
	}
	if got := last.header.Get("Authorization"); got != "Bearer tok" {
		t.Errorf("Authorization is %q", got)
	}

	c, last = serve(t, 200, nil, `{"jsonrpc":"2.0","id":$ID,"result":{"success":true}}`)
	c.JSONRPC, c.Agent, c.TraceID, c.Token = true, "", "", nil
	if err := c.SendTask(t.Context(), "", arc.SendTaskParams{TaskID: "t", Message: text("hi")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"requestAgent", "targetAgent", "traceId", "arc"} {
		if v, ok := last.body[name]; ok {
			t.Errorf("the JSON-RPC envelope has %s = %v, want it left out", name, v)
		}
	}
	if _, ok := last.header["Authorization"]; ok {
		t.Error("an Authorization without a token")
	}
}

func TestCalls(t *testing.T) {
	chat := `{"arc":"1.0","id":$ID,"result":{"type":"chat","chat":{"chatId":"c","status":"ACTIVE"}}}`
	list := `{"arc":"1.0","id":$ID,"result":{"type":"tasks","tasks":[{"taskId":"t","status":"WORKING"}]}}`
	for method, c := range map[string]struct {
		answer string
		call   func(*client.Client) (string, error)
	}{
		"task.info": {arcTask, func(c *client.Client) (string, error) {
			task, err := c.GetTask(t.Context(), "a", arc.GetTaskParams{TaskID: "t"})
			return task.ID, err
		}},
		"task.cancel": {arcTask, func(c *client.Client) (string, error) {
			task, err := c.CancelTask(t.Context(), "a", arc.CancelTaskParams{TaskID: "t"})
			return task.ID, err
		}},
		"task.list": {list, func(c *client.Client) (string, error) {
			list, err := c.ListTasks(t.Context(), "a", arc.ListTasksParams{})
			return list.Tasks[0].ID, err
		}},
		"chat.start": {chat, func(c *client.Client) (string, error) {
			chat, err := c.StartChat(t.Context(), "a", arc.StartChatParams{InitialMessage: text("x"), Stream: true})
			return chat.ID, err
		}},
		"chat.message": {chat, func(c *client.Client) (string, error) {
			chat, err := c.SendChat(t.Context(), "a", arc.SendChatParams{ChatID: "c", Message: text("x"), Stream: true})
			return chat.ID, err
		}},
		"chat.end": {chat, func(c *client.Client) (string, error) {
			chat, err := c.EndChat(t.Context(), "a", arc.EndChatParams{ChatID: "c"})
			return chat.ID, err
		}},
	} {
		web, last := serve(t, 200, nil, c.answer)
		id, err := c.call(web)
		if err != nil || id != "t" && id != "c" {
			t.Errorf("%s = %q, %v", method, id, err)
		}
		if last.body["method"] != method {
			t.Errorf("%s went out as %v", method, last.body["method"])
		}
		if p := last.body["params"].(map[string]any); p["stream"] != nil {
			t.Errorf("%s asks for a stream", method)
		}
	}
}

func TestErrorsAreTypedAtAnyStatus(t *testing.T) {
	for label, c := range map[string]struct {
		status int
		answer string
		code   arc.Code
	}{
		"ARC at 200":      {200, `{"arc":"1.0","id":$ID,"result":null,"error":{"code":-42001,"message":"m","details":{"taskId":"t"}}}`, -42001},
		"ARC at 401":      {401, `{"arc":"1.0","id":$ID,"result":null,"error":{"code":-44004,"message":"m","details":{"taskId":"t"}}}`, -44004},
		"JSON-RPC":        {200, `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32602,"message":"m","data":{"taskId":"t"}}}`, -32602},
		"id not readable": {400, `{"arc":"1.0","id":"error","result":null,"error":{"code":-32700,"message":"m","details":{"taskId":"t"}}}`, -32700},
		"at the top":      {404, `{"code":-32601,"message":"m","details":{"taskId":"t"}}`, -32601},
	} {
		web, _ := serve(t, c.status, map[string]string{"Retry-After": "7"}, c.answer)
		_, err := web.GetTask(t.Context(), "a", arc.GetTaskParams{TaskID: "t"})
		e, ok := errors.AsType[*arc.Error](err)
		if !ok || e.Code != c.code || e.Message != "m" || e.Details["taskId"] != "t" || e.RetryAfter != 7*time.Second {
			t.Errorf("%s: %#v, want code %d with all that came with it", label, err, c.code)
		}
	}
}

// TestProblemDocuments: what answers at a wrong address says why too.
func TestProblemDocuments(t *testing.T) {
	for kind, code := range map[string]arc.Code{
		"https://arcp.0x001.tech/docs/problems/not-found": arc.CodeMethodNotFound, "token-invalid": arc.CodeTokenInvalid, "odd": arc.CodeInternal,
	} {
		web, _ := serve(t, 404, map[string]string{"Retry-After": "7"}, `{"type":"`+kind+`","status":404,"detail":"m","error_code":"NOT_FOUND"}`)
		_, err := web.GetTask(t.Context(), "a", arc.GetTaskParams{TaskID: "t"})
		e, ok := errors.AsType[*arc.Error](err)
		if !ok || e.Code != code || e.Message != "m" || e.Reason() != "not_found" || e.RetryAfter != 7*time.Second {
			t.Errorf("%s: %#v, want code %d with all that came with it", kind, err, code)
		}
	}
}

func TestUnusableAnswers(t *testing.T) {
	for label, c := range map[string]struct {
		status int
		answer string
		want   string
	}{
		"a proxy's page":    {502, `<html>`, "HTTP status 502"},
		"no JSON":           {200, ``, "HTTP status 200"},
		"a foreign status":  {503, `{}`, "HTTP status 503"},
		"another call":      {200, `{"arc":"1.0","id":"x","result":{}}`, "for another call"},
		"another envelope":  {200, `{"jsonrpc":"2.0","id":$ID,"result":{}}`, "another envelope"},
		"nothing":           {200, `{"arc":"1.0","id":$ID,"result":null,"error":null}`, "neither a result nor an error"},
		"a foreign result":  {200, `{"arc":"1.0","id":$ID,"result":{"task":7}}`, "decoding the result of task.info"},
		"no task":           {200, `{"arc":"1.0","id":$ID,"result":{}}`, "neither a result nor an error"},
		"too large":         {200, strings.Repeat(" ", 2000), "larger than"},
		"two of one member": {200, `{"arc":"1.0","arc":"1.0","id":$ID,"result":{}}`, "HTTP status 200"},
	} {
		web, _ := serve(t, c.status, nil, c.answer)
		web.MaxAnswer = 1000
		_, err := web.GetTask(t.Context(), "a", arc.GetTaskParams{TaskID: "t"})
		if _, typed := errors.AsType[*arc.Error](err); err == nil || typed || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", label, err, c.want)
		}
	}
	broken := &client.Client{URL: "http://127.0.0.1:0"}
	if err := broken.Call(t.Context(), "m", "a", nil, nil); err == nil || !strings.HasPrefix(err.Error(), "calling m: ") {
		t.Errorf("no server: %v", err)
	}
}

// streams answers each connection with the next of these bodies.
func streams(t testing.TB, bodies ...string) (*client.Client, *[]seen) {
	t.Helper()
	var all []seen
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		one := seen{header: r.Header}
		_ = json.Unmarshal(b, &one.body)
		all = append(all, one)
		body := bodies[min(len(all), len(bodies))-1]
		if status, rest, ok := strings.Cut(body, "!"); ok {
			var code int
			_, _ = fmt.Sscan(status, &code)
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(code)
			fmt.Fprint(w, rest)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, body)
	}))
	t.Cleanup(web.Close)
	return &client.Client{URL: web.URL, Retries: 1}, &all
}

func chunk(seq int, s string) string {
	return fmt.Sprintf("event: stream\nid: %d\ndata: {\"chatId\":\"c\",\"message\":{\"role\":\"agent\",\"parts\":[{\"type\":\"TextPart\",\"content\":%q}]}}\n\n", seq, s)
}

const done = "event: done\nid: 9\ndata: {\"chatId\":\"c\",\"status\":\"ACTIVE\",\"done\":true}\n\n"

// read gives the texts of a chat's stream and its errors.
func read(ctx context.Context, c *client.Client) (all string, errs []error) {
	for ev, err := range c.StreamChat(ctx, "a", arc.StartChatParams{InitialMessage: text("x")}) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var part arc.ChatChunk
		if err := ev.Decode(&part); err != nil {
			errs = append(errs, err)
		}
		all += part.Message.Text()
		if ev.Name == "done" {
			all += "."
		}
	}
	return all, errs
}

func TestStreamResumes(t *testing.T) {
	c, all := streams(t, chunk(2, "a")+"event: stream\nid: 3\ndata: {\"cha", "", chunk(3, "b")+chunk(4, "c"), chunk(5, "d")+done)
	c.Retries = 2
	got, errs := read(t.Context(), c)
	if got != "abcd." || errs != nil {
		t.Errorf("got %q, %v; want abcd.", got, errs)
	}
	for i, want := range []string{"", "2", "2", "4"} {
		one := (*all)[i]
		if id := one.header.Get("Last-Event-ID"); id != want {
			t.Errorf("connection %d has Last-Event-ID %q, want %q", i, id, want)
		}
		if i > 0 && (one.body["method"] != "chat.message" || one.body["params"].(map[string]any)["message"] != nil) {
			t.Errorf("connection %d said something again: %v", i, one.body)
		}
	}
}

func TestStreamGivesUp(t *testing.T) {
	refused := `404!{"arc":"1.0","id":"x","result":null,"error":{"code":-43001,"message":"m","details":{}}}`
	for label, c := range map[string]struct {
		bodies      []string
		text        string
		code        arc.Code // 0: not an arc.Error
		connections int
	}{
		"cut before the first event":    {[]string{": keep-alive\n\n"}, "", 0, 1},
		"refused":                       {[]string{refused}, "", -43001, 1},
		"refused when resumed":          {[]string{chunk(2, "a"), refused}, "a", -43001, 2},
		"nothing new after two retries": {[]string{chunk(2, "a"), ""}, "a", 0, 2},
		"answered whole":                {[]string{`200!{"arc":"1.0","id":"x","result":{}}`}, "", 0, 1},
	} {
		web, all := streams(t, c.bodies...)
		got, errs := read(t.Context(), web)
		if got != c.text || len(errs) != 1 || len(*all) != c.connections {
			t.Errorf("%s: %q, %v in %d connections; want %q, one error, %d", label, got, errs, len(*all), c.text, c.connections)
			continue
		}
		e, _ := errors.AsType[*arc.Error](errs[0])
		if (e != nil) != (c.code != 0) || e != nil && e.Code != c.code {
			t.Errorf("%s: %v, want code %d", label, errs[0], c.code)
		}
	}
}

func TestErrorEvent(t *testing.T) {
	c, _ := streams(t, chunk(2, "a")+"event: error\nid: 3\ndata: {\"chatId\":\"c\",\"error\":{\"code\":-41006,\"message\":\"m\",\"details\":{}}}\n\n"+done)
	got, errs := read(t.Context(), c)
	if got != "a." || len(errs) != 1 || arc.CodeOf(errs[0]) != arc.CodeAgentTimeout {
		t.Errorf("got %q, %v; want the text, the error, and done", got, errs)
	}
}

func TestLeavingAStreamEarly(t *testing.T) {
	c, _ := streams(t, chunk(2, "a")+chunk(3, "b")+done)
	for range c.StreamMessage(t.Context(), "a", arc.SendChatParams{ChatID: "c", Message: text("x")}) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, errs := read(ctx, c); got != "" || len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Errorf("a canceled stream gave %q, %v", got, errs)
	}
}

// TestUnusableAddresses: they are the caller's mistake, so nothing is tried and no
// token asked for.
func TestUnusableAddresses(t *testing.T) {
	for _, url := range []string{"", "/arc", "arc.test/arc", "localhost:8001/arc", "ftp://arc.test/arc", "http://", "https://[::1", "https://a b/arc"} {
		source := &serial{}
		web := over(func(r *http.Request) (*http.Response, error) {
			t.Errorf("%q: a request to %s", url, r.URL)
			return says(r, 404, ""), nil
		})
		web.URL, web.Token, web.Attempts = url, source, 0
		_, err := web.GetTask(t.Context(), "a", arc.GetTaskParams{TaskID: "t"})
		_, err2 := web.GetHealth(t.Context())
		for _, err := range []error{err, err2} {
			if !errors.Is(err, arc.ErrInvalid) || errors.Is(err, arc.ErrUnavailable) {
				t.Errorf("%q: %v, want ErrInvalid", url, err)
			}
		}
	}
}

// TestNoBound: the largest number is a bound too.
func TestNoBound(t *testing.T) {
	c, _ := serve(t, 200, nil, arcTask)
	c.MaxAnswer = math.MaxInt64
	if _, err := c.GetTask(t.Context(), "a", arc.GetTaskParams{TaskID: "t"}); err != nil {
		t.Error(err)
	}
}

// TestWaitToTheEnd: a wait by polls uses the time that its context gives it.
func TestWaitToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		web := over(func(r *http.Request) (*http.Response, error) {
			body, _ := r.GetBody()
			sent, _ := io.ReadAll(body)
			switch {
			case strings.Contains(string(sent), "task.events"):
				return says(r, 200, `{"arc":"1.0","id":$ID,"error":{"code":-32601,"message":"m"}}`), nil
			case time.Since(begin) > 9*time.Second:
				return says(r, 200, strings.Replace(arcTask, "WORKING", "COMPLETED", 1)), nil
			}
			return says(r, 200, arcTask), nil
		})
		for limit, class := range map[time.Duration]arc.Class{8 * time.Second: arc.ErrTimeout, 10 * time.Second: ""} {
			begin = time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			_, err := web.WaitTask(ctx, "a", client.WaitTaskParams{TaskID: "t"})
			cancel()
			if took := time.Since(begin); (err == nil) != (class == "") || err != nil && !errors.Is(err, class) || took < limit-time.Second {
				t.Errorf("within %v: %v after %v", limit, err, took)
			}
		}
	})
}

// TestSubscriptions: the two methods about events that are sent.
func TestSubscriptions(t *testing.T) {
	c, last := serve(t, 200, nil, `{"arc":"1.0","id":$ID,"result":{"type":"subscription","subscription":{"subscriptionId":"s","taskId":"t",
		"callbackUrl":"https://h.example","events":["TASK_FAILED"],"createdAt":"2026-05-04T10:15:00.000Z","active":true}}}`)
	at := arc.At(time.Date(2026, 5, 4, 10, 15, 0, 0, time.UTC))
	got, err := c.SubscribeTask(t.Context(), "a", arc.SubscribeTaskParams{TaskID: "t", CallbackURL: "https://h.example", Events: []arc.EventType{arc.TaskFailedEvent}})
	want := &arc.Subscription{ID: "s", TaskID: "t", CallbackURL: "https://h.example", Events: []arc.EventType{arc.TaskFailedEvent}, Created: at, Active: true}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	params := map[string]any{"taskId": "t", "callbackUrl": "https://h.example", "events": []any{"TASK_FAILED"}}
	if diff := cmp.Diff(params, last.body["params"]); diff != "" || last.body["method"] != "task.subscribe" {
		t.Errorf("%v (-want +got):\n%s", last.body["method"], diff)
	}

	err = c.NotifyTask(t.Context(), "a", arc.NotifyTaskParams{TaskID: "t", Event: arc.TaskStartedEvent, At: at, Data: arc.EventData{Status: "WORKING", Message: "m"}})
	params = map[string]any{
		"taskId": "t", "event": "TASK_STARTED", "timestamp": "2026-05-04T10:15:00.000Z", "data": map[string]any{"status": "WORKING", "message": "m"},
	}
	if diff := cmp.Diff(params, last.body["params"]); diff != "" || last.body["method"] != "task.notification" || err != nil {
		t.Errorf("%v, %v (-want +got):\n%s", last.body["method"], err, diff)
	}
}
