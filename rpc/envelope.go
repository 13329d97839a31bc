package rpc

import (
	"bytes"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
)

// maxTraceID is the longest traceId in bytes. The ARC specification leaves the
// form open; this is arcd's reading.
const maxTraceID = 128

// fields are the raw members of an envelope; nil: not there.
type fields struct {
	arc, jsonrpc, id, method, from, to, trace, params []byte

	result, failure []byte // of answers
}

// named gives the place for the member with this quoted name; nil for names
// that no envelope knows, which are ignored: the ARC specification promises
// growth by optional fields.
func (f *fields) named(quoted jsontext.Value) *[]byte {
	if bytes.IndexByte(quoted, '\\') >= 0 { // an escaped name is the same name
		plain, _ := text(quoted)
		quoted, _ = jsontext.AppendQuote(nil, plain)
	}
	switch string(quoted) {
	case `"arc"`:
		return &f.arc
	case `"jsonrpc"`:
		return &f.jsonrpc
	case `"id"`:
		return &f.id
	case `"method"`:
		return &f.method
	case `"requestAgent"`:
		return &f.from
	case `"targetAgent"`:
		return &f.to
	case `"traceId"`:
		return &f.trace
	case `"params"`:
		return &f.params
	case `"result"`:
		return &f.result
	case `"error"`:
		return &f.failure
	}
	return nil
}

// callID gives the id for an answer; "" if there is none that could be echoed.
func (f *fields) callID() arc.ID {
	if kind := kindOf(f.id); kind == '"' || kind == '0' {
		return arc.ID(f.id)
	}
	return ""
}

// read makes a call of an envelope's members.
func read(f *fields) Item {
	item := Item{Request: arc.Request{ID: f.callID()}}
	switch {
	case f.arc != nil && f.jsonrpc != nil:
		item.Err = malformed("jsonrpc", "must not stand beside arc: an envelope has one version")
	case f.jsonrpc != nil:
		item.Request.Dialect = arc.JSONRPC
		item.Err = readJSONRPC(f, &item.Request)
	default:
		item.Err = readARC(f, &item.Request)
	}
	return item
}

// readItem makes a call of an item of a batch, which only JSON-RPC has.
func readItem(f *fields) Item {
	if f.jsonrpc != nil {
		item := read(f)
		item.Request.Dialect = arc.JSONRPC
		return item
	}
	item := Item{Request: arc.Request{Dialect: arc.JSONRPC, ID: f.callID()}, Err: missing("jsonrpc")}
	if f.arc != nil {
		item.Err = malformed("arc", "cannot be an item of a batch; only JSON-RPC has batches")
	}
	return item
}

// readARC checks an ARC envelope (ARC specification, "Request format"): all six
// members are needed, params is an object.
func readARC(f *fields, r *arc.Request) *arc.Error {
	if f.arc == nil {
		return missing("arc")
	}
	if version, _ := text(f.arc); version != arc.Version {
		e := arc.Errorf(arc.CodeVersion, "arc must be %q", arc.Version).
			With("supportedVersion", arc.Version).With("retryable", false)
		if len(f.arc) <= 64 {
			e.With("version", jsontext.Value(f.arc))
		}
		return e
	}
	switch {
	case f.id == nil:
		return missing("id")
	case r.ID == "":
		return malformed("id", "must be a text or a number")
	}
	for _, m := range [...]struct {
		name string
		raw  []byte
		to   *string
	}{{"method", f.method, &r.Method}, {"requestAgent", f.from, &r.From}, {"targetAgent", f.to, &r.To}} {
		if m.raw == nil {
			return missing(m.name)
		}
		if err := readText(m.name, m.raw, m.to); err != nil {
			return err
		}
	}
	switch {
	case r.Method == "":
		return malformed("method", "must not be empty")
	case f.params == nil:
		return missing("params")
	case kindOf(f.params) != '{':
		return malformed("params", "must be an object")
	}
	r.Params = f.params
	return readTrace(f, r)
}

