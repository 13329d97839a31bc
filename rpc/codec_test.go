package rpc_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
)

const goodARC = `{"arc":"1.0","id":1,"method":"m","requestAgent":"a","targetAgent":"b","params":{}}`

// one decodes a body that holds one call.
func one(t *testing.T, body string) rpc.Item {
	t.Helper()
	batch := rpc.Decode([]byte(body), rpc.Limits{})
	if len(batch.Items) != 1 {
		t.Fatalf("Decode(%s) gave %d items, want 1", body, len(batch.Items))
	}
	return batch.Items[0]
}

func TestDecodeCalls(t *testing.T) {
	for body, want := range map[string]arc.Request{
		`{"arc":"1.0","id":"x","method":"task.info","requestAgent":"a","targetAgent":"b","params":{"taskId":"t"},"traceId":"w-1"}`: {
			ID: `"x"`, Method: "task.info", From: "a", To: "b", TraceID: "w-1", Params: json.RawMessage(`{"taskId":"t"}`),
		},
		` {"params":{},"targetAgent":"","requestAgent":"","method":"m","id":-1.50,"arc":"1.0","more":[1,{"x":null}]} `: {
			ID: `-1.50`, Method: "m", Params: json.RawMessage(`{}`),
		},
		`{"\u0061rc":"1\u002e0","id":123456789012345678901234567890,"method":"\u006d","requestAgent":"\u00e4","targetAgent":"b","params":{}}`: {
			ID: `123456789012345678901234567890`, Method: "m", From: "ä", To: "b", Params: json.RawMessage(`{}`),
		},
		`{"jsonrpc":"2.0","id":0,"method":"m"}`:                 {Dialect: arc.JSONRPC, ID: "0", Method: "m"},
		`{"jsonrpc":"2.0","method":"m","params":{"a":1}}`:       {Dialect: arc.JSONRPC, Method: "m", Params: json.RawMessage(`{"a":1}`)},
		`{"jsonrpc":"2.0","id":null,"method":"m","params":{} }`: {Dialect: arc.JSONRPC, ID: "null", Method: "m", Params: json.RawMessage(`{}`)},
		`{"jsonrpc":"2.0","id":"\u00e9","method":"m","requestAgent":"a","targetAgent":"b","traceId":"t"}`: {
			Dialect: arc.JSONRPC, ID: `"\u00e9"`, Method: "m", From: "a", To: "b", TraceID: "t",
		},
		`{"jsonrpc":"2.0","id":1,"method":"m","params":{"requestAgent":"a","x": 1,"targetAgent":"b","traceId":"t","y":[2]}}`: {
			Dialect: arc.JSONRPC, ID: "1", Method: "m", From: "a", To: "b", TraceID: "t",
			Params: json.RawMessage(`{"x": 1,"traceId":"t","y":[2]}`),
		},
		`{"jsonrpc":"2.0","id":1,"method":"m","params":{"target\u0041gent":"b"}}`: {
			Dialect: arc.JSONRPC, ID: "1", Method: "m", To: "b", Params: json.RawMessage(`{}`),
		},
		// The method refuses params by position; a notification must get no answer.
		`{"jsonrpc":"2.0","method":"m","params":[7]}`: {Dialect: arc.JSONRPC, Method: "m", Params: json.RawMessage(`[7]`)},
		`{"jsonrpc":"2.0","id":1,"method":"m","targetAgent":"b","params":{"targetAgent":"b"}}`: {
			Dialect: arc.JSONRPC, ID: "1", Method: "m", To: "b", Params: json.RawMessage(`{}`),
		},
		// Names are case-sensitive, so these are members that no envelope knows.
		`{"jsonrpc":"2.0","ID":1,"method":"m","TargetAgent":"b"}`: {Dialect: arc.JSONRPC, Method: "m"},
	} {
		item := one(t, body)
		if item.Err != nil {
			t.Errorf("Decode(%s) refused it: %v", body, item.Err)
			continue
		}
		if diff := cmp.Diff(want, item.Request); diff != "" {
			t.Errorf("Decode(%s) (-want +got):\n%s", body, diff)
		}
	}
}

