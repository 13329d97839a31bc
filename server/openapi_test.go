package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// openAPI is an OpenAPI document as any reader of JSON sees it.
type openAPI struct {
	t   *testing.T
	doc map[string]any
}

// readOpenAPI reads the document that a server gives out.
func readOpenAPI(t *testing.T, w *world) *openAPI {
	t.Helper()
	r := w.do(ask{method: http.MethodGet, path: "/openapi.json"})
	if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("/openapi.json: %d %s", r.status, r.header.Get("Content-Type"))
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	fatal(t, err)
	return &openAPI{t, value.(map[string]any)}
}

// at follows a path of member names; nil if there is nothing.
func (d *openAPI) at(names ...string) map[string]any {
	m := d.doc
	for _, name := range names {
		m, _ = m[name].(map[string]any)
	}
	return m
}

// resolve follows a $ref, if o is one.
func (d *openAPI) resolve(o map[string]any) map[string]any {
	d.t.Helper()
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	found := d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	if found == nil {
		d.t.Errorf("%s leads nowhere", ref)
	}
	return found
}

var httpMethods = []string{"get", "post", "put", "patch", "delete"}

// operations gives all operations by method and path.
func (d *openAPI) operations() map[string]map[string]any {
	all := map[string]map[string]any{}
	for path := range d.at("paths") {
		for _, method := range httpMethods {
			if op := d.at("paths", path, method); op != nil {
				all[strings.ToUpper(method)+" "+path] = op
			}
		}
	}
	return all
}

// walk visits all objects of a document.
func walk(value any, visit func(map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		visit(v)
		for _, inner := range v {
			walk(inner, visit)
		}
	case []any:
		for _, inner := range v {
			walk(inner, visit)
		}
	}
}

func TestOpenAPIIsValid(t *testing.T) {
	m := startMembers(t, memberOptions{})
	d := readOpenAPI(t, m.world)
	meta, err := os.ReadFile("testdata/openapi-3.1.schema.json")
	fatal(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(meta))
	fatal(t, err)
	c := jsonschema.NewCompiler()
	fatal(t, c.AddResource("mem:meta.json", value))
	schema, err := c.Compile("mem:meta.json")
	fatal(t, err)
	if err := schema.Validate(d.doc); err != nil {
		t.Errorf("the document is no OpenAPI 3.1: %v", err)
	}
	schemas := d.compiler(d.doc)
	for name := range d.at("components", "schemas") { // the metaschema leaves these open
		schemas("#/components/schemas/" + name)
	}
	used := map[string]bool{}
	walk(d.doc, func(o map[string]any) {
		if ref, ok := o["$ref"].(string); ok {
			used[ref] = true
			d.resolve(o)
		}
	})
	for _, kind := range []string{"schemas", "responses", "parameters", "headers"} {
		for name := range d.at("components", kind) {
			if ref := "#/components/" + kind + "/" + name; !used[ref] {
				t.Errorf("nothing uses %s", ref)
			}
		}
	}
	if got := d.at("info")["version"]; got != "test" {
		t.Errorf("version %v", got)
	}
	if servers := d.doc["servers"].([]any); servers[0].(map[string]any)["url"] != m.url {
		t.Errorf("servers %v", servers)
	}
}

// compiler makes schemas callable by their pointer in doc.
func (d *openAPI) compiler(doc any) func(pointer string) *jsonschema.Schema {
	d.t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	fatal(d.t, c.AddResource("mem:openapi.json", doc))
	return func(pointer string) *jsonschema.Schema {
		d.t.Helper()
		s, err := c.Compile("mem:openapi.json" + pointer)
		if err != nil {
			d.t.Fatalf("%s: %v", pointer, err)
		}
		return s
	}
}

func TestOpenAPIOperations(t *testing.T) {
	d := readOpenAPI(t, startMembers(t, memberOptions{}).world)
	tags, ids := map[string]bool{}, map[string]string{}
	for _, tag := range d.doc["tags"].([]any) {
		tags[tag.(map[string]any)["name"].(string)] = true
	}
	for name, op := range d.operations() {
		id, _ := op["operationId"].(string)
		if other, twice := ids[id]; twice || id == "" {
			t.Errorf("%s has the operationId %q of %q", name, id, other)
		}
		ids[id] = name
		for _, tag := range op["tags"].([]any) {
			if !tags[tag.(string)] {
				t.Errorf("%s has a tag %v that is not declared", name, tag)
			}
		}
		for _, way := range op["security"].([]any) {
			for scheme := range way.(map[string]any) {
				if d.at("components", "securitySchemes", scheme) == nil {
					t.Errorf("%s asks for %s, which is not declared", name, scheme)
				}
			}
		}
		_, path, _ := strings.Cut(name, " ")
		declared := map[string]bool{}
		all, _ := d.at("paths", path)["parameters"].([]any)
		own, _ := op["parameters"].([]any)
		for _, p := range slices.Concat(all, own) {
			if p := d.resolve(p.(map[string]any)); p["in"] == "path" {
				declared["{"+p["name"].(string)+"}"] = true
			}
		}
		for part := range strings.SplitSeq(path, "/") {
			if strings.HasPrefix(part, "{") && !declared[part] {
				t.Errorf("%s does not declare %s", name, part)
			}
		}
	}
}

// A server without a part does not promise it.
func TestOpenAPIOfASmallServer(t *testing.T) {
	d := readOpenAPI(t, start(t, options{}))
	for name := range d.operations() {
		if strings.Contains(name, "/oauth") && !strings.Contains(name, "protected") || strings.Contains(name, "/agents") {
			t.Errorf("%s is there", name)
		}
	}
	walk(d.doc, func(o map[string]any) {
		if o["x-needs"] != nil {
			t.Error("x-needs goes out")
		}
	})
}

