package outcome_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/outcome"
)

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"two\nlines\tand a tab":        "two\nlines\tand a tab",
		"\x1b[31mred\x1b[0m":           "[31mred[0m",
		"\x1b]0;title\x07":             "]0;title",
		"a\r\nb\x00\x08\x7f":           "a\nb",
		"\u009b31m\u0085\u009d":        "31m",
		"\x9b31m":                      "\uFFFD31m", // no UTF-8
		"abc\u202etxt.exe\u2066\u2069": "abctxt.exe",
		"Grüße, 日本 👩‍💻":                "Grüße, 日本 👩‍💻",
	} {
		if got := outcome.Clean(text); got != want {
			t.Errorf("Clean(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestCleanJSON(t *testing.T) {
	for doc, want := range map[string]string{
		`{"a":"b"}`:                       `{"a":"b"}`,
		`["\u001b[31m","\u001B"]`:         `["[31m",""]`,
		`["a\u0000b"]`:                    `["a\ufffdb"]`,
		`["\\u001b","\\\u001b"]`:          `["\\u001b","\\"]`,
		`["\u009b\u0090\u009D","\u00e9"]`: `["","\u00e9"]`,
		"[\"\u009b31m é\u00a0\u009d\"]":   "[\"31m é\u00a0\"]",
		"[\"\xc2\xc2\x9b\x9b\"]":          `[""]`, // taking one away must not make another
		`{"\u001bkey":1}`:                 `{"key":1}`,
		`["\"\u001b\""]`:                  `["\"\""]`,
		`["\u0007\b\n"]`:                  `["\u0007\b\n"]`,
		`[\u001b]`:                        `[\u001b]`, // no JSON, and it does not become any
		`["\u001`:                         `["\u001`,
		`["\u00`:                          `["\u00`,
		"[\"\xc2\x1b\"]\\u00":             "[\"\xc2\x1b\"]\\u00",
	} {
		if got := string(outcome.CleanJSON([]byte(doc))); got != want {
			t.Errorf("CleanJSON(%q) = %q, want %q", doc, got, want)
		}
	}
}

// FuzzCleanJSON: JSON stays JSON, and a reader who prints its texts gets no escape
// sequence.
func FuzzCleanJSON(f *testing.F) {
	for _, doc := range []string{`{"a":["\u001b[0m","\\u001b\u0000",1e9]}`, `"\u009b\ud83d\u001b\ude00"`, "\"\u009b\xc2\xc2\x9b\"", `["\u001`, "[\u009b]", `\"\u0000"`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		before := bytes.Clone(doc)
		out := outcome.CleanJSON(doc)
		if !bytes.Equal(doc, before) {
			t.Fatal("the document itself was changed")
		}
		if !json.Valid(doc) {
			return // it is only given what was encoded
		}
		if !json.Valid(out) {
			t.Fatalf("%q is JSON, %q is not", doc, out)
		}
		var v any
		if err := json.Unmarshal(out, &v); err != nil {
			return // a number that is too large
		}
		if text := fmt.Sprint(v); strings.ContainsAny(text, "\x00\x1b\u0090\u009b\u009d") {
			t.Fatalf("%q still steers a terminal: %q", out, text)
		}
		if again := outcome.CleanJSON(out); !bytes.Equal(again, out) {
			t.Fatalf("%q is not clean: %q", out, again)
		}
	})
}

func TestShrink(t *testing.T) {
	long, item := strings.Repeat("x", 20_000), strings.Repeat("y", 100)
	list := func(n int) string { return `{"items":[` + strings.Join(repeat(`"`+item+`"`, n), ",") + `]}` }
	for label, test := range map[string]struct {
		doc       string
		limit     int
		truncated bool
		most      int
		has       string
	}{
		"short":                   {`{"a":1}`, 100, false, 7, `{"a":1}`},
		"no limit":                {`"` + long + `"`, 0, false, 20_002, long},
		"negative":                {`"` + long + `"`, -1, false, 20_002, long},
		"long text within limit":  {`"` + long + `"`, 1 << 20, true, 10_020, "…[truncated]"},
		"long text":               {`{"id":"task-0123456789","t":"` + long + `"}`, 5000, true, 5000, `"id":"task-0123456789"`},
		"name":                    {`{"` + long + `":1}`, 100, false, 20_007, long},
		"list keeps whole ids":    {list(1000), 5000, true, 5000, item},
		"list of numbers":         {"[" + strings.Join(repeat("1", 10_000), ",") + "]", 200, true, 200, "[1,1,"},
		"nested lists":            {"[" + strings.Join(repeat("[1,2,3]", 5000), ",") + "]", 200, true, 200, "[[1"},
		"nothing to cut":          {`{"a":12345678901234567890}`, 5, false, 26, `12345678901234567890`},
		"short texts do not grow": {`["` + strings.Repeat(`ab","`, 10) + `"]`, 8, true, 20, `"ab"`},
		"characters stay whole":   {`"` + strings.Repeat("日", 5000) + `"`, 100, true, 100, "日…[truncated]"},
		"large numbers":           {`{"n":1e400,"t":"` + long + `"}`, 500, true, 500, `"n":1e400`},
		"newline at the end":      {`{"t":"` + long + `"}` + "\n", 500, true, 500, "…"},
		"no JSON":                 {`{"t":"` + long + `"`, 100, false, 20_007, long},
		"too deep":                {strings.Repeat("[", 20_000), 100, false, 20_000, "[[["},
	} {
		got, cut := outcome.Shrink([]byte(test.doc), test.limit)
		if len(got) > test.most || cut.Truncated != test.truncated || cut.Total != len(test.doc) || cut.Returned != len(got) || !strings.Contains(string(got), test.has) {
			t.Errorf("%s: %d bytes, %+v, want at most %d, truncated %v, with %.40q:\n%.200s", label, len(got), cut, test.most, test.truncated, test.has, got)
		}
		if json.Valid([]byte(test.doc)) && !json.Valid(got) {
			t.Errorf("%s: it is no JSON any more: %.200s", label, got)
		}
	}
}

func repeat(text string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = text
	}
	return all
}