func TestDecodeRefusals(t *testing.T) {
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	for _, c := range []struct {
		body    string
		code    arc.Code
		details string // a detail's name and value, "name=value"
		id      arc.ID
		dialect arc.Dialect
	}{
		{``, arc.CodeParse, "", "", arc.ARC},
		{`{`, arc.CodeParse, "offset=1", "", arc.ARC},
		{`nonsense`, arc.CodeParse, "", "", arc.ARC},
		{goodARC + `x`, arc.CodeParse, "", "", arc.ARC},
		{goodARC + goodARC, arc.CodeParse, "", "", arc.ARC},
		{"\xef\xbb\xbf" + goodARC, arc.CodeParse, "reason=byte_order_mark", "", arc.ARC},
		{"{\x00\"\x00a\x00", arc.CodeParse, "", "", arc.ARC},
		{"{\"arc\":\"\xff\"}", arc.CodeParse, "", "", arc.ARC},
		{`{"arc":"\ud800"}`, arc.CodeParse, "", "", arc.ARC},
		{`{"arc":NaN}`, arc.CodeParse, "", "", arc.ARC},
		{`{"arc":-Infinity}`, arc.CodeParse, "", "", arc.ARC},
		{`{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]`, arc.CodeParse, "", "", arc.JSONRPC},
		{`[{"jsonrpc":"2.0","id":1,"method"]`, arc.CodeParse, "", "", arc.JSONRPC},
		{deep, arc.CodeInvalidRequest, "reason=too_deep", "", arc.JSONRPC},
		{`{"arc":"1.0","arc":"1.0"}`, arc.CodeInvalidRequest, "field=arc", "", arc.ARC},
		{`{"arc":"1.0","\u0061rc":"1.0"}`, arc.CodeInvalidRequest, "reason=duplicate_name", "", arc.ARC},
		{`{"arc":"1.0","params":{"a":{"b":1,"b":2}}}`, arc.CodeInvalidRequest, "field=b", "", arc.ARC},
		{`null`, arc.CodeInvalidRequest, "issue=must be an object", "", arc.ARC},
		{`1`, arc.CodeInvalidRequest, "issue=must be an object", "", arc.ARC},
		{`"arc"`, arc.CodeInvalidRequest, "issue=must be an object", "", arc.ARC},
		{`{}`, arc.CodeInvalidRequest, "field=arc", "", arc.ARC},
		{`{"id":"x"}`, arc.CodeInvalidRequest, "protocolCode=-45002", `"x"`, arc.ARC},
		{`{"arc":"1.0","jsonrpc":"2.0","id":7}`, arc.CodeInvalidRequest, "field=jsonrpc", "7", arc.ARC},
		{`{"arc":"2.0","id":7}`, arc.CodeVersion, "supportedVersion=1.0", "7", arc.ARC},
		{`{"arc":1.0,"id":7}`, arc.CodeVersion, "version=1.0", "7", arc.ARC},
		{`{"arc":"1.0","method":"m"}`, arc.CodeInvalidRequest, "field=id", "", arc.ARC},
		{`{"arc":"1.0","id":null}`, arc.CodeInvalidRequest, "field=id", "", arc.ARC},
		{`{"arc":"1.0","id":true}`, arc.CodeInvalidRequest, "protocolCode=-45003", "", arc.ARC},
		{`{"arc":"1.0","id":[1]}`, arc.CodeInvalidRequest, "field=id", "", arc.ARC},
		{`{"arc":"1.0","id":1}`, arc.CodeInvalidRequest, "field=method", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":0}`, arc.CodeInvalidRequest, "protocolCode=-45003", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":"m"}`, arc.CodeInvalidRequest, "field=requestAgent", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":"m","requestAgent":"a"}`, arc.CodeInvalidRequest, "field=targetAgent", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":"m","requestAgent":"a","targetAgent":["b"]}`, arc.CodeInvalidRequest, "field=targetAgent", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":"","requestAgent":"a","targetAgent":"b","params":{}}`, arc.CodeInvalidRequest, "field=method", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":"m","requestAgent":"a","targetAgent":"b"}`, arc.CodeInvalidRequest, "field=params", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":"m","requestAgent":"a","targetAgent":"b","params":[]}`, arc.CodeInvalidRequest, "protocolCode=-45003", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":"m","requestAgent":"a","targetAgent":"b","params":{},"traceId":null}`, arc.CodeInvalidTrace, "field=traceId", "1", arc.ARC},
		{`{"arc":"1.0","id":1,"method":"m","requestAgent":"a","targetAgent":"b","params":{},"traceId":"a\u0007"}`, arc.CodeInvalidTrace, "", "1", arc.ARC},
		{`{"jsonrpc":2.0,"id":1,"method":"m"}`, arc.CodeInvalidRequest, "field=jsonrpc", "1", arc.JSONRPC},
		{`{"jsonrpc":"1.0","id":1,"method":"m"}`, arc.CodeInvalidRequest, "field=jsonrpc", "1", arc.JSONRPC},
		{`{"jsonrpc":"2.0","id":{},"method":"m"}`, arc.CodeInvalidRequest, "field=id", "", arc.JSONRPC},
		{`{"jsonrpc":"2.0","id":1}`, arc.CodeInvalidRequest, "field=method", "1", arc.JSONRPC},
		{`{"jsonrpc":"2.0","method":1,"params":"bar"}`, arc.CodeInvalidRequest, "field=method", "", arc.JSONRPC},
		{`{"jsonrpc":"2.0","id":1,"method":""}`, arc.CodeInvalidRequest, "field=method", "1", arc.JSONRPC},
		{`{"jsonrpc":"2.0","id":1,"method":"m","params":null}`, arc.CodeInvalidRequest, "field=params", "1", arc.JSONRPC},
		{`{"jsonrpc":"2.0","id":1,"method":"m","requestAgent":1}`, arc.CodeInvalidRequest, "field=requestAgent", "1", arc.JSONRPC},
		{`{"jsonrpc":"2.0","id":1,"method":"m","params":{"targetAgent":null}}`, arc.CodeInvalidRequest, "field=targetAgent", "1", arc.JSONRPC},
		{`{"jsonrpc":"2.0","id":1,"method":"m","targetAgent":"a","params":{"targetAgent":"b"}}`, arc.CodeInvalidRequest, "field=targetAgent", "1", arc.JSONRPC},
		{`{"jsonrpc":"2.0","id":1,"method":"m","params":{"traceId":7}}`, arc.CodeInvalidTrace, "", "1", arc.JSONRPC},
	} {
		item := one(t, c.body)
		if item.Err == nil || item.Err.Code != c.code {
			t.Errorf("Decode(%s) = %v, want code %d", c.body, item.Err, c.code)
			continue
		}
		if item.Request.ID != c.id || item.Request.Dialect != c.dialect {
			t.Errorf("Decode(%s) has id %q, dialect %d; want %q, %d", c.body, item.Request.ID, item.Request.Dialect, c.id, c.dialect)
		}
		if name, want, ok := strings.Cut(c.details, "="); ok {
			b, _ := json.Marshal(item.Err.Details[name])
			if got := strings.Trim(string(b), `"`); got != want {
				t.Errorf("Decode(%s) has detail %s = %s, want %s", c.body, name, got, want)
			}
		}
	}
}

