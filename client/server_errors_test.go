package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
)

// allClasses are the classes of errors, and of which other they are a part.
var allClasses = map[arc.Class]arc.Class{
	arc.ErrAuthentication: "", arc.ErrExpired: arc.ErrAuthentication, arc.ErrPermission: "", arc.ErrScope: arc.ErrPermission,
	arc.ErrNotFound: "", arc.ErrConflict: "", arc.ErrInvalid: "", arc.ErrRateLimited: "", arc.ErrTimeout: "",
	arc.ErrUnavailable: "", arc.ErrInternal: "",
}

// isOnly checks that err is of this class, and of no other but the one that it is
// a part of.
func isOnly(t *testing.T, label string, err error, class arc.Class) {
	t.Helper()
	for other := range allClasses {
		if is, should := errors.Is(err, other), other == class || other == allClasses[class]; is != should {
			t.Errorf("%s: errors.Is(%v, %q) = %v", label, err, other, is)
		}
	}
}

// failed gives the error of a call.
func failed[T any](_ T, err error) error { return err }

// cut gives the first error of a stream.
func cut(events iter.Seq2[client.Event, error]) error {
	_, _, err := drain(events)
	return err
}

// failure is an error and the class that it should be of.
type failure struct {
	err   error
	class arc.Class
}

// TestErrorClassesOfTheServer provokes every class for real, on both faces of the
// server.
func TestErrorClassesOfTheServer(t *testing.T) {
	w := start(t, nil)
	for label, f := range w.arcFailures(t.Context()) {
		isOnly(t, label, f.err, f.class)
	}
	for label, f := range w.registryFailures(t.Context()) {
		isOnly(t, label, f.err, f.class)
	}
}

// expired gives a client whose token has been over for an hour.
func (w *world) expired() *client.Client {
	return w.with(client.StaticToken(w.token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})))
}

// forged gives a token whose signature is not that of its issuer.
func (w *world) forged() string {
	token := w.token(nil)
	return token[:len(token)-8] + strings.Repeat("A", 8)
}

// arcFailures are those of the ARC endpoint.
func (w *world) arcFailures(ctx context.Context) map[string]failure {
	expired, good := w.expired(), w.client()
	list := func(c *client.Client) error { return failed(c.ListTasks(ctx, "echo", arc.ListTasksParams{})) }
	hi := arc.CreateTaskParams{InitialMessage: text("hi"), IdempotencyKey: "once"}
	other := arc.CreateTaskParams{InitialMessage: text("something else"), IdempotencyKey: "once"}
	task, err := good.CreateTask(ctx, "echo", hi)
	must(w.t, err)
	_, err = good.WaitTask(ctx, "echo", client.WaitTaskParams{TaskID: task.ID})
	must(w.t, err)
	scopeless := w.with(client.StaticToken(w.token(map[string]any{"scope": "arc.agent.caller"})))
	somebody := w.with(client.StaticToken(w.token(map[string]any{"agent_id": "somebody-else"})))
	chat := arc.StartChatParams{InitialMessage: text("hi")}
	return map[string]failure{
		"expired":        {list(expired), arc.ErrExpired},
		"forged":         {list(w.with(client.StaticToken(w.forged()))), arc.ErrAuthentication},
		"no token":       {list(w.with(nil)), arc.ErrAuthentication},
		"no scope":       {list(scopeless), arc.ErrScope},
		"other agent":    {list(somebody), arc.ErrPermission},
		"unknown agent":  {failed(good.StartChat(ctx, "nobody", chat)), arc.ErrNotFound},
		"unknown method": {good.Call(ctx, "task.destroy", "echo", nil, nil), arc.ErrNotFound},
		"unknown task":   {failed(good.GetTask(ctx, "echo", arc.GetTaskParams{TaskID: "task-0"})), arc.ErrNotFound},
		"unknown chat":   {failed(good.EndChat(ctx, "echo", arc.EndChatParams{ChatID: "chat-0"})), arc.ErrNotFound},
		"no message":     {failed(good.CreateTask(ctx, "echo", arc.CreateTaskParams{})), arc.ErrInvalid},
		"key used again": {failed(good.CreateTask(ctx, "echo", other)), arc.ErrInvalid},
		"ended task":     {good.SendTask(ctx, "echo", arc.SendTaskParams{TaskID: task.ID, Message: text("x")}), arc.ErrConflict},
		"nobody serves":  {failed(good.StartChat(ctx, "idle", chat)), arc.ErrUnavailable},

		"stream, expired":      {cut(expired.StreamChat(ctx, "echo", chat)), arc.ErrExpired},
		"stream, unknown task": {cut(good.TaskEvents(ctx, "echo", arc.TaskEventsParams{TaskID: "task-0"})), arc.ErrNotFound},
		"stream, unknown chat": {cut(good.ResumeChat(ctx, "echo", "chat-0", 7)), arc.ErrNotFound},
		"stream, gap":          {cut(good.TaskEvents(ctx, "echo", arc.TaskEventsParams{TaskID: task.ID, After: 1 << 40})), arc.ErrInvalid},
	}
}

