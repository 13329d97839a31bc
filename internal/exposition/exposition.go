// Package exposition counts, and shows the counts in the text format of
// Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
//
// It holds the few kinds of series that arcd has. The well-known library for this
// reads files and compiles expressions whenever a program starts that only links
// it, which would more than double the start-up of every command.
package exposition

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// ContentType is the media type of the text format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Set is what is shown on one page. The zero value is ready; its methods and what
// they give are safe for concurrent use.
type Set struct {
	mu       sync.Mutex // guards what follows
	families []shown
	sources  []func(*Page)
}

// shown is a family of series: those with the same name.
type shown interface{ show(*Page) }

// Counters makes a family of counters that differ in the values of labels.
func (s *Set) Counters(name, help string, labels ...string) *Family[Counter] {
	return add(s, newFamily(name, help, "counter", labels, func() *Counter { return new(Counter) }))
}

// Histograms makes a family of histograms that differ in the values of labels.
// buckets are the upper bounds of the buckets, ascending, without +Inf.
func (s *Set) Histograms(name, help string, buckets []float64, labels ...string) *Family[Histogram] {
	buckets = slices.Clone(buckets)
	return add(s, newFamily(name, help, "histogram", labels, func() *Histogram {
		return &Histogram{bounds: buckets, counts: make([]atomic.Uint64, len(buckets)+1)}
	}))
}

// Gauge makes a number that goes up and down.
func (s *Set) Gauge(name, help string) *Gauge {
	return add(s, newFamily(name, help, "gauge", nil, func() *Gauge { return new(Gauge) })).With()
}

// Source adds series whose values are found when the page is made.
func (s *Set) Source(write func(*Page)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources = append(s.sources, write)
}

// Text is the page: families in the order in which they were made, series in that
// of their labels' values, then what the sources write.
func (s *Set) Text() []byte {
	s.mu.Lock()
	families, sources := slices.Clone(s.families), slices.Clone(s.sources)
	s.mu.Unlock()
	var p Page
	for _, f := range families {
		f.show(&p)
	}
	for _, write := range sources {
		write(&p)
	}
	return p.text
}

func add[T any](s *Set, f *Family[T]) *Family[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.families = append(s.families, f)
	return f
}

// Family is a family of series of one kind, found by the values of their labels.
type Family[T any] struct {
	name, help, kind string
	labels           []string
	make             func() *T

	mu     sync.RWMutex // guards series
	series map[string]*one[T]
}

// one is a series with the values of its labels.
type one[T any] struct {
	values []string
	series *T
}

func newFamily[T any](name, help, kind string, labels []string, make_ func() *T) *Family[T] {
	return &Family[T]{name: name, help: help, kind: kind, labels: labels, make: make_, series: make(map[string]*one[T])}
}

// With gives the series with these values of the labels, in the order of the
// labels, and makes it if it is not there. Another number of values than of labels
// is a mistake of the program and panics.
func (f *Family[T]) With(values ...string) *T {
	if len(values) != len(f.labels) {
		panic(fmt.Sprintf("exposition: %s has %d labels, not %d", f.name, len(f.labels), len(values)))
	}
	for i, v := range values {
		if !utf8.ValidString(v) { // replaced here, so that what is shown alike is one series
			values = slices.Clone(values)
			values[i] = strings.ToValidUTF8(v, "\uFFFD")
		}
	}
	key := strings.Join(values, "\xff") // no part of UTF-8
	f.mu.RLock()
	found := f.series[key]
	f.mu.RUnlock()
	if found != nil {
		return found.series
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if found := f.series[key]; found != nil {
		return found.series
	}
	added := &one[T]{slices.Clone(values), f.make()}
	f.series[key] = added
	return added.series
}

// show writes the family; nothing if it has no series.
func (f *Family[T]) show(p *Page) {
	f.mu.RLock()
	all := make([]*one[T], 0, len(f.series))
	for _, s := range f.series {
		all = append(all, s)
	}
	f.mu.RUnlock()
	slices.SortFunc(all, func(a, b *one[T]) int { return slices.Compare(a.values, b.values) })
	if len(all) > 0 {
		p.begin(f.name, f.kind, f.help)
	}
	for _, s := range all {
		labels := pairs(f.labels, s.values)
		switch series := any(s.series).(type) {
		case *Counter:
			p.sample(f.name, float64(series.n.Load()), labels...)
		case *Gauge:
			p.sample(f.name, series.value(), labels...)
		case *Histogram:
			series.show(p, f.name, labels)
		}
	}
}

// pairs are names and values in turn, in the order of the names.
func pairs(names, values []string) []string {
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	both := make([]string, 0, 2*len(names))
	for _, i := range order {
		both = append(both, names[i], values[i])
	}
	return both
}

// Counter only goes up.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Gauge goes up and down.
type Gauge struct{ bits atomic.Uint64 }

// Add adds d, which may be below 0.
func (g *Gauge) Add(d float64) { addFloat(&g.bits, d) }

func (g *Gauge) value() float64 { return math.Float64frombits(g.bits.Load()) }

// Histogram counts values by size.
type Histogram struct {
	bounds []float64
	counts []atomic.Uint64 // by bucket, not summed up; the last is beyond all bounds
	sum    atomic.Uint64   // bits of a float64
}

// Observe counts v.
func (h *Histogram) Observe(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v) // a bound belongs to its bucket
	h.counts[i].Add(1)
	addFloat(&h.sum, v)
}

func (h *Histogram) show(p *Page, name string, labels []string) {
	var count uint64
	labels = append(slices.Clip(labels), "le", "")
	for i := range h.counts {
		count += h.counts[i].Load()
		bound := math.Inf(1)
		if i < len(h.bounds) {
			bound = h.bounds[i]
		}
		labels[len(labels)-1] = string(appendValue(nil, bound))
		p.sample(name+"_bucket", float64(count), labels...)
	}
	labels = labels[:len(labels)-2]
	p.sample(name+"_sum", math.Float64frombits(h.sum.Load()), labels...)
	p.sample(name+"_count", float64(count), labels...)
}

// addFloat adds d to the float64 whose bits are in at.
func addFloat(at *atomic.Uint64, d float64) {
	for {
		old := at.Load()
		if at.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+d)) {
			return
		}
	}
}
