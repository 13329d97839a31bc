package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Member is the name of the baggage member that holds the traceId of ARC.
const Member = "arc.trace_id"

// maxBaggage is how many bytes of a baggage header are looked at: what every party
// must be able to pass on (W3C Baggage, section 3.3.2).
const maxBaggage = 8192

// Valid gives the header traceparent that a call came with, written in version 00 as
// all that is sent; or "" if it is malformed: a trace then begins anew (W3C Trace
// Context, section 4.3).
func Valid(parent string) string {
	if parent == "" {
		return ""
	}
	sc := parse(parent)
	switch {
	case !sc.IsValid():
		return ""
	case strings.HasPrefix(parent, "00"):
		return parent
	}
	return format(sc.TraceID(), sc.SpanID(), sc.TraceFlags())
}

// ID gives the traceId of a call that came with these: traceID if there is one, else
// that of the header baggage, if it belongs to the trace of the header traceparent,
// else the trace-id of the traceparent in 32 hexadecimal digits. "": there is none.
//
// The baggage is how a traceId comes through parties that know OpenTelemetry and not
// ARC. It says nothing without its trace, because baggage outlives traces.
func ID(traceID, parent, bag string) string {
	if traceID != "" || parent == "" {
		return traceID
	}
	sc := parse(parent)
	if !sc.IsValid() {
		return ""
	}
	if text := fromBaggage(bag); text != "" && derive(text) == sc.TraceID() {
		return text
	}
	return sc.TraceID().String()
}

// Continue gives a context whose next span belongs to the trace of these: a child of
// the span that parent names or, without a valid one, the first of its trace in this
// process, with the trace-id that traceID leads to. With neither it is ctx itself.
func Continue(ctx context.Context, traceID, parent string) context.Context {
	if parent != "" {
		if sc := parse(parent); sc.IsValid() {
			return trace.ContextWithRemoteSpanContext(ctx, sc)
		}
	}
	if traceID == "" {
		return ctx
	}
	// Without a span-id it is no parent: the span has a trace to be in, and nobody is
	// said to have sampled it.
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: derive(traceID)}))
}

// Parent gives the traceparent to call others with: that of the span in ctx, else
// parent, with which the work came, else one made of traceID. So a trace goes on
// through a process that records nothing. "": there is no trace.
//
// A traceparent that is made of a traceId is always the same for it. It says that the
// trace is sampled, because a party that follows its caller would otherwise record
// nothing of a trace on which nobody has decided.
func Parent(ctx context.Context, traceID, parent string) string {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		return format(sc.TraceID(), sc.SpanID(), sc.TraceFlags())
	}
	if parent = Valid(parent); parent != "" || traceID == "" {
		return parent
	}
	sum := sha256.Sum256([]byte(traceID))
	return format(derive(traceID), trace.SpanID(sum[16:24]), trace.FlagsSampled)
}

// Baggage gives the header baggage (W3C Baggage) that goes along with a traceparent,
// so that traceID is not lost where the envelope is. "" for what is no traceId.
func Baggage(traceID string) string {
	if !sound(traceID) {
		return ""
	}
	m, err := baggage.NewMemberRaw(Member, traceID)
	if err != nil {
		return ""
	}
	return m.String()
}

// fromBaggage gives the traceId of a header baggage; "" if it has none that can be read.
func fromBaggage(header string) string {
	if len(header) > maxBaggage || !strings.Contains(header, Member) {
		return ""
	}
	bag, _ := baggage.Parse(header) // members of others may be malformed
	if text := bag.Member(Member).Value(); sound(text) {
		return text
	}
	return ""
}

// sound tells whether the text may be a traceId: 1 to 128 bytes of printable letters, as
// package rpc has it for envelopes.
func sound(traceID string) bool {
	for _, r := range traceID {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return traceID != "" && len(traceID) <= 128 && utf8.ValidString(traceID)
}

// derive gives the trace-id that every party makes of a traceId: the traceId itself if
// it is 32 lower-case hexadecimal digits, not all 0, else the first half of its SHA-256.
func derive(traceID string) trace.TraceID {
	if id, err := trace.TraceIDFromHex(traceID); err == nil {
		return id
	}
	sum := sha256.Sum256([]byte(traceID))
	return trace.TraceID(sum[:16])
}

// parse reads a traceparent (W3C Trace Context, section 3.2); what it gives is not
// valid if that is malformed.
func parse(parent string) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), header(parent)))
}

// format writes a traceparent of version 00.
func format(id trace.TraceID, span trace.SpanID, flags trace.TraceFlags) string {
	const dashes = "00-00000000000000000000000000000000-0000000000000000-00"
	b := []byte(dashes)
	hex.Encode(b[3:], id[:])
	hex.Encode(b[36:], span[:])
	hex.Encode(b[53:], []byte{byte(flags & (trace.FlagsSampled | trace.FlagsRandom))})
	return string(b)
}

// header is the one header of a call that is read here.
type header string

func (h header) Get(key string) string {
	if key == "traceparent" {
		return string(h)
	}
	return ""
}

func (header) Set(string, string) {}

func (header) Keys() []string { return []string{"traceparent"} }
