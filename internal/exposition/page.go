package exposition

import (
	"math"
	"strconv"
	"strings"
)

// Page is a page that is being written. It is for one goroutine.
type Page struct {
	text []byte
}

// Gauge writes a family with one series. labels are names and values in turn.
func (p *Page) Gauge(name, help string, value float64, labels ...string) {
	p.begin(name, "gauge", help)
	p.sample(name, value, labels...)
}

// Counter is as Gauge, for what only goes up.
func (p *Page) Counter(name, help string, value float64) {
	p.begin(name, "counter", help)
	p.sample(name, value)
}

// Gauges writes a family with a series for each value of one label, in the order
// of values.
func (p *Page) Gauges(name, help, label string, values []string, value func(string) float64) {
	if len(values) > 0 {
		p.begin(name, "gauge", help)
	}
	for _, v := range values {
		p.sample(name, value(v), label, v)
	}
}

// begin writes the lines that introduce a family.
func (p *Page) begin(name, kind, help string) {
	p.text = append(p.text, "# HELP "+name+" "+helpText.Replace(help)+"\n# TYPE "+name+" "+kind+"\n"...)
}

// What the format escapes.
var (
	helpText  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// sample writes one line. What is no UTF-8 in a label's value is replaced.
func (p *Page) sample(name string, value float64, labels ...string) {
	p.text = append(p.text, name...)
	for i := 0; i+1 < len(labels); i += 2 {
		p.text = append(p.text, "{,"[min(i, 1)])
		p.text = append(p.text, labels[i]+`="`+labelText.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD"))+`"`...)
	}
	if len(labels) > 0 {
		p.text = append(p.text, '}')
	}
	p.text = append(p.text, ' ')
	p.text = append(appendValue(p.text, value), '\n')
}

// appendValue writes a number as the format wants it.
func appendValue(b []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64) // NaN is NaN
}