func TestDecodeBatch(t *testing.T) {
	batch := rpc.Decode([]byte(`[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"},7,`+goodARC+`,{"id":3}]`), rpc.Limits{})
	if !batch.Array || batch.Dialect != arc.JSONRPC || len(batch.Items) != 5 {
		t.Fatalf("Decode gave %+v, want an array of 5", batch)
	}
	for i, want := range []arc.Code{0, 0, arc.CodeInvalidRequest, arc.CodeInvalidRequest, arc.CodeInvalidRequest} {
		item := batch.Items[i]
		if got := codeOf(item.Err); got != want || item.Request.Dialect != arc.JSONRPC {
			t.Errorf("item %d is %+v, want code %d in JSON-RPC", i, item, want)
		}
	}
	for body, reason := range map[string]string{
		`[]`: "", `[{},{},{}]`: "batch_too_large",
	} {
		batch := rpc.Decode([]byte(body), rpc.Limits{Batch: 2})
		if batch.Array || len(batch.Items) != 1 || codeOf(batch.Items[0].Err) != arc.CodeInvalidRequest || batch.Items[0].Err.Reason() != reason {
			t.Errorf("Decode(%s) = %+v, want one refusal with reason %q", body, batch, reason)
		}
	}
}

func codeOf(e *arc.Error) arc.Code {
	if e == nil {
		return 0
	}
	return e.Code
}

