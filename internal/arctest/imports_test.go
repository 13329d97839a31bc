package arctest_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/arcd-io/arcd/"

// layers is the import direction: what each package may import of this module.
// A package that is not here is refused, so that its place is decided before it
// grows. Tests may import more.
//
//	cmd/arcd → internal/cli → server → methods → rpc ─────→ auth → arc
//	                 │           │         ├───→ registry → auth, store
//	                 │           └─────────┼───→ registry
//	                 │                     └───→ store ──────────→ arc
//	                 ├→ outcome, credential → client ────────────→ arc
//	                 └→ client
var layers = map[string][]string{
	"arc":                   {},
	"auth":                  {"arc", "internal/wholefile"},
	"rpc":                   {"arc", "auth"},
	"store":                 {"arc"},
	"store/sqlite":          {"arc", "store", "store/internal/engine", "store/transfer"},
	"store/postgres":        {"arc", "store", "store/internal/engine", "store/transfer"},
	"store/storetest":       {"arc", "store"},
	"store/internal/engine": {"arc", "store"},
	"store/transfer":        {"arc", "store", "store/internal/engine"},
	"store/natshints":       {"store", "store/internal/engine"},
	"registry":              {"arc", "auth", "store"},
	"methods":               {"arc", "auth", "rpc", "store", "registry", "internal/tracing"},
	"server":                {"arc", "auth", "rpc", "methods", "registry", "carrier", "internal/tracing", "internal/hostload", "internal/exposition"},
	"client":                {"arc"},
	"carrier":               {"arc", "client", "methods", "registry", "internal/tracing"},
	"internal/outcome":      {"arc", "client"},
	"internal/credential":   {"arc", "client", "internal/wholefile"},
	"internal/wholefile":    {},
	"internal/cli":          {"arc", "auth", "store", "store/sqlite", "registry", "methods", "carrier", "server", "client", "internal/egress", "internal/tracing/otlp", "internal/webhook", "internal/outcome", "internal/credential", "internal/ratelimit", "store/natshints", "store/postgres", "store/transfer"},
	"internal/egress":       {"arc"},
	"internal/webhook":      {"arc", "client", "methods", "internal/egress", "internal/tracing"},
	"internal/tracing":      {"arc"},
	"internal/hostload":     {},
	"internal/ratelimit":    {"store"},
	"internal/exposition":   {},

	"internal/tracing/otlp":      {"internal/tracing"},
	"internal/tracing/tracetest": {},

	"cmd/arcd": {"internal/cli"},

	// Help for tests and measurements: nothing above imports it.
	"internal/arctest":       {"arc", "auth", "rpc", "store", "store/sqlite", "registry", "methods", "server", "client"},
	"internal/pgtest":        {},
	"internal/interop":       {"arc", "client"},
	"internal/bench/million": {"arc", "store", "store/sqlite", "store/postgres", "store/transfer", "registry", "internal/pgtest"},
	"internal/bench":         {"arc", "auth", "rpc", "store", "store/sqlite", "store/postgres", "registry", "methods", "carrier", "server", "client", "internal/egress", "internal/webhook", "internal/pgtest"},
	"internal/deps":          {},

	"internal/powercut": {"arc", "client", "store", "store/sqlite"},
	"internal/soak":     {"arc", "client", "internal/pgtest"},

	// Examples prove the public surface.
	"examples/quickstart": {"arc", "client"},
	"examples/m2m":        {"arc", "client"},
	"examples/chatstream": {"arc", "client"},
	"examples/jsonrpc":    {},
	"examples/agent":      {"arc", "client"},
	"examples/embedded":   {"arc", "auth", "methods", "server", "store/sqlite"},
}

// closedTo lists packages of others that a package keeps away from. The network
// ends in server and client (auth fetches keys, arc has the status numbers).
var closedTo = map[string][]string{
	"rpc":          {"net/http"},
	"store":        {"net/http"},
	"store/sqlite": {"net/http"},
	"registry":     {"net/http"},
	"methods":      {"net/http"},
}

