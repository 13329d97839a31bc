package postgres_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// foreign lists what one of CockroachDB, YugabyteDB and Citus lacks or does otherwise,
// so that no statement here may use it.
var foreign = map[string]*regexp.Regexp{
	"numbers made by the server":   regexp.MustCompile(`(?i)\b(small|big)?serial\b|\bgenerated\b|\bidentity\b|\bsequence\b|\bnextval\b`),
	"triggers, functions, rules":   regexp.MustCompile(`(?i)\bcreate\s+(or\s+replace\s+)?(constraint\s+)?(trigger|function|procedure|rule)\b|\bdo\s+\$`),
	"types of one's own":           regexp.MustCompile(`(?i)\bcreate\s+(type|domain|extension)\b|\benum\b`),
	"foreign keys":                 regexp.MustCompile(`(?i)\breferences\b|\bforeign\s+key\b`),
	"other constraints":            regexp.MustCompile(`(?i)\bexclude\b|\bdeferrable\b`),
	"locks beside those of rows":   regexp.MustCompile(`(?i)advisory|\block\s+(table|in\b)|^\s*lock\b`),
	"tables that are not durable":  regexp.MustCompile(`(?i)\bunlogged\b|\btemp(orary)?\s+table\b|\bon\s+commit\b`),
	"system columns":               regexp.MustCompile(`(?i)\b(ctid|xmin|xmax|tableoid)\b`),
	"documents and texts searched": regexp.MustCompile(`(?i)\bjsonb?\b|\btsvector\b|\bto_tsquery\b`),
	"cursors":                      regexp.MustCompile(`(?i)\bdeclare\b.*\bcursor\b|\bwith\s+hold\b`),
	"inheritance and partitions":   regexp.MustCompile(`(?i)\binherits\b|\bpartition\s+(by|of)\b`),
	"signals":                      regexp.MustCompile(`(?i)\blisten\b|\bpg_notify\b|^\s*notify\b`),
}

// sqlText finds the literals that are statements or parts of them.
var sqlText = regexp.MustCompile(`(?i)^\s*(select|insert|update|delete|with|create|alter|drop|lock|set|listen|declare|truncate|copy|and|order by|from|where|union)\b`)

// texts gives the statements of the package by the place they stand at.
func texts(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	steps, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(steps) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	comment := regexp.MustCompile(`(?m)--.*$`)
	for _, name := range steps {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, statement := range strings.Split(comment.ReplaceAllString(string(b), ""), ";") {
			found[name+" "+strconv.Itoa(i+1)] = statement
		}
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if text, err := strconv.Unquote(lit.Value); err == nil && sqlText.MatchString(text) {
				found[files.Position(lit.Pos()).String()] = text
			}
			return true
		})
	}
	return found
}

func TestStatementsArePortable(t *testing.T) {
	for at, text := range texts(t) {
		for what, used := range foreign {
			if what == "signals" && strings.HasPrefix(at, "notify.go") {
				continue // a hint is no more than that
			}
			if m := used.FindString(text); m != "" {
				t.Errorf("%s: %q: %s cannot be relied on everywhere", at, m, what)
			}
		}
	}
}

// TestTextsHaveOneOrder: what sorts texts is the same everywhere, and what a client
// compares byte by byte the server does too.
func TestTextsHaveOneOrder(t *testing.T) {
	column := regexp.MustCompile(`(?im)^\s*(add\s+column\s+)?\w+\s+(text|varchar|char)\b.*$`)
	for at, text := range texts(t) {
		if !strings.HasPrefix(at, "migrations/") {
			continue
		}
		for _, line := range column.FindAllString(text, -1) {
			if !strings.Contains(line, `COLLATE "C"`) {
				t.Errorf("%s: %s: no COLLATE \"C\"", at, strings.TrimSpace(line))
			}
		}
	}
}
