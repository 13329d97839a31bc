package arctest_test

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
)

// TestReasonsAreListed reads the code of the whole module: each reason that a
// call of [arc.Refuse] names must be among those of its problem, so that the
// problem's page shows it; and where a problem is sent, nothing is listed for it
// that nobody writes.
func TestReasonsAreListed(t *testing.T) {
	code := readRefusals(t)
	sent := map[string]bool{}
	for _, c := range code.refusals {
		problem, ok := code.texts[c.problem]
		if !ok {
			continue // a problem that is chosen at run time
		}
		sent[problem] = true
		if listed := arc.Problem(problem).Reasons(); !slices.Contains(listed, c.reason) {
			t.Errorf("%s: %s goes out with reason %q, which arc/reasons.go does not have: %q", c.file, problem, c.reason, listed)
		}
	}
	if len(sent) < 10 {
		t.Errorf("only %d kinds of problems were found in the code", len(sent))
	}
	for p := range arc.Problems() {
		for _, reason := range p.Reasons() {
			own := strings.ReplaceAll(string(p), "-", "_") // what a problem without a reason goes out with
			if sent[string(p)] && reason != own && !code.writes(reason) {
				t.Errorf("%s: nobody sends the reason %q", p, reason)
			}
		}
	}
}

// refusal is a call of [arc.Refuse] whose reason can be read off.
type refusal struct{ file, problem, reason string }

// refusals is what the module's code says about refusals, tests aside.
type refusals struct {
	refusals []refusal
	texts    map[string]string // text constants by name
	words    map[string]bool   // text literals, those of arc/reasons.go aside
}

func readRefusals(t *testing.T) *refusals {
	t.Helper()
	code := &refusals{texts: map[string]string{}, words: map[string]bool{}}
	files := map[string]*ast.File{}
	for _, p := range packages(t) {
		for name, f := range parse(t, p, p.GoFiles) {
			files[path.Join(p.name(), name)] = f
		}
	}
	for name, f := range files {
		code.readTexts(f, name != "arc/reasons.go")
	}
	for file, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && len(call.Args) >= 3 && lastName(call.Fun) == "Refuse" {
				if reason, ok := code.text(call.Args[1]); ok {
					code.refusals = append(code.refusals, refusal{file, lastName(call.Args[0]), reason})
				}
			}
			return true
		})
	}
	return code
}

// writes tells whether the code has the reason, or the beginning of one that it
// puts together.
func (code *refusals) writes(reason string) bool {
	for word := range code.words {
		if word == reason || strings.HasSuffix(word, "_") && strings.HasPrefix(reason, word) {
			return true
		}
	}
	return false
}

// readTexts gathers a file's text constants, and its literals if they count.
func (code *refusals) readTexts(f *ast.File, literals bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i := range min(len(n.Names), len(n.Values)) {
				if text, ok := literal(n.Values[i]); ok {
					code.texts[n.Names[i].Name] = text
				}
			}
		case *ast.BasicLit:
			if text, ok := literal(n); ok && literals {
				code.words[text] = true
			}
		}
		return true
	})
}

// text is the value of a literal or of a constant's name.
func (code *refusals) text(e ast.Expr) (string, bool) {
	if text, ok := literal(e); ok {
		return text, true
	}
	text, ok := code.texts[lastName(e)]
	return text, ok
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

// lastName is the last part of a possibly qualified name.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}
