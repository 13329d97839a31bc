package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
)

// Encode appends the answer's envelope to dst. On an error, which means that
// the result cannot be an answer (it is null, or does not encode), it gives
// dst back as it was.
//
// An ARC answer always has both keys result and error, the unused one null. A
// JSON-RPC answer has only one of them.
func Encode(dst []byte, r *arc.Response) ([]byte, error) {
	b, err := dst, error(nil)
	if r.Dialect == arc.JSONRPC {
		b, err = encodeJSONRPC(b, r)
	} else {
		b, err = encodeARC(b, r)
	}
	if err != nil {
		return dst, err
	}
	return b, nil
}

// encodeARC writes the members in the order of the specification's examples
// (ARC specification, "Response format"). An id that could not be read is the
// text "error": the schema wants a text or a number, and the published client
// compares it.
func encodeARC(b []byte, r *arc.Response) ([]byte, error) {
	b = append(b, `{"arc":"`+arc.Version+`","id":`...)
	if r.ID == "" {
		b = append(b, `"error"`...) // the schema has no null id
	} else {
		b = append(b, r.ID...)
	}
	b = appendText(append(b, `,"responseAgent":`...), r.From)
	to := r.To
	if to == "" {
		to = "unknown" // the published clients need the member
	}
	b = appendText(append(b, `,"targetAgent":`...), to)
	var err error
	if r.Err != nil {
		b, err = AppendJSON(append(b, `,"result":null,"error":`...), r.Err.Object())
	} else {
		b, err = appendResult(append(b, `,"result":`...), r.Result)
		b = append(b, `,"error":null`...)
	}
	if r.TraceID != "" {
		b = appendText(append(b, `,"traceId":`...), r.TraceID)
	}
	return append(b, '}'), err
}

// encodeJSONRPC writes a response object (JSON-RPC 2.0, section 5). What ARC
// calls details is its data.
func encodeJSONRPC(b []byte, r *arc.Response) ([]byte, error) {
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	if r.ID == "" {
		b = append(b, "null"...)
	} else {
		b = append(b, r.ID...)
	}
	if r.Err == nil {
		b, err := appendResult(append(b, `,"result":`...), r.Result)
		return append(b, '}'), err
	}
	object := r.Err.Object()
	details, err := AppendJSON(nil, object.Details)
	if err != nil {
		return b, err
	}
	b, err = AppendJSON(append(b, `,"error":`...), jsonrpc2.Error{
		Code: int64(object.Code), Message: object.Message, Data: (*json.RawMessage)(&details),
	})
	return append(b, '}'), err
}

// errNull is a method's fault: null is no result, and the published client
// would take it for a success.
var errNull = errors.New("the result is null")

// appendResult appends a result, which must not be null.
func appendResult(b []byte, result any) ([]byte, error) {
	start := len(b)
	b, err := AppendJSON(b, result)
	if err == nil && string(b[start:]) == "null" {
		err = errNull
	}
	return b, err
}

// wireOptions writes structs as encoding/json would as to what omitempty leaves
// out, and maps in a fixed order. What an agent says in broken UTF-8 is mended,
// not refused.
var wireOptions = jsonv2.JoinOptions(
	jsonv1.OmitEmptyWithLegacySemantics(true),
	jsonv2.Deterministic(true),
	jsontext.AllowInvalidUTF8(true),
)

// sink is the writer that appends. It is pooled, since it escapes to the heap.
type sink struct{ b []byte }

// Write appends p.
func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

var sinks = sync.Pool{New: func() any { return new(sink) }}

// AppendJSON appends v as one line of JSON, by the rules of [Encode]. A value
// that has a method of this name and form without v keeps them itself.
func AppendJSON(b []byte, v any) ([]byte, error) {
	if own, ok := v.(interface {
		AppendJSON([]byte) ([]byte, error)
	}); ok {
		return own.AppendJSON(b)
	}
	s := sinks.Get().(*sink)
	s.b = b
	err := jsonv2.MarshalWrite(s, v, wireOptions)
	b, s.b = s.b, nil
	sinks.Put(s)
	if err != nil {
		return b, fmt.Errorf("encoding an answer: %w", err)
	}
	return b, nil
}

// appendText appends s as a JSON text; broken UTF-8 becomes U+FFFD.
func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
