package credential_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/credential"
)

func TestContexts(t *testing.T) {
	f := credential.ContextFile{Folder: t.TempDir()}
	ctx := t.Context()
	a := credential.Context{Server: "https://a.example/arc", Agent: "me", Scopes: []string{"x"}}
	b := credential.Context{Server: "http://127.0.0.1:8001/arc"}
	want := func(effect, wanted credential.Effect, err error) {
		t.Helper()
		if effect != wanted || err != nil {
			t.Fatalf("%q, %v; want %q", effect, err, wanted)
		}
	}
	e, err := f.Put(ctx, "a", a)
	want(e, credential.Created, err)
	e, err = f.Put(ctx, "a", a)
	want(e, credential.Noop, err)
	e, err = f.Put(ctx, "b", a)
	want(e, credential.Created, err)
	e, err = f.Put(ctx, "b", b)
	want(e, credential.Updated, err)
	e, found, err := f.Use(ctx, "b")
	if want(e, credential.Updated, err); !found {
		t.Error("a context was not found")
	}
	if e, found, err = f.Use(ctx, "none"); found {
		t.Error("an unknown context was found")
	}
	want(e, credential.Noop, err)
	got, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(credential.Contexts{Current: "b", Contexts: map[string]credential.Context{"a": a, "b": b}}, got); diff != "" {
		t.Error(diff)
	}
	e, err = f.Remove(ctx, "b")
	want(e, credential.Deleted, err)
	e, err = f.Remove(ctx, "b")
	want(e, credential.Noop, err)
	if got, err := f.Load(); err != nil || got.Current != "" || len(got.Contexts) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if info, err := os.Stat(f.Path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestBadContexts(t *testing.T) {
	f := credential.ContextFile{Folder: t.TempDir()}
	good := credential.Context{Server: "https://a.example/arc"}
	for name, c := range map[string]credential.Context{
		"": good, "a b": good, "../a": good, "-a": good, "a/b": good, strings.Repeat("a", 65): good, "a\n": good,
		"no-server": {}, "odd-server": {Server: "arc.example"}, "user": {Server: "https://u:p@a.example"},
		"odd-token-url": {Server: good.Server, TokenURL: "ftp://x"},
	} {
		if _, err := f.Put(t.Context(), name, c); !errors.Is(err, credential.ErrInvalid) {
			t.Errorf("Put(%q): %v", name, err)
		}
	}
	if _, err := os.Stat(f.Path()); err == nil {
		t.Error("a refused change was written")
	}
}

func TestDamagedContexts(t *testing.T) {
	for name, test := range map[string]struct{ text, says string }{
		"unknown member":  {`{"contexts":{"a":{"server":"https://a.example","tokenUrl":"x"}}}`, "tokenUrl"},
		"no JSON":         {`{"contexts":`, "no JSON"},
		"unknown current": {`{"current":"b","contexts":{}}`, `"b"`},
		"bad context":     {`{"contexts":{"a":{"server":"x"}}}`, "context a: server"},
		"bad name":        {`{"contexts":{"../a":{"server":"https://a.example"}}}`, "../a"},
	} {
		f := credential.ContextFile{Folder: t.TempDir()}
		if err := os.WriteFile(f.Path(), []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := f.Load()
		if !errors.Is(err, credential.ErrDamaged) || !strings.Contains(err.Error(), f.Path()) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: Load: %v", name, err)
		}
		if _, err := f.Put(t.Context(), "b", credential.Context{Server: "https://b.example"}); !errors.Is(err, credential.ErrDamaged) {
			t.Errorf("%s: Put: %v", name, err)
		}
		if b, _ := os.ReadFile(f.Path()); string(b) != test.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}