// pkg is what "go list" tells about a package.
type pkg struct {
	ImportPath, Dir, Doc               string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports                            []string
}

// name is the import path within the module.
func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the packages of the module.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Doc,GoFiles,TestGoFiles,XTestGoFiles,Imports", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		all = append(all, p)
	}
}

func TestImportDirection(t *testing.T) {
	for _, p := range packages(t) {
		allowed, ok := layers[p.name()]
		if !ok {
			t.Errorf("package %s is not in the table of layers: decide what it may import", p.name())
			continue
		}
		for _, imported := range p.Imports {
			if slices.Contains(closedTo[p.name()], imported) {
				t.Errorf("%s must not import %s", p.name(), imported)
			}
			if ours, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s must not import %s; it may import %v", p.name(), ours, allowed)
			}
			if p.name() == "arc" && strings.Contains(imported, ".") {
				t.Errorf("arc must not import %s: the standard library only", imported)
			}
		}
	}
}

// TestOneFileReadsKeys keeps the key library where it can be replaced.
func TestOneFileReadsKeys(t *testing.T) {
	for _, p := range packages(t) {
		for name, f := range parse(t, p, p.GoFiles) {
			for _, imported := range f.Imports {
				at := path.Join(p.name(), name)
				if strings.Contains(imported.Path.Value, "lestrrat-go/jwx") && at != "auth/jwk.go" && p.name() != "internal/deps" {
					t.Errorf("%s imports %s: only auth/jwk.go may", at, imported.Path.Value)
				}
			}
		}
	}
}

// TestSourceRules holds the rules of the code that a reader relies on: package
// comments, documented exports, nothing that runs by being imported.
func TestSourceRules(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("package %s has no package comment", p.name())
		}
		for name, f := range parse(t, p, p.GoFiles) {
			for _, decl := range f.Decls {
				for _, complaint := range check(decl) {
					t.Errorf("%s: %s", path.Join(p.name(), name), complaint)
				}
			}
		}
	}
}

// TestTestRules: a sleeping test is slow or flaky, a skipped one proves nothing.
// In the bubble of testing/synctest, sleeping is how time passes.
func TestTestRules(t *testing.T) {
	banned := map[string][]string{"time": {"Sleep"}, "t": {"Skip", "Skipf", "SkipNow"}, "b": {"Skip", "Skipf", "SkipNow"}}
	for _, p := range packages(t) {
		for name, f := range parse(t, p, slices.Concat(p.TestGoFiles, p.XTestGoFiles)) {
			ours := maps.Clone(banned)
			if slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` }) {
				delete(ours, "time")
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && slices.Contains(ours[x.Name], s.Sel.Name) {
						t.Errorf("%s calls %s.%s", path.Join(p.name(), name), x.Name, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

func parse(t *testing.T, p pkg, names []string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = f
	}
	return files
}

// check gives what is wrong with one declaration.
func check(decl ast.Decl) []string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.Name == "init" {
			return []string{"has a func init"}
		}
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
			return []string{"func " + d.Name.Name + " is not documented"}
		}
	case *ast.GenDecl:
		var complaints []string
		for _, spec := range d.Specs {
			if name, ok := undocumented(d, spec); ok {
				complaints = append(complaints, name+" is not documented")
			}
		}
		return complaints
	}
	return nil
}

// exportedReceiver tells whether the method can be seen from outside.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			// Error and Unwrap speak for themselves.
			return x.IsExported() && d.Name.Name != "Error" && d.Name.Name != "Unwrap"
		default:
			return true
		}
	}
}

// undocumented gives the name of an exported type, constant or variable without
// a comment. One comment above a group is enough.
func undocumented(d *ast.GenDecl, spec ast.Spec) (string, bool) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		return s.Name.Name, s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				return name.Name, true
			}
		}
	}
	return "", false
}