// FuzzShrink: JSON stays JSON and never grows, what is within the limit stays, and
// what is not is within it afterwards or has nothing left to cut.
func FuzzShrink(f *testing.F) {
	for _, doc := range []string{
		`{"items":[{"id":"a"},{"id":"b"}],"text":"` + strings.Repeat("wörds ", 3000) + `"}`, `[[[["deep"]]]]`, `"\ud83d"`, "\"\xff\xfe\"", `{"a":1,"a":2}`, `[1,`, `null `,
		`[` + strings.Repeat(`"0123456789abcdef",`, 100) + `0]`,
	} {
		f.Add([]byte(doc), 50)
		f.Add([]byte(doc), 5000)
	}
	f.Fuzz(func(t *testing.T, doc []byte, limit int) {
		short, cut := outcome.Shrink(doc, limit)
		if len(short) > len(doc) || cut.Returned != len(short) || cut.Total != len(doc) || cut.Truncated != (len(short) < len(doc)) {
			t.Fatalf("%d bytes became %d: %+v", len(doc), len(short), cut)
		}
		if len(doc) <= min(limit, 10_000) && cut.Truncated {
			t.Fatal("it was cut although it was within the limit")
		}
		if !json.Valid(doc) {
			return
		}
		if !json.Valid(short) {
			t.Fatalf("%q became %q", doc, short)
		}
		if !utf8.Valid(doc) {
			return // what is no UTF-8 gets longer when it is read, and is never encoded
		}
		var v any
		if limit > 0 && len(short) > limit && json.Unmarshal(short, &v) == nil && !smallest(v) {
			t.Fatalf("%d bytes are more than %d, and there is more to cut: %q", len(short), limit, short)
		}
	})
}

// smallest tells whether a value has nothing left to cut: no long text, and no
// list of several values.
func smallest(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= 10+len("…[truncated]")+2*utf8.UTFMax
	case []any:
		return len(v) == 0 || len(v) == 1 && smallest(v[0])
	case map[string]any:
		for _, value := range v {
			if !smallest(value) {
				return false
			}
		}
	}
	return true
}

