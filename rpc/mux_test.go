package rpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/rpc"
)

type greetParams struct {
	Name  string       `json:"name"`
	Times int          `json:"times,omitempty"`
	Rank  arc.Priority `json:"rank,omitempty"`
	Deep  struct {
		Flag bool `json:"flag"`
	} `json:"deep"`
}

func greet(_ context.Context, c *rpc.Call, p greetParams) (string, error) {
	if p.Name == "nobody" {
		return "", errors.New("nobody is here")
	}
	return c.From + " greets " + p.Name, nil
}

func newMux() *rpc.Mux {
	return rpc.NewMux([]rpc.Method{
		{Name: "greet", Scopes: []string{"s.greet"}, Handle: rpc.Handle(greet)},
		{Name: "admit", Scopes: []string{"s.admit"}, Handle: rpc.Handle(greet)},
	}, rpc.MuxConfig{
		Scopes:      map[string][]string{"admit": {"s.other"}},
		AgentScopes: map[string]map[string][]string{"vault": {"greet": {"s.greet", "s.vault"}}},
	})
}

func dispatch(q arc.Request, p *auth.Principal) (any, error) {
	return newMux().Dispatch(context.Background(), &rpc.Call{Request: q, Principal: p})
}

func TestDispatch(t *testing.T) {
	holder := &auth.Principal{Subject: "sub", Agents: []string{"me"}, Scopes: []string{"arc.agent.caller", "s.greet"}}
	params := json.RawMessage(`{"name":"you"}`)
	for label, c := range map[string]struct {
		q      arc.Request
		p      *auth.Principal
		result any
		code   arc.Code
	}{
		"good":                         {arc.Request{Method: "greet", From: "me", To: "a", Params: params}, holder, "me greets you", 0},
		"no scope":                     {arc.Request{Method: "greet", From: "me", To: "a"}, &auth.Principal{}, nil, arc.CodeInsufficientScope},
		"scope of the agent":           {arc.Request{Method: "greet", From: "me", To: "vault"}, holder, nil, arc.CodeInsufficientScope},
		"scope of the configuration":   {arc.Request{Method: "admit", From: "me", To: "a"}, holder, nil, arc.CodeInsufficientScope},
		"scope before a bad agent":     {arc.Request{Method: "admit", From: "me", To: "!"}, holder, nil, arc.CodeInsufficientScope},
		"scope before no method":       {arc.Request{Method: "x", From: "me", To: "a"}, &auth.Principal{}, nil, arc.CodeInsufficientScope},
		"no method":                    {arc.Request{Method: "x", From: "me", To: "a"}, holder, nil, arc.CodeMethodNotFound},
		"bad target":                   {arc.Request{Method: "greet", From: "me", To: "!"}, holder, nil, arc.CodeInvalidAgentID},
		"no target in ARC":             {arc.Request{Method: "greet", From: "me"}, holder, nil, arc.CodeInvalidAgentID},
		"no requester in ARC":          {arc.Request{Method: "greet", To: "a"}, holder, nil, arc.CodeInvalidAgentID},
		"none of both in JSON-RPC":     {arc.Request{Dialect: arc.JSONRPC, Method: "greet", Params: params}, holder, "me greets you", 0},
		"bad requester in JSON-RPC":    {arc.Request{Dialect: arc.JSONRPC, Method: "greet", From: "a b"}, holder, nil, arc.CodeInvalidAgentID},
		"speaks as nobody":             {arc.Request{Dialect: arc.JSONRPC, Method: "greet", Params: params}, &auth.Principal{Subject: "sub", Agents: []string{}, Scopes: holder.Scopes}, nil, arc.CodeUnauthorized},
		"speaks as another":            {arc.Request{Method: "greet", From: "you", To: "a"}, holder, nil, arc.CodeUnauthorized},
		"speaks as another, no method": {arc.Request{Method: "x", From: "you", To: "a"}, holder, nil, arc.CodeUnauthorized},
	} {
		result, err := dispatch(c.q, c.p)
		if result != c.result || arc.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v; want %v and code %d", label, result, err, c.result, c.code)
		}
	}
}

func TestParams(t *testing.T) {
	holder := &auth.Principal{Scopes: []string{"s.greet"}}
	for params, field := range map[string]string{
		``: "", `{}`: "", `{"name":"x","more":1}`: "", `{"NAME":5}`: "",
		`{"name":5}`: "name", `{"name":null,"times":"x"}`: "times", `{"times":1.5}`: "times",
		`{"deep":{"flag":1}}`: "deep.flag", `{"deep":true}`: "deep", `{"name":["x"]}`: "name", `{"name":{}}`: "name",
		`{"rank":"SOON"}`: "priority", `["you"]`: "params", `[]`: "params",
	} {
		_, err := dispatch(arc.Request{Dialect: arc.JSONRPC, Method: "greet", Params: json.RawMessage(params)}, holder)
		if (err == nil) != (field == "") {
			t.Errorf("%s: %v, want a refusal of %q", params, err, field)
			continue
		}
		if e, ok := errors.AsType[*arc.Error](err); ok && e.Details["field"] != field {
			t.Errorf("%s: field %v, want %q", params, e.Details["field"], field)
		}
	}
	_, err := dispatch(arc.Request{Dialect: arc.JSONRPC, Method: "greet", Params: json.RawMessage(`{"name":"nobody"}`)}, holder)
	if err == nil || err.Error() != "nobody is here" {
		t.Errorf("the method's own error came as %v", err)
	}
}

func TestMuxLists(t *testing.T) {
	m := newMux()
	if diff := cmp.Diff([]string{"admit", "greet"}, m.Names()); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
	if table := m.Methods(); len(table) != 2 || table[1].Name != "greet" {
		t.Errorf("Methods = %v", table)
	}
	want := []string{"arc.agent.caller", "s.admit", "s.greet", "s.other", "s.vault"}
	if diff := cmp.Diff(want, m.AllScopes()); diff != "" {
		t.Errorf("AllScopes (-want +got):\n%s", diff)
	}
}
