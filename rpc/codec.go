package rpc

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
)

// Limits bounds what [Decode] takes. Zero values mean the default.
type Limits struct {
	Depth int // deepest nesting of objects and arrays; default 64
	Batch int // most items of a JSON-RPC batch; default 50
}

// Batch is what one body held: one call, or the items of a JSON-RPC batch.
type Batch struct {
	Items []Item
	// Array says that the body was an array, so that the answer is one too.
	Array bool
	// Dialect is the envelope to answer in. Of a body that cannot be read it is
	// guessed: JSON-RPC if it is an array or "jsonrpc" stands in it, else ARC.
	Dialect arc.Dialect
}

// Item is one call, or, with Err set, why there is none. Of a refused call
// Request still holds what could be read; ID "" then means that the id could
// not. An item with Err is always answered.
type Item struct {
	Request arc.Request
	Err     *arc.Error
}

// Decode reads a body strictly and once: UTF-8 without a byte order mark, no
// duplicate names at any depth, names of exact case, bounded depth, nothing
// behind the value. Params and ids of the result are parts of body, so body
// must not be changed while they are in use.
//
//	Decode
//	├─ depth      -32600
//	├─ syntax     -32700; a duplicate name -32600
//	├─ shape      -32600, an array is a JSON-RPC batch
//	└─ each item
//	   ├─ "arc"       readARC       -45001, -32600, -45005
//	   └─ "jsonrpc"   readJSONRPC   -32600, -32602, -45005
func Decode(body []byte, limits Limits) Batch {
	if limits.Depth <= 0 {
		limits.Depth = 64
	}
	if limits.Batch <= 0 {
		limits.Batch = 50
	}
	r := readers.Get().(*reader)
	r.open(body)
	batch, err := r.batch(limits)
	r.open(nil) // lets go of body
	readers.Put(r)
	if err != nil {
		return Batch{Items: []Item{{Request: arc.Request{Dialect: guess(body)}, Err: err}}, Dialect: guess(body)}
	}
	return batch
}

// guess picks the envelope in which to refuse a body that cannot be read.
func guess(body []byte) arc.Dialect {
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		return arc.JSONRPC
	}
	if bytes.Contains(body, []byte(`"jsonrpc"`)) && !bytes.Contains(body, []byte(`"arc"`)) {
		return arc.JSONRPC
	}
	return arc.ARC
}

// reader walks one body. It is pooled, since a decoder keeps its name tables
// and stacks for the next body.
type reader struct {
	body    []byte
	buffer  bytes.Buffer
	decoder jsontext.Decoder
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// open makes r ready for a body; nil lets go of the one before.
func (r *reader) open(body []byte) {
	r.body = body
	r.buffer = *bytes.NewBuffer(body)
	r.decoder.Reset(&r.buffer)
}

// batch reads the whole body.
func (r *reader) batch(limits Limits) (Batch, *arc.Error) {
	if deepest(r.body) > limits.Depth {
		return Batch{}, arc.Errorf(arc.CodeInvalidRequest, "the body is nested deeper than %d levels", limits.Depth).
			With("reason", "too_deep").With("maxDepth", limits.Depth).With("retryable", false)
	}
	var batch Batch
	switch r.decoder.PeekKind() {
	case '{':
		fields, err := r.object()
		if err != nil {
			return Batch{}, r.syntax(err)
		}
		batch.Items = []Item{read(&fields)}
		batch.Dialect = batch.Items[0].Request.Dialect
	case '[':
		items, err := r.array(limits.Batch)
		if err != nil {
			return Batch{}, err
		}
		batch = Batch{Items: items, Array: true, Dialect: arc.JSONRPC}
	default:
		if _, err := r.decoder.ReadValue(); err != nil {
			return Batch{}, r.syntax(err)
		}
		return Batch{}, malformed("", "must be an object")
	}
	if _, err := r.decoder.ReadToken(); err != io.EOF {
		return Batch{}, r.syntax(err)
	}
	return batch, nil
}

// array reads the items of a JSON-RPC batch.
func (r *reader) array(most int) ([]Item, *arc.Error) {
	if _, err := r.decoder.ReadToken(); err != nil {
		return nil, r.syntax(err)
	}
	var items []Item
	for r.decoder.PeekKind() != ']' {
		if len(items) == most {
			return nil, arc.Errorf(arc.CodeInvalidRequest, "the batch holds more than %d items", most).
				With("reason", "batch_too_large").With("maxItems", most).With("retryable", false)
		}
		if r.decoder.PeekKind() != '{' {
			if _, err := r.decoder.ReadValue(); err != nil {
				return nil, r.syntax(err)
			}
			items = append(items, Item{Request: arc.Request{Dialect: arc.JSONRPC}, Err: malformed("", "must be an object")})
			continue
		}
		fields, err := r.object()
		if err != nil {
			return nil, r.syntax(err)
		}
		items = append(items, readItem(&fields))
	}
	if len(items) == 0 {
		return nil, malformed("", "must not be an empty array")
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return nil, r.syntax(err)
	}
	return items, nil
}

// object reads one envelope's members, without looking into them.
func (r *reader) object() (fields, error) {
	var f fields
	if _, err := r.decoder.ReadToken(); err != nil {
		return f, err
	}
	for r.decoder.PeekKind() != '}' {
		name, err := r.decoder.ReadValue()
		if err != nil {
			return f, err
		}
		to := f.named(name)
		value, err := r.decoder.ReadValue()
		if err != nil {
			return f, err
		}
		if to != nil {
			// A part of body, since value is only good until the next read.
			end := int(r.decoder.InputOffset())
			*to = r.body[end-len(value) : end : end]
		}
	}
	_, err := r.decoder.ReadToken()
	return f, err
}

// syntax turns a decoder's error into the answer's: a duplicate name is an
// invalid request, the rest is a parse error.
func (r *reader) syntax(err error) *arc.Error {
	if bytes.HasPrefix(r.body, []byte("\xef\xbb\xbf")) {
		return arc.Errorf(arc.CodeParse, "the body must not begin with a byte order mark").
			With("reason", "byte_order_mark").With("retryable", false)
	}
	e := arc.Errorf(arc.CodeParse, "the body is not one JSON value in UTF-8").With("retryable", false)
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			e = malformed(string(s.JSONPointer.LastToken()), "is given twice").With("reason", "duplicate_name")
		} else {
			e.With("offset", s.ByteOffset)
		}
	}
	return e.Because(err)
}

// deepest counts the nesting of objects and arrays without checking anything
// else, so that a deep body costs no stack.
func deepest(body []byte) int {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted:
			if c == '\\' {
				i++
			} else if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return most
}