func TestEncode(t *testing.T) {
	failure := arc.Errorf(arc.CodeTaskNotFound, "no <task>").With("taskId", "t").With("a", 1)
	for want, r := range map[string]arc.Response{
		`{"arc":"1.0","id":-0.0,"responseAgent":"b","targetAgent":"a","result":{"success":true},"error":null,"traceId":"w"}`: {
			ID: "-0.0", From: "b", To: "a", TraceID: "w", Result: arc.SuccessResult{Success: true},
		},
		`{"arc":"1.0","id":"error","responseAgent":"arcd","targetAgent":"unknown","result":null,"error":{"code":-42001,"message":"no <task>","details":{"a":1,"reason":"task_not_found","retryable":false,"taskId":"t"}}}`: {
			From: "arcd", Err: failure,
		},
		`{"arc":"1.0","id":1,"responseAgent":"arcd","targetAgent":"a","result":null,"error":{"code":-32603,"message":"m","details":{"reason":"internal_error","retryable":false}}}`: {
			ID: "1", From: "arcd", To: "a", Err: arc.Errorf(arc.CodeInternal, "m"),
		},
		`{"jsonrpc":"2.0","id":null,"error":{"code":-42001,"message":"no <task>","data":{"a":1,"reason":"task_not_found","retryable":false,"taskId":"t"}}}`: {
			Dialect: arc.JSONRPC, Err: failure,
		},
		`{"jsonrpc":"2.0","id":"\u00e9","result":{"type":"tasks","tasks":[]}}`: {
			Dialect: arc.JSONRPC, ID: `"\u00e9"`, Result: arc.TaskList{Type: "tasks"},
		},
		`{"jsonrpc":"2.0","id":1,"result":{"type":"task","task":{"taskId":"t","status":"WORKING"}}}`: {
			Dialect: arc.JSONRPC, ID: `1`, Result: &arc.TaskResult{Type: "task", Task: &arc.Task{ID: "t", Status: arc.TaskWorking}},
		},
	} {
		got, err := rpc.Encode([]byte("x"), &r)
		if err != nil || string(got) != "x"+want {
			t.Errorf("Encode(%+v) = %s, %v; want %s", r, got, err, want)
		}
	}
}

func TestEncodeRefusesWhatIsNoResult(t *testing.T) {
	var none *arc.TaskResult
	for _, result := range []any{nil, none, json.RawMessage("null"), make(chan int), json.RawMessage("{")} {
		for _, dialect := range []arc.Dialect{arc.ARC, arc.JSONRPC} {
			got, err := rpc.Encode([]byte("x"), &arc.Response{Dialect: dialect, ID: "1", Result: result})
			if err == nil || string(got) != "x" {
				t.Errorf("Encode(%T) = %s, %v; want x and an error", result, got, err)
			}
		}
	}
}

// FuzzDecode checks that no body makes Decode panic, and that what it accepts
// can be answered with the id's own bytes.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		goodARC, `{"jsonrpc":"2.0","id":1.5e3,"method":"m","params":{"requestAgent":"a","targetAgent":"b"}}`,
		`[{"jsonrpc":"2.0","id":null,"method":"m"},{"arc":"1.0"},3]`, `{"arc":"\ud800"}`, `[[[[`, "\xef\xbb\xbf{}",
		`{"jsonrpc":"2.0","params":{"traceId":"\u0000"},"method":"m"}`, `{"arc":"1.0","id":"\u2028<&>"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		batch := rpc.Decode(body, rpc.Limits{})
		if len(batch.Items) == 0 {
			t.Fatal("no items")
		}
		if !bytes.Equal(kept, body) {
			t.Fatal("Decode changed the body")
		}
		for _, item := range batch.Items {
			r := arc.Response{Dialect: item.Request.Dialect, ID: item.Request.ID, From: "s", To: item.Request.From, Result: struct{}{}, Err: item.Err}
			answer, err := rpc.Encode(nil, &r)
			if err != nil || !json.Valid(answer) {
				t.Fatalf("answer to %q: %s, %v", body, answer, err)
			}
			id := []byte(item.Request.ID)
			if !bytes.Contains(body, id) && item.Request.ID != "null" || !bytes.Contains(answer, append([]byte(`"id":`), id...)) {
				t.Fatalf("id %s of %q became %s", id, body, answer)
			}
			if item.Err == nil && item.Request.Params != nil && !json.Valid(item.Request.Params) {
				t.Fatalf("params of %q are %s", body, item.Request.Params)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"arc":"1.0","id":"req-1","method":"task.create","requestAgent":"bench","targetAgent":"echo","params":{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"hello"}]}},"traceId":"w-1"}`)
	b.ReportAllocs()
	for b.Loop() {
		rpc.Decode(body, rpc.Limits{})
	}
}

func BenchmarkEncode(b *testing.B) {
	r := arc.Response{ID: `"req-1"`, From: "echo", To: "bench", Result: &arc.TaskResult{Type: "task", Task: &arc.Task{ID: "task-1", Status: arc.TaskSubmitted}}}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = rpc.Encode(dst[:0], &r)
	}
}