// readJSONRPC checks a JSON-RPC 2.0 request object (its specification, section
// 4). The agents and the trace id may stand beside params or inside it.
func readJSONRPC(f *fields, r *arc.Request) *arc.Error {
	if version, _ := text(f.jsonrpc); version != "2.0" {
		return malformed("jsonrpc", `must be "2.0"`)
	}
	if f.id != nil && r.ID == "" {
		if kindOf(f.id) != 'n' {
			return malformed("id", "must be a text, a number or null")
		}
		r.ID = "null"
	}
	if f.method == nil {
		return missing("method")
	}
	if err := readText("method", f.method, &r.Method); err != nil {
		return err
	}
	if r.Method == "" {
		return malformed("method", "must not be empty")
	}
	switch kindOf(f.params) {
	case 0:
	case '{':
		if err := lift(f); err != nil {
			return err
		}
		r.Params = f.params
	case '[': // a good call, possibly a notification; its method will refuse them
		r.Params = f.params
	default:
		return malformed("params", "must be an object")
	}
	if f.from != nil {
		if err := readText("requestAgent", f.from, &r.From); err != nil {
			return err
		}
	}
	if f.to != nil {
		if err := readText("targetAgent", f.to, &r.To); err != nil {
			return err
		}
	}
	return readTrace(f, r)
}

// lift moves requestAgent and targetAgent from inside params to beside it, and
// copies traceId, which stays because task.list has a param of that name.
func lift(f *fields) *arc.Error {
	// Without these texts there is nothing to lift; a name may be written in escapes.
	if !bytes.Contains(f.params, []byte(`Agent"`)) && !bytes.Contains(f.params, []byte(`"traceId"`)) &&
		!bytes.Contains(f.params, []byte(`\u`)) {
		return nil
	}
	decoder := jsontext.NewDecoder(bytes.NewBuffer(f.params))
	rest := append(make([]byte, 0, len(f.params)), '{')
	_, _ = decoder.ReadToken() // params was checked as a part of the body
	for decoder.PeekKind() != '}' {
		name, _ := decoder.ReadValue()
		start := int(decoder.InputOffset()) - len(name)
		var inside fields
		to := inside.named(name)
		value, _ := decoder.ReadValue()
		end := int(decoder.InputOffset())
		var beside *[]byte
		switch to {
		case &inside.from:
			beside = &f.from
		case &inside.to:
			beside = &f.to
		case &inside.trace:
			if f.trace == nil {
				f.trace = f.params[end-len(value) : end]
			}
		}
		if beside == nil {
			if len(rest) > 1 {
				rest = append(rest, ',')
			}
			rest = append(rest, f.params[start:end]...)
			continue
		}
		if *beside != nil && !bytes.Equal(*beside, value) {
			field, _ := text(f.params[start : start+len(name)])
			return malformed(field, "is given twice with different values")
		}
		*beside = f.params[end-len(value) : end]
	}
	f.params = append(rest, '}')
	return nil
}

// readTrace reads the traceId; none is fine.
func readTrace(f *fields, r *arc.Request) *arc.Error {
	if f.trace == nil {
		return nil
	}
	trace, ok := text(f.trace)
	ok = ok && trace != "" && len(trace) <= maxTraceID
	for _, c := range trace {
		ok = ok && unicode.IsPrint(c)
	}
	if !ok {
		return arc.Errorf(arc.CodeInvalidTrace, "traceId must be a text of 1 to %d printable bytes", maxTraceID).
			With("field", "traceId").With("retryable", false)
	}
	r.TraceID = trace
	return nil
}

// readText reads a member that must be a text, in either envelope.
func readText(name string, raw []byte, to *string) *arc.Error {
	s, ok := text(raw)
	if !ok {
		return malformed(name, "must be a text")
	}
	*to = s
	return nil
}

// text gives the Go string of a raw JSON text.
func text(raw []byte) (string, bool) {
	if kindOf(raw) != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	plain, err := jsontext.AppendUnquote(nil, raw)
	return string(plain), err == nil
}

// kindOf gives the kind of a raw value, 0 for none.
func kindOf(raw []byte) jsontext.Kind {
	if raw == nil {
		return 0
	}
	return jsontext.Value(raw).Kind()
}

// missing reports a member that is not there. The specification lists -45002
// beside -32600 for it; the finer number goes into details.
func missing(field string) *arc.Error {
	return arc.Errorf(arc.CodeInvalidRequest, "the envelope lacks %s", field).
		With("field", field).With("issue", "is required").
		With("protocolCode", arc.CodeMissingField).With("retryable", false)
}

// malformed reports a member of a wrong form; field "" is the envelope itself.
func malformed(field, issue string) *arc.Error {
	if field == "" {
		return arc.Errorf(arc.CodeInvalidRequest, "the envelope %s", issue).
			With("issue", issue).With("retryable", false)
	}
	return arc.Errorf(arc.CodeInvalidRequest, "%s %s", field, issue).
		With("field", field).With("issue", issue).
		With("protocolCode", arc.CodeInvalidFormat).With("retryable", false)
}
