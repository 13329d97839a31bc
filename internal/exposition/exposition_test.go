package exposition_test

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/arcd-io/arcd/internal/exposition"
)

func TestText(t *testing.T) {
	var s exposition.Set
	requests := s.Counters("requests_total", "Requests.", "method", "code")
	times := s.Histograms("seconds", "Time\nof \\ calls.", []float64{.1, 2.5}, "method")
	sockets := s.Gauge("sockets", "Open sockets.")
	s.Counters("never_total", "Has no series.", "x")
	s.Source(func(p *exposition.Page) {
		p.Gauge("info", "About it.", 1, "name", "a \"b\"\n\\c\xff", "other", "")
		p.Gauges("state", "States.", "is", []string{"up", "down"}, func(is string) float64 { return float64(len(is)) })
		p.Gauges("nothing", "None.", "is", nil, nil)
		p.Gauge("odd", "No number.", math.NaN())
		p.Gauge("low", "Below all.", math.Inf(-1))
		p.Counter("big_total", "Much.", 1e21)
	})
	requests.With("POST", "200").Inc()
	requests.With("GET", "404").Inc()
	requests.With("POST", "200").Inc()
	for _, v := range []float64{.05, .1, .2, 3} {
		times.With("a").Observe(v)
	}
	sockets.Add(3)
	sockets.Add(-1)
	want := `# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{code="404",method="GET"} 1
requests_total{code="200",method="POST"} 2
# HELP seconds Time\nof \\ calls.
# TYPE seconds histogram
seconds_bucket{method="a",le="0.1"} 2
seconds_bucket{method="a",le="2.5"} 3
seconds_bucket{method="a",le="+Inf"} 4
seconds_sum{method="a"} 3.35
seconds_count{method="a"} 4
# HELP sockets Open sockets.
# TYPE sockets gauge
sockets 2
# HELP info About it.
# TYPE info gauge
info{name="a \"b\"\n\\c` + "\uFFFD" + `",other=""} 1
# HELP state States.
# TYPE state gauge
state{is="up"} 2
state{is="down"} 4
# HELP odd No number.
# TYPE odd gauge
odd NaN
# HELP low Below all.
# TYPE low gauge
low -Inf
# HELP big_total Much.
# TYPE big_total counter
big_total 1e+21
`
	if d := cmp.Diff(want, string(s.Text())); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	parse(t, s.Text())
}

// parse reads a page with the parser of Prometheus and gives the families' kinds.
func parse(t *testing.T, page []byte) map[string]string {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		t.Fatalf("%v in\n%s", err, page)
	}
	kinds := make(map[string]string)
	for name, f := range families {
		kinds[name] = strings.ToLower(f.GetType().String())
	}
	return kinds
}

func TestProcess(t *testing.T) {
	var s exposition.Set
	s.Source(exposition.Process(time.UnixMilli(1500)))
	page := s.Text()
	kinds := parse(t, page)
	for name, kind := range map[string]string{
		"go_goroutines": "gauge", "go_threads": "gauge", "go_info": "gauge", "go_gc_duration_seconds": "summary",
		"go_memstats_heap_inuse_bytes": "gauge", "go_memstats_alloc_bytes_total": "counter",
		"process_start_time_seconds": "gauge", "process_cpu_seconds_total": "counter", "process_open_fds": "gauge",
		"process_max_fds": "gauge", "process_resident_memory_bytes": "gauge", "process_virtual_memory_bytes": "gauge",
	} {
		if kinds[name] != kind {
			t.Errorf("%s is a %q, want a %s", name, kinds[name], kind)
		}
	}
	if !strings.Contains(string(page), "\nprocess_start_time_seconds 1.5\n") {
		t.Errorf("the start is not in\n%s", page)
	}
	for name := range kinds {
		if strings.Contains(string(page), "\n"+name+" 0\n") && strings.HasPrefix(name, "process_") {
			t.Errorf("%s is 0", name)
		}
	}
}

// TestValuesThatAreNoUTF8: no two series look alike, and none takes another's place.
func TestValuesThatAreNoUTF8(t *testing.T) {
	var s exposition.Set
	f := s.Counters("x_total", "X.", "a", "b")
	for _, values := range [][]string{{"\xfe", ""}, {"\xfd", ""}, {"a\xff", "b"}, {"a", "\xffb"}} {
		f.With(values...).Inc()
	}
	want := "# HELP x_total X.\n# TYPE x_total counter\n" +
		"x_total{a=\"a\",b=\"\uFFFDb\"} 1\nx_total{a=\"a\uFFFD\",b=\"b\"} 1\nx_total{a=\"\uFFFD\",b=\"\"} 2\n"
	if d := cmp.Diff(want, string(s.Text())); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestWithWantsAllLabels(t *testing.T) {
	var s exposition.Set
	f := s.Counters("x_total", "X.", "a", "b")
	defer func() {
		if recover() == nil {
			t.Error("one value for two labels passes")
		}
	}()
	f.With("only")
}

// TestConcurrent counts from many goroutines while pages are made.
func TestConcurrent(t *testing.T) {
	var s exposition.Set
	calls := s.Counters("calls_total", "Calls.", "by")
	times := s.Histograms("seconds", "Time.", []float64{1}, "by")
	level := s.Gauge("level", "Level.")
	var all sync.WaitGroup
	for _, by := range []string{"a", "b", "a", "b"} {
		all.Go(func() {
			for range 500 {
				calls.With(by).Inc()
				times.With(by).Observe(.5)
				level.Add(1)
			}
		})
	}
	all.Go(func() {
		for range 20 {
			parse(t, s.Text())
		}
	})
	all.Wait()
	got := slices.Collect(maps.Keys(parse(t, s.Text())))
	slices.Sort(got)
	if d := cmp.Diff([]string{"calls_total", "level", "seconds"}, got); d != "" {
		t.Error(d)
	}
	for _, line := range []string{`calls_total{by="a"} 1000`, `seconds_bucket{by="b",le="1"} 1000`, `seconds_sum{by="b"} 500`, "level 2000"} {
		if !strings.Contains(string(s.Text()), "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, s.Text())
		}
	}
}

// BenchmarkObserve is what one call costs besides its work.
func BenchmarkObserve(b *testing.B) {
	var s exposition.Set
	h := s.Histograms("seconds", "Time.", []float64{.001, .01, .1, 1}, "by").With("a")
	for b.Loop() {
		h.Observe(.02)
	}
}
