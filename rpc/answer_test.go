package rpc_test

import (
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
)

func TestDecodeAnswer(t *testing.T) {
	for body, want := range map[string]rpc.Answer{
		`{"jsonrpc":"2.0","id":7,"result":{"a":1}}`:                          {ID: "7", Result: []byte(`{"a":1}`)},
		`{"result":null,"id":"x","jsonrpc":"2.0"}`:                           {ID: `"x"`, Result: []byte(`null`)},
		`{"jsonrpc":"2.0","id":7,"result":1,"error":null}`:                   {ID: "7", Result: []byte(`1`)},
		`{"jsonrpc":"2.0","id":null,"result":1}`:                             {Result: []byte(`1`)},
		` {"jsonrpc":"2.0","id":-1.5,"result":[], "more":{"id":3}}` + "\r\n": {ID: "-1.5", Result: []byte(`[]`)},
		`{"jsonrpc":"2.0","method":"stream","params":{"id":7,"event":"stream","seq":3,"data":{"x":[1]}}}`: {
			ID: "7", Event: "stream", Data: []byte(`{"x":[1]}`),
		},
	} {
		got, ok := rpc.DecodeAnswer([]byte(body), rpc.Limits{})
		if !ok || got.ID != want.ID || string(got.Result) != string(want.Result) || got.Err != nil || got.Event != want.Event || string(got.Data) != string(want.Data) {
			t.Errorf("%s: %+v, %v", body, got, ok)
		}
	}
}

func TestDecodeAnswerThatIsAnError(t *testing.T) {
	for body, want := range map[string]arc.Error{
		`{"jsonrpc":"2.0","id":7,"error":{"code":-42001,"message":"no","data":{"reason":"r"}}}`: {Code: -42001, Message: "no"},
		`{"jsonrpc":"2.0","id":7,"result":null,"error":{"code":1,"message":"m"}}`:               {Code: 1, Message: "m"},
		`{"jsonrpc":"2.0","id":7,"error":"broken"}`:                                             {Code: arc.CodeInternal, Message: "the error cannot be read"},
		`{"jsonrpc":"2.0","id":7,"error":{}}`:                                                   {Code: arc.CodeInternal, Message: "the error cannot be read"},
	} {
		got, ok := rpc.DecodeAnswer([]byte(body), rpc.Limits{})
		if !ok || got.Err == nil || got.Err.Code != want.Code || got.Err.Message != want.Message || got.Result != nil {
			t.Errorf("%s: %+v, %v", body, got, ok)
		}
	}
}

func TestDecodeAnswerRefuses(t *testing.T) {
	for label, body := range map[string]string{
		"a call":                 `{"jsonrpc":"2.0","id":1,"method":"task.info","result":1}`,
		"another notification":   `{"jsonrpc":"2.0","method":"other","params":{"id":1,"event":"stream","data":1}}`,
		"a stream call":          `{"jsonrpc":"2.0","id":1,"method":"stream","params":{"id":1,"event":"stream","data":1}}`,
		"no event":               `{"jsonrpc":"2.0","method":"stream","params":{"id":1}}`,
		"params of another type": `{"jsonrpc":"2.0","method":"stream","params":[1]}`,
		"no params":              `{"jsonrpc":"2.0","method":"stream"}`,
		"both":                   `{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1}}`,
		"neither":                `{"jsonrpc":"2.0","id":1}`,
		"the ARC envelope":       `{"arc":"1.0","jsonrpc":"2.0","id":1,"result":1}`,
		"another version":        `{"jsonrpc":"1.0","id":1,"result":1}`,
		"an array":               `[{"jsonrpc":"2.0","id":1,"result":1}]`,
		"a name twice":           `{"jsonrpc":"2.0","id":1,"result":1,"id":2}`,
		"a deep name twice":      `{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}`,
		"too deep":               `{"jsonrpc":"2.0","id":1,"result":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`,
		"no JSON":                `{"jsonrpc":"2.0","id":1,"result":`,
		"nothing":                ``,
	} {
		if got, ok := rpc.DecodeAnswer([]byte(body), rpc.Limits{}); ok {
			t.Errorf("%s: %+v", label, got)
		}
	}
}

func TestBrokenAnswer(t *testing.T) {
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	for body, want := range map[string]arc.ID{
		`{"jsonrpc":"2.0","id":7,"result":` + deep + `}`:                                             "7",
		`{"jsonrpc":"2.0","id":7,"result":1,"error":{"code":1}}`:                                     "7",
		`{"jsonrpc":"2.0","id":7,"result":{"a":1,"a":2}}`:                                            "7",
		`{"id":7,"result":"` + "\xff" + `"}`:                                                         "7",
		`{"jsonrpc":"2.0","method":"stream","params":{"id":8,"event":"stream","data":` + deep + `}}`: "8",
		`{"jsonrpc":"2.0","method":"stream","params":[` + deep + `]}`:                                "",
		`{"jsonrpc":"2.0","method":"stream","id":1,"params":{"id":8}}`:                               "",
		`{"jsonrpc":"2.0","method":"stream"}`:                                                        "",
		`{"jsonrpc":"2.0","id":7,"method":"task.notification","params":` + deep + `,"result":1}`:     "",
		`{"jsonrpc":"2.0","id":7}`:                                                                   "",
		`[{"id":7,"result":1}]`:                                                                      "",
		`{"id":7,"result":`:                                                                          "",
		`{"id":7,"result":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`:        "",
	} {
		if got := rpc.BrokenAnswer([]byte(body)); got != want {
			t.Errorf("%.80s: %q, want %q", body, got, want)
		}
	}
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"result":{"a":1}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"m","data":{}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","method":"stream","params":{"id":7,"event":"stream","data":{}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, ok := rpc.DecodeAnswer(body, rpc.Limits{})
		if ok && a.Err == nil && a.Result == nil && a.Event == "" {
			t.Errorf("%q is an answer that says nothing", body)
		}
	})
}