// Every route is in the document, and the other way round. The routes are read
// from the source, because a ServeMux does not list them.
func TestOpenAPINamesEveryRoute(t *testing.T) {
	d := readOpenAPI(t, startMembers(t, memberOptions{}).world)
	routes := sourceRoutes(t)
	patterns := map[string]bool{}
	for path := range routes {
		patterns[path] = true
	}
	documented := map[string]bool{}
	for path := range d.at("paths") {
		documented[path] = true
	}
	if diff := cmp.Diff(patterns, documented); diff != "" {
		t.Errorf("routes (-) and documented paths (+): %s", diff)
	}
	ops := d.operations()
	for path, methods := range routes {
		for _, method := range methods {
			if ops[method+" "+path] == nil {
				t.Errorf("%s %s is not in the document", method, path)
			}
		}
	}
}

// A method that is not in the document is refused, one that is there is not.
func TestOpenAPINamesEveryMethod(t *testing.T) {
	m := startMembers(t, memberOptions{})
	d := readOpenAPI(t, m.world)
	ops := d.operations()
	for path := range d.at("paths") {
		concrete := strings.NewReplacer("{agent_id}", "agent-00", "{id}", "agent-00", "{slug}", "forbidden", "{validation_id}", "val_0").Replace(path)
		for _, method := range httpMethods {
			name := strings.ToUpper(method) + " " + path
			if name == "GET /arc" { // refuses as 405 what is no WebSocket
				continue
			}
			r := m.do(ask{method: strings.ToUpper(method), path: concrete})
			if refused, known := r.status == http.StatusMethodNotAllowed, ops[name] != nil; refused == known {
				t.Errorf("%s: status %d, in the document: %v", name, r.status, known)
			}
		}
	}
}

// sourceRoutes reads the patterns and the methods, as far as they stand beside
// them, from the files of package server.
func sourceRoutes(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	fatal(t, err)
	src := source{consts: map[string]ast.Expr{}}
	var parsed []*ast.File
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		fatal(t, err)
		parsed = append(parsed, f)
		ast.Inspect(f, src.collect)
	}
	routes := map[string][]string{}
	for _, f := range parsed {
		ast.Inspect(f, func(n ast.Node) bool { src.routes(n, routes); return true })
	}
	if len(routes) < 50 {
		t.Fatalf("found %d routes only: %v", len(routes), slices.Sorted(maps.Keys(routes)))
	}
	return routes
}

// source knows the constants of a package.
type source struct{ consts map[string]ast.Expr }

func (s source) collect(n ast.Node) bool {
	if spec, ok := n.(*ast.ValueSpec); ok {
		for i, name := range spec.Names {
			if i < len(spec.Values) {
				s.consts[name.Name] = spec.Values[i]
			}
		}
	}
	return true
}

// text gives the value of a constant text; false if it is none.
func (s source) text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		v, err := strconv.Unquote(e.Value)
		return v, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		value, ok := s.consts[e.Name]
		if !ok {
			return "", false
		}
		return s.text(value)
	case *ast.SelectorExpr:
		name, ok := strings.CutPrefix(e.Sel.Name, "Method")
		return strings.ToUpper(name), ok
	case *ast.BinaryExpr:
		x, ok1 := s.text(e.X)
		y, ok2 := s.text(e.Y)
		return x + y, ok1 && ok2
	}
	return "", false
}

// routes adds what n says of routes: mux.Handle(pattern, …), and rows of the table
// {path, method, access, …}.
func (s source) routes(n ast.Node, routes map[string][]string) {
	switch n := n.(type) {
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || f.Sel.Name != "HandleFunc" && f.Sel.Name != "Handle" {
			return
		}
		pattern, ok := s.text(n.Args[0])
		if !ok || strings.HasSuffix(pattern, "{part...}") || strings.HasSuffix(pattern, "{$}") {
			return
		}
		pattern = strings.ReplaceAll(pattern, "...}", "}")
		routes[pattern] = append(routes[pattern], []string{}...)
	case *ast.CompositeLit:
		if n.Type != nil || len(n.Elts) != 4 {
			return
		}
		path, ok1 := s.text(n.Elts[0])
		method, ok2 := s.text(n.Elts[1])
		if ok1 && ok2 && strings.HasPrefix(path, "/") {
			routes[path] = append(routes[path], method)
		}
	}
}

// closed is the document with objects that hold no members but the ones it names,
// unless it says that they may: answers must not tell more than it says.
func (d *openAPI) closed() any {
	b, err := json.Marshal(d.doc)
	fatal(d.t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	fatal(d.t, err)
	walk(value.(map[string]any)["components"].(map[string]any)["schemas"], func(o map[string]any) {
		if o["type"] == "object" && o["properties"] != nil && o["additionalProperties"] == nil && o["required"] != nil {
			o["additionalProperties"] = false
		}
	})
	// The part of these that is beside a reference names its own members only.
	for _, name := range []string{"ValidationProblem", "TokenProblem"} {
		all := value.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)[name].(map[string]any)["allOf"].([]any)
		delete(all[1].(map[string]any), "additionalProperties")
	}
	return value
}

// pointer makes a JSON pointer of names.
func pointer(names ...any) string {
	var b strings.Builder
	b.WriteString("#")
	for _, name := range names {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(fmt.Sprint(name)))
	}
	return b.String()
}