// registryFailures are those of the registry API and the pages.
func (w *world) registryFailures(ctx context.Context) map[string]failure {
	good, nobody := w.client(), w.with(nil)
	list := func(c *client.Client) error { return failed(c.ListAgents(ctx, client.AgentFilter{})) }
	_, err := nobody.Enroll(ctx, client.EnrollParams{Key: agentKey, Registration: registration()})
	must(w.t, err)
	return map[string]failure{
		"registry, expired":       {list(w.expired()), arc.ErrExpired},
		"registry, forged":        {list(w.with(client.StaticToken(w.forged()))), arc.ErrAuthentication},
		"registry, no token":      {list(nobody), arc.ErrAuthentication},
		"registry, token judged":  {failed(good.ValidateToken(ctx, w.forged())), arc.ErrAuthentication},
		"registry, no admin":      {failed(good.GetAgentStats(ctx)), arc.ErrPermission},
		"registry, unknown agent": {failed(good.GetAgent(ctx, "nobody")), arc.ErrNotFound},
		"registry, bad search":    {failed(good.SearchAgents(ctx, arc.SearchParams{})), arc.ErrInvalid},
		"registry, bad page":      {failed(good.ListAgents(ctx, client.AgentFilter{Status: "asleep"})), arc.ErrInvalid},
		"registry, id of dots":    {failed(good.GetAgent(ctx, "..")), arc.ErrInvalid},
		"registry, no id":         {failed(good.UnregisterAgent(ctx, "")), arc.ErrInvalid},
		"page, unknown agent":     {failed(good.GetAgentCard(ctx, "a b/c?d")), arc.ErrNotFound},
		"registry, bad key":       {failed(nobody.Enroll(ctx, client.EnrollParams{Key: "wrong", Registration: registration()})), arc.ErrAuthentication},
		"registry, alive already": {failed(nobody.Enroll(ctx, client.EnrollParams{Key: agentKey, Registration: registration()})), arc.ErrConflict},
		"registry, bad password":  {failed((&client.Client{URL: w.url, Fingerprint: "x"}).Login(ctx, adminName, "wrong")), arc.ErrAuthentication},
	}
}

// TestErrorsTellMore: besides the class, when a token expired and which scopes are
// missing.
func TestErrorsTellMore(t *testing.T) {
	w := start(t, nil)
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	expired := w.with(client.StaticToken(w.token(map[string]any{"exp": at.Unix()})))
	for label, err := range map[string]error{
		"arc":      failed(expired.ListTasks(t.Context(), "echo", arc.ListTasksParams{})),
		"registry": failed(expired.ListAgents(t.Context(), client.AgentFilter{})),
	} {
		e, ok := errors.AsType[*arc.Error](err)
		if !ok || e.Status != http.StatusUnauthorized || e.Details["request_id"] == nil {
			t.Errorf("%s, expired: %#v, want status 401 and request_id", label, err)
			continue
		}
		said, _ := e.Details["expired_at"].(string)
		if got, err := time.Parse(time.RFC3339, said); err != nil || !got.Equal(at) {
			t.Errorf("%s: expired_at is %q, want %s", label, said, at)
		}
	}
	poor := w.with(client.StaticToken(w.token(map[string]any{"scope": "arc.agent.caller"})))
	e, ok := errors.AsType[*arc.Error](failed(poor.ListTasks(t.Context(), "echo", arc.ListTasksParams{})))
	if !ok || e.Status != http.StatusForbidden || fmt.Sprint(e.Details["required_scopes"]) == "<nil>" {
		t.Errorf("a token without scope: %#v, want status 403 and required_scopes", e)
	}
}

// TestOneStreamTooMany: the refusal is temporary, so the client comes back until
// the place is free.
func TestOneStreamTooMany(t *testing.T) {
	w := start(t, func(w *world) { w.limits = server.Limits{StreamsPerSubject: 1} })
	c := w.client()
	task, err := c.CreateTask(t.Context(), "idle", arc.CreateTaskParams{InitialMessage: text("hi")})
	must(t, err)
	p := arc.TaskEventsParams{TaskID: task.ID}
	for _, err := range c.TaskEvents(t.Context(), "idle", p) {
		must(t, err)
		hasty := w.client()
		hasty.Retries = -1
		_, _, err := drain(hasty.TaskEvents(t.Context(), "idle", p))
		isOnly(t, "one stream too many", err, arc.ErrRateLimited)
		break
	}
	no := false
	p.Follow = &no
	if _, n, err := drain(c.TaskEvents(t.Context(), "idle", p)); err != nil || n < 2 {
		t.Errorf("once there is room: %d events, %v", n, err)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close()) // nobody listens there now
	c := &client.Client{URL: "http://" + l.Addr().String(), Attempts: 1}
	_, err = c.GetTask(t.Context(), "echo", arc.GetTaskParams{TaskID: "t"})
	isOnly(t, "no server", err, arc.ErrUnavailable)
	_, err = c.GetHealth(t.Context())
	isOnly(t, "no server", err, arc.ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.GetHealth(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is canceled: %v", err)
	}
}

// TestAgentsThatFail: one that breaks, and one that takes longer than its caller
// waits.
func TestAgentsThatFail(t *testing.T) {
	agent := func(run methods.RunnerFunc) methods.Agent { return methods.Agent{Runner: run} }
	w := start(t, func(w *world) {
		w.agents["broken"] = agent(func(context.Context, *methods.Turn) error { return errors.New("out of paper") })
		w.agents["endless"] = agent(func(ctx context.Context, _ *methods.Turn) error {
			<-ctx.Done()
			return ctx.Err()
		})
	})
	c := w.client()
	p := arc.StartChatParams{InitialMessage: text("hi")}
	isOnly(t, "a broken agent", failed(c.StartChat(t.Context(), "broken", p)), arc.ErrInternal)
	isOnly(t, "a broken agent's stream", cut(c.StreamChat(t.Context(), "broken", p)), arc.ErrInternal)
	for label, call := range map[string]func(context.Context) error{
		"whole":  func(ctx context.Context) error { return failed(c.StartChat(ctx, "endless", p)) },
		"stream": func(ctx context.Context) error { return cut(c.StreamChat(ctx, "endless", p)) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := call(ctx)
		cancel()
		isOnly(t, label, err, arc.ErrTimeout)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want the context's error in it", label, err)
		}
	}
}
