package otlp

import (
	"encoding/binary"
	"iter"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The numbers of fields below are those of opentelemetry-proto 1.x, files
// collector/trace/v1/trace_service.proto, trace/v1/trace.proto, resource/v1/resource.proto
// and common/v1/common.proto, which are stable.

// encode writes an ExportTraceServiceRequest. All spans are of one resource, since they
// come from one provider; there is at least one.
func encode(spans []sdktrace.ReadOnlySpan) []byte {
	var request message
	request.nested(1, func(m *message) { // ResourceSpans
		resource := spans[0].Resource()
		m.nested(1, func(m *message) { m.attributes(1, resource.Attributes()) })
		for begin := 0; begin < len(spans); {
			scope, end := spans[begin].InstrumentationScope(), begin+1
			for end < len(spans) && spans[end].InstrumentationScope() == scope {
				end++
			}
			m.nested(2, func(m *message) { m.scopeSpans(scope, spans[begin:end]) })
			begin = end
		}
		m.text(3, resource.SchemaURL())
	})
	return request
}

// message is a message of protocol buffers in the making. As in proto3, fields with a
// zero value are left out.
type message []byte

// scopeSpans writes a ScopeSpans.
func (m *message) scopeSpans(scope instrumentation.Scope, spans []sdktrace.ReadOnlySpan) {
	m.nested(1, func(m *message) {
		m.text(1, scope.Name)
		m.text(2, scope.Version)
		m.attributes(3, scope.Attributes.ToSlice())
	})
	for _, s := range spans {
		m.nested(2, func(m *message) { m.span(s) })
	}
	m.text(3, scope.SchemaURL)
}

// span writes a Span.
func (m *message) span(s sdktrace.ReadOnlySpan) {
	id, span, parent := s.SpanContext().TraceID(), s.SpanContext().SpanID(), s.Parent().SpanID()
	m.bytes(1, id[:])
	m.bytes(2, span[:])
	m.text(3, s.SpanContext().TraceState().String())
	if parent.IsValid() {
		m.bytes(4, parent[:])
	}
	m.text(5, s.Name())
	m.number(6, int64(s.SpanKind())) // both count alike
	m.time(7, s.StartTime())
	m.time(8, s.EndTime())
	m.attributes(9, s.Attributes())
	m.number(10, int64(s.DroppedAttributes()))
	for _, e := range s.Events() {
		m.nested(11, func(m *message) {
			m.time(1, e.Time)
			m.text(2, e.Name)
			m.attributes(3, e.Attributes)
			m.number(4, int64(e.DroppedAttributeCount))
		})
	}
	m.number(12, int64(s.DroppedEvents()))
	for _, l := range s.Links() {
		m.nested(13, func(m *message) { m.link(l) })
	}
	m.number(14, int64(s.DroppedLinks()))
	m.nested(15, func(m *message) { m.status(s.Status()) })
	m.fixed32(16, flags(s.SpanContext().TraceFlags(), s.Parent()))
}

// link writes a Link.
func (m *message) link(l sdktrace.Link) {
	id, span := l.SpanContext.TraceID(), l.SpanContext.SpanID()
	m.bytes(1, id[:])
	m.bytes(2, span[:])
	m.attributes(4, l.Attributes)
	m.number(5, int64(l.DroppedAttributeCount))
	m.fixed32(6, flags(l.SpanContext.TraceFlags(), l.SpanContext))
}

// status writes a Status, which has numbers of its own.
func (m *message) status(s sdktrace.Status) {
	m.text(2, s.Description)
	switch s.Code {
	case codes.Ok:
		m.number(3, 1)
	case codes.Error:
		m.number(3, 2)
	}
}

// flags are those of the trace and, above them, whether the context is known to be, and
// is, that of another process.
func flags(of trace.TraceFlags, context trace.SpanContext) uint32 {
	f := uint32(of) | 0x100
	if context.IsRemote() {
		f |= 0x200
	}
	return f
}

// attributes writes a field of KeyValues.
func (m *message) attributes(field int, all []attribute.KeyValue) {
	for _, a := range all {
		m.nested(field, func(m *message) {
			m.text(1, string(a.Key))
			m.nested(2, func(m *message) { m.value(a.Value) })
		})
	}
}

// value writes an AnyValue, in which zero values are written too.
func (m *message) value(v attribute.Value) {
	switch v.Type() {
	case attribute.STRING:
		m.write(1, []byte(v.AsString()))
	case attribute.BOOL:
		m.tag(2, varint)
		*m = append(*m, 0)
		if v.AsBool() {
			(*m)[len(*m)-1] = 1
		}
	case attribute.INT64:
		m.tag(3, varint)
		*m = binary.AppendUvarint(*m, uint64(v.AsInt64()))
	case attribute.FLOAT64:
		m.tag(4, fixed64)
		*m = binary.LittleEndian.AppendUint64(*m, math.Float64bits(v.AsFloat64()))
	case attribute.STRINGSLICE:
		values(m, v.AsStringSlice(), attribute.StringValue)
	case attribute.BOOLSLICE:
		values(m, v.AsBoolSlice(), attribute.BoolValue)
	case attribute.INT64SLICE:
		values(m, v.AsInt64Slice(), attribute.Int64Value)
	case attribute.FLOAT64SLICE:
		values(m, v.AsFloat64Slice(), attribute.Float64Value)
	case attribute.SLICE:
		values(m, v.AsSlice(), func(v attribute.Value) attribute.Value { return v })
	case attribute.MAP:
		m.nested(6, func(m *message) { m.attributes(1, v.AsMap()) })
	case attribute.BYTESLICE:
		m.write(7, v.AsByteSlice())
	}
}

// values writes an ArrayValue.
func values[T any](m *message, all []T, value func(T) attribute.Value) {
	m.nested(5, func(m *message) {
		for _, v := range all {
			m.nested(1, func(m *message) { m.value(value(v)) })
		}
	})
}

// The kinds of fields.
const (
	varint    = 0
	fixed64   = 1
	delimited = 2
	fixed32   = 5
)

func (m *message) tag(field, kind int) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|uint64(kind))
}

