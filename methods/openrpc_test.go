package methods_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
)

// The OpenRPC document lists exactly the methods there are, with their scopes,
// and real params and answers fit its schemas.
func TestOpenRPC(t *testing.T) {
	w := start(t, methods.Config{Version: "1.2.3"})
	var doc struct {
		Info    struct{ Version string }
		Methods []struct {
			Name   string
			Scopes []string `json:"x-scopes"`
		}
	}
	raw := w.must(alice(), "rpc.discover", "", m{})
	if err := json.Unmarshal(raw, &doc); err != nil || doc.Info.Version != "1.2.3" {
		t.Fatalf("document: version %q, %v", doc.Info.Version, err)
	}
	table := w.s.Mux().Methods()
	if len(table) != len(doc.Methods) {
		t.Errorf("%d methods documented, %d served", len(doc.Methods), len(table))
	}
	for _, served := range table {
		i := slices.IndexFunc(doc.Methods, func(d struct {
			Name   string
			Scopes []string `json:"x-scopes"`
		}) bool {
			return d.Name == served.Name
		})
		if i < 0 || !slices.Equal(doc.Methods[i].Scopes, served.Scopes) {
			t.Errorf("%s is not documented as it is served", served.Name)
		}
	}

	schema := compile(t, raw)
	task := w.create("input", "x")
	w.until(task, arc.TaskInputRequired)
	failed := w.create("fail", "x")
	w.until(failed, arc.TaskFailed)
	check := func(name string, value []byte) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema(name).Validate(v); err != nil {
			t.Errorf("%s does not fit %s: %v", value, name, err)
		}
	}
	check("TaskResult", w.must(alice(), "task.create", "idle", m{"initialMessage": text("x"), "metadata": m{"deadline": "2099-01-01T00:00:00Z"}}))
	check("TaskResult", w.must(alice(), "task.create", "idle", m{"initialMessage": text("x"), "dryRun": true}))
	check("TaskResult", w.must(alice(), "task.info", "", m{"taskId": task}))
	check("TaskResult", w.must(alice(), "task.info", "", m{"taskId": failed}))
	check("SuccessResult", w.must(alice(), "task.send", "", m{"taskId": task, "message": text("x")}))
	w.until(task, arc.TaskCompleted)
	check("TaskResult", w.must(alice(), "task.info", "", m{"taskId": task}))
	check("EventList", w.must(alice(), "task.events", "", m{"taskId": task}))
	check("TaskList", w.must(alice(), "task.list", "", m{"limit": 2}))
	check("TaskResult", w.must(alice(), "task.cancel", "", m{"taskId": w.create("idle", "x")}))
	check("ChatResult", w.must(alice(), "chat.start", "echo", m{"chatId": "c", "initialMessage": text("x"), "metadata": m{}}))
	check("ChatResult", w.must(alice(), "chat.message", "", m{"chatId": "c", "message": text("x")}))
	check("ChatResult", w.must(alice(), "chat.end", "", m{"chatId": "c"}))

	c := call("chat.start", "stream")
	c.Streaming, c.Principal, c.Dialect = true, alice(), arc.JSONRPC
	c.Params, _ = json.Marshal(m{"stream": true, "initialMessage": text("2")})
	result, err := w.s.Mux().Dispatch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for ev := range result.(rpc.Stream) {
		b, _ := json.Marshal(ev.Data)
		check(map[string]string{"stream": "ChatChunk", "done": "StreamDone", "error": "StreamError"}[ev.Name], b)
	}
}

// compile makes the document's schemas callable by name.
func compile(t *testing.T, doc []byte) func(name string) *jsonschema.Schema {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:openrpc.json", value); err != nil {
		t.Fatal(err)
	}
	return func(name string) *jsonschema.Schema {
		t.Helper()
		s, err := c.Compile("mem:openrpc.json#/components/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}