func TestSelect(t *testing.T) {
	task := `{"_source":"external","_trusted":false,"id":"t1","status":{"state":"DONE","at":1},"parts":[{"text":"a","n":1},{"text":"b"}]}`
	for label, test := range map[string]struct{ doc, fields, want string }{
		"one":                     {`{"a":1,"b":2}`, "a", `{"a":1}`},
		"blanks":                  {`{"a":1,"b":2}`, " a , b ", `{"a":1,"b":2}`},
		"unknown":                 {`{"a":1}`, "b", `{}`},
		"deeper":                  {`{"a":{"b":1,"c":2},"d":3}`, "a.b", `{"a":{"b":1}}`},
		"two of one object":       {`{"a":{"b":1,"c":2,"d":3}}`, "a.b,a.d", `{"a":{"b":1,"d":3}}`},
		"whole and part":          {`{"a":{"b":1,"c":2}}`, "a.b,a", `{"a":{"b":1,"c":2}}`},
		"part and whole":          {`{"a":{"b":1,"c":2}}`, "a,a.b", `{"a":{"b":1,"c":2}}`},
		"deeper than there is":    {`{"a":7}`, "a.b.c", `{"a":7}`},
		"into null":               {`{"a":null}`, "a.b", `{"a":null}`},
		"into a list":             {`{"a":[{"b":1,"c":2},null,3]}`, "a.b", `{"a":[{"b":1},null,3]}`},
		"items":                   {`{"items":[{"id":1,"x":2},{"id":3}]}`, "id", `{"items":[{"id":1},{"id":3}]}`},
		"items, by name":          {`{"items":[{"id":1,"x":2}],"n":1}`, "items.id", `{"items":[{"id":1}]}`},
		"items, whole":            {`{"items":[{"id":1,"x":2}],"n":1}`, "items", `{"items":[{"id":1,"x":2}]}`},
		"items and what is there": {`{"items":[{"id":1,"n":5}],"n":1,"m":2}`, "id,n", `{"items":[{"id":1,"n":5}],"n":1}`},
		"items of null":           {`{"items":null}`, "id", `{"items":null}`},
		"items that are none":     {`{"items":{"id":1,"x":2}}`, "id", `{"items":{"id":1}}`},
		"items within":            {`{"a":{"items":[{"id":1}],"b":2}}`, "a.b", `{"a":{"b":2}}`},
		"marks stay":              {task, "status.state", `{"_source":"external","_trusted":false,"status":{"state":"DONE"}}`},
		"parts":                   {task, "parts.text", `{"_source":"external","_trusted":false,"parts":[{"text":"a"},{"text":"b"}]}`},
		"null":                    {`null`, "a", `null`},
		"text":                    {`"a"`, "a", `"a"`},
		"no HTML escapes":         {`{"a":"<&>","b":1}`, "a", `{"a":"<&>"}`},
		"large number":            {`{"a":12345678901234567890,"b":1}`, "a", `{"a":12345678901234567890}`},
		"dots only":               {`{"a":1,"":{"":2}}`, ".", `{"":{"":2}}`},
	} {
		got, err := outcome.Select([]byte(test.doc), strings.Split(test.fields, ","))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: Select(%s, %q) = %s, %v, want %s", label, test.doc, test.fields, got, err, test.want)
		}
	}
}

// FuzzSelect: a selection of JSON is JSON, and selecting again changes nothing.
func FuzzSelect(f *testing.F) {
	f.Add([]byte(`{"items":[{"a":{"b":1}},null],"a":2}`), "a.b,items.c")
	f.Add([]byte(`{"a":[[{"b":1}]],"_x":{"y":[]}}`), "a.b")
	f.Add([]byte(strings.Repeat(`{"items":[`, 500)+strings.Repeat(`]}`, 500)), "items.items")
	f.Fuzz(func(t *testing.T, doc []byte, fields string) {
		if !json.Valid(doc) || !utf8.Valid(doc) || len(fields) > 1000 {
			return
		}
		once, err := outcome.Select(doc, strings.Split(fields, ","))
		if err != nil || !json.Valid(once) {
			t.Fatalf("Select(%q, %q) = %q, %v", doc, fields, once, err)
		}
		twice, err := outcome.Select(once, strings.Split(fields, ","))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(compact(t, once), compact(t, twice)); diff != "" {
			t.Fatalf("selecting %q of %q again differs:\n%s", fields, doc, diff)
		}
	})
}

func compact(t *testing.T, doc []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, doc); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
