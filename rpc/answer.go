package rpc

import (
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
)

// Answer is what comes in on a connection that carries calls both ways and is no
// call: the answer to one of ours, or an event of its stream.
type Answer struct {
	ID     arc.ID          // of our call
	Result json.RawMessage // a part of the body
	Err    *arc.Error      // instead of a result

	Event string          // of a stream; "": this is the answer
	Data  json.RawMessage // of the event
}

// DecodeAnswer reads a body as a JSON-RPC answer (its specification, section 5), or
// as the notification "stream" with an event. It is false for everything else: that
// is for [Decode], which also says what is wrong with it. It is as strict as Decode.
func DecodeAnswer(body []byte, limits Limits) (Answer, bool) {
	if limits.Depth <= 0 {
		limits.Depth = 64
	}
	r := readers.Get().(*reader)
	r.open(body)
	defer func() {
		r.open(nil)
		readers.Put(r)
	}()
	if deepest(body) > limits.Depth || r.decoder.PeekKind() != '{' {
		return Answer{}, false
	}
	f, err := r.object()
	if err != nil || len(f.arc) > 0 {
		return Answer{}, false
	}
	if version, _ := text(f.jsonrpc); version != "2.0" {
		return Answer{}, false
	}
	if f.method != nil {
		return decodeEvent(&f)
	}
	a := Answer{ID: f.callID(), Result: f.result}
	switch hasError := f.failure != nil && kindOf(f.failure) != 'n'; {
	case hasError && f.result != nil && kindOf(f.result) != 'n':
		return Answer{}, false
	case hasError:
		a.Result, a.Err = nil, decodeError(f.failure)
	case f.result == nil:
		return Answer{}, false
	}
	return a, true
}

// BrokenAnswer gives the id of the call that a body was meant for which is no answer
// or event by [DecodeAnswer], but would be one if it were not too deep, had no name
// twice, and so on: whoever waits for that call would else wait for ever. "" for
// everything else.
func BrokenAnswer(body []byte) arc.ID {
	type meant struct {
		ID     jsontext.Value `json:"id"`
		Method jsontext.Value `json:"method"`
		Params jsontext.Value `json:"params"`
		Result jsontext.Value `json:"result"`
		Error  jsontext.Value `json:"error"`
	}
	generous := jsonv2.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var m meant
	if jsonv2.Unmarshal(body, &m, generous) != nil {
		return ""
	}
	if string(m.Method) == `"stream"` && m.ID == nil {
		event := meant{}
		_ = jsonv2.Unmarshal(m.Params, &event, generous) // without an id it says nothing
		return arc.ID(event.ID)
	}
	if m.Method != nil || m.Result == nil && m.Error == nil {
		return ""
	}
	return arc.ID(m.ID)
}

// decodeEvent reads the notification "stream".
func decodeEvent(f *fields) (Answer, bool) {
	if name, _ := text(f.method); name != "stream" || f.id != nil {
		return Answer{}, false
	}
	var p struct {
		ID    json.RawMessage `json:"id"`
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
	}
	if jsonv2.Unmarshal(f.params, &p) != nil || p.Event == "" {
		return Answer{}, false
	}
	return Answer{ID: arc.ID(p.ID), Event: p.Event, Data: p.Data}, true
}

// maxError is the largest error that is looked at, in bytes: its details are many times
// as large when they are decoded.
const maxError = 1 << 20

// decodeError reads an error object; one that is none is an internal error of who
// sent it.
func decodeError(raw []byte) *arc.Error {
	var e struct {
		Code    arc.Code       `json:"code"`
		Message string         `json:"message"`
		Data    map[string]any `json:"data"`
	}
	if len(raw) > maxError || jsonv2.Unmarshal(raw, &e) != nil || e.Code == 0 {
		return arc.Errorf(arc.CodeInternal, "the error cannot be read")
	}
	failure := arc.Errorf(e.Code, "%s", e.Message)
	for name, value := range e.Data {
		failure.With(name, value)
	}
	return failure
}
