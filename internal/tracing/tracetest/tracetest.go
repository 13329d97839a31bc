// Package tracetest receives spans in tests, as a collector of OpenTelemetry does, and
// draws the picture of a trace.
package tracetest

import (
	"cmp"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it was received. Ids are in hexadecimal digits.
type Span struct {
	TraceID, ID string
	Parent      string // "" for the first of a process that has no parent
	Name        string
	Kind        string // server, client, producer, consumer, internal
	Service     string // service.name of the sender
	Failed      bool
	Message     string            // why it failed
	Attributes  map[string]string // values as text
	Begin, End  time.Time
}

// Receiver takes spans by OTLP/HTTP.
type Receiver struct {
	// URL is for OTEL_EXPORTER_OTLP_ENDPOINT.
	URL string

	mu       sync.Mutex
	spans    []Span
	raw      []*tracepb.TracesData
	headers  []http.Header
	changed  chan struct{} // closed when more has come
	answered func(http.ResponseWriter) bool
}

// New starts a receiver on loopback, which ends with the test.
func New(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{changed: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Env gives the variables with which a process sends its spans here, soon after they end.
func (r *Receiver) Env() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.URL, "OTEL_BSP_SCHEDULE_DELAY=50"}
}

// Setenv does the same for this process.
func (r *Receiver) Setenv(t testing.TB) {
	t.Helper()
	for _, pair := range r.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

// Answer lets answer see each request first: what it answers itself is not taken.
func (r *Receiver) Answer(answer func(http.ResponseWriter) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = answer
}

// serve takes one request.
func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered != nil && r.answered(w) {
		return
	}
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(req.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// On the wire an ExportTraceServiceRequest is the same as a TracesData.
	all := &tracepb.TracesData{}
	if err := proto.Unmarshal(data, all); err != nil || req.Method != http.MethodPost || req.URL.Path != "/v1/traces" ||
		req.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, fmt.Sprintf("%s %s: %v", req.Method, req.URL.Path, err), http.StatusBadRequest)
		return
	}
	r.take(all, req.Header)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *Receiver) take(all *tracepb.TracesData, h http.Header) {
	r.raw, r.headers = append(r.raw, all), append(r.headers, h)
	for _, of := range all.GetResourceSpans() {
		service := attributes(of.GetResource().GetAttributes())["service.name"]
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans = append(r.spans, read(s, service))
			}
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func read(s *tracepb.Span, service string) Span {
	return Span{
		TraceID: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Name: s.GetName(), Kind: strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")), Service: service,
		Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
		Attributes: attributes(s.GetAttributes()),
		Begin:      time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())),
	}
}

// attributes gives them with their values as text.
func attributes(all []*commonpb.KeyValue) map[string]string {
	m := make(map[string]string, len(all))
	for _, kv := range all {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[kv.GetKey()] = fmt.Sprint(v.IntValue)
		default:
			m[kv.GetKey()] = kv.GetValue().String()
		}
	}
	return m
}

// Spans gives what was received so far, in the order in which it began.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedStableFunc(slices.Values(r.spans), func(a, b Span) int { return a.Begin.Compare(b.Begin) })
}

// Requests gives what was received, request by request, with the headers.
func (r *Receiver) Requests() ([]*tracepb.TracesData, []http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.raw), slices.Clone(r.headers)
}

// patience is how long a test waits for spans.
const patience = 30 * time.Second

// Wait waits until the spans are as enough wants them, and gives them. If that takes more
// than half a minute, the test fails with what there is.
func (r *Receiver) Wait(t testing.TB, enough func([]Span) bool) []Span {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		spans := r.Spans()
		if enough(spans) {
			return spans
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("the spans that came are not what was waited for:\n%s", Tree(spans))
		}
	}
}

// Names tells whether there is a span of each name.
func Names(names ...string) func([]Span) bool {
	return func(spans []Span) bool {
		for _, name := range names {
			if !slices.ContainsFunc(spans, func(s Span) bool { return s.Name == name }) {
				return false
			}
		}
		return true
	}
}

// Tree draws spans as lines "service name [kind]", two spaces deeper for each parent
// that is among them, in the order in which they began. Spans whose parent is not among
// them stand at the left.
func Tree(spans []Span) string {
	known := make(map[string]bool, len(spans))
	below := make(map[string][]Span)
	for _, s := range spans {
		known[s.TraceID+s.ID] = true
	}
	for _, s := range spans {
		parent := s.TraceID + s.Parent
		if !known[parent] {
			parent = ""
		}
		below[parent] = append(below[parent], s)
	}
	var b strings.Builder
	draw(&b, below, "", "")
	return b.String()
}

func draw(b *strings.Builder, below map[string][]Span, parent, indent string) {
	children := slices.Clone(below[parent])
	slices.SortStableFunc(children, func(x, y Span) int {
		return cmp.Or(x.Begin.Compare(y.Begin), strings.Compare(x.Name, y.Name))
	})
	for _, s := range children {
		fmt.Fprintf(b, "%s%s %s [%s]\n", indent, s.Service, s.Name, s.Kind)
		draw(b, below, s.TraceID+s.ID, indent+"  ")
	}
}