// nested writes a message within this one, also if it is empty.
func (m *message) nested(field int, content func(*message)) {
	m.tag(field, delimited)
	begin := len(*m)
	content(m)
	*m = slices.Insert(*m, begin, binary.AppendUvarint(nil, uint64(len(*m)-begin))...)
}

func (m *message) write(field int, b []byte) {
	m.tag(field, delimited)
	*m = append(binary.AppendUvarint(*m, uint64(len(b))), b...)
}

func (m *message) bytes(field int, b []byte) {
	if len(b) > 0 {
		m.write(field, b)
	}
}

func (m *message) text(field int, s string) { m.bytes(field, []byte(s)) }

func (m *message) number(field int, n int64) {
	if n > 0 {
		m.tag(field, varint)
		*m = binary.AppendUvarint(*m, uint64(n))
	}
}

func (m *message) time(field int, t time.Time) {
	m.tag(field, fixed64)
	*m = binary.LittleEndian.AppendUint64(*m, uint64(max(0, t.UnixNano())))
}

func (m *message) fixed32(field int, n uint32) {
	m.tag(field, fixed32)
	*m = binary.LittleEndian.AppendUint32(*m, n)
}

// rejected reads from an ExportTraceServiceResponse how many spans the receiver did not
// take, and why. What it cannot read it takes for an answer without complaint.
func rejected(answer []byte) (spans int64, why string) {
	for field, value := range fields(answer) {
		if field != 1 {
			continue
		}
		for field, value := range fields(value.bytes) { // ExportTracePartialSuccess
			switch field {
			case 1:
				spans = int64(value.number)
			case 2:
				why = string(value.bytes)
			}
		}
	}
	return spans, why
}

// value is that of a field that was read.
type value struct {
	number uint64
	bytes  []byte
}

// fields ranges over the fields of a message, to the first that is malformed or of a
// kind that answers do not have.
func fields(b []byte) iter.Seq2[int, value] {
	return func(yield func(int, value) bool) {
		for len(b) > 0 {
			tag, n := binary.Uvarint(b)
			if n <= 0 {
				return
			}
			var v value
			rest := b[n:]
			number, n := binary.Uvarint(rest)
			if n <= 0 {
				return
			}
			rest = rest[n:]
			switch tag & 7 {
			case varint:
				v.number = number
			case delimited:
				if number > uint64(len(rest)) {
					return
				}
				v.bytes, rest = rest[:number], rest[number:]
			default:
				return
			}
			if b = rest; !yield(int(tag>>3), v) {
				return
			}
		}
	}
}
