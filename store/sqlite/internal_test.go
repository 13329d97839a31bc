package sqlite

// Internal, because the text of a query is not to be seen from outside.

import (
	"strings"
	"testing"
)

func TestMatching(t *testing.T) {
	for name, c := range map[string]struct {
		words string
		least int
		want  string
	}{
		"none":  {"", 1, ""},
		"one":   {"a", 1, `("a"*)`},
		"any":   {"b a a", 0, `("a"*) OR ("b"*)`},
		"two":   {"a b c", 2, `("a"* AND "b"*) OR ("a"* AND "c"*) OR ("b"* AND "c"*)`},
		"all":   {"a b c", 9, `("a"* AND "b"* AND "c"*)`},
		"quote": {`a"b`, 1, `("a""b"*)`},
	} {
		if got := matching(strings.Fields(c.words), c.least); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	many := strings.Fields("a b c d e f g h i j k l m n o p")
	if got := strings.Count(matching(many, 8), "OR"); got != 15 {
		t.Errorf("8 of 16: %d times OR, want any one of 16", got)
	}
	if got := matching(many, 16); strings.Contains(got, "OR") {
		t.Errorf("16 of 16: %s", got)
	}
}
