package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/store"
)

// hits searches for agents of a type.
func hits(t testing.TB, r store.Registry, kind string, limit int, prefixes ...string) []store.Hit {
	t.Helper()
	hs, err := r.SearchAgents(t.Context(), store.Search{Prefixes: prefixes, Type: kind, Limit: limit})
	if err != nil {
		t.Fatalf("SearchAgents(%q): %v", prefixes, err)
	}
	for i, h := range hs {
		if h.Rank <= 0 || i > 0 && (h.Rank > hs[i-1].Rank || h.Rank == hs[i-1].Rank && h.ID <= hs[i-1].ID) {
			t.Fatalf("SearchAgents(%q) is out of order: %v", prefixes, hs)
		}
	}
	return hs
}

// found gives the ids that a search finds, by id.
func found(t testing.TB, r store.Registry, kind string, prefixes ...string) []string {
	t.Helper()
	ids := rankedIDs(hits(t, r, kind, 1000, prefixes...))
	slices.Sort(ids)
	return ids
}

func rankedIDs(hs []store.Hit) []string {
	var ids []string
	for _, h := range hs {
		ids = append(ids, h.ID)
	}
	return ids
}

// putTexts registers an agent with these texts.
func putTexts(t testing.TB, r store.Registry, id string, texts ...string) store.Agent {
	t.Helper()
	a := agent(id)
	a.Texts = [4]string{}
	copy(a.Texts[:], texts)
	return put(t, r, a)
}

func testSearch(t *testing.T, r store.Registry) {
	same(t, "a search among none", found(t, r, "", "x"), nil)
	putTexts(t, r, "a", "Invoice-Reader", "pdf_parse, ocr", "reads invoices", "v2 finance")
	b := agent("b")
	b.Type, b.Texts = "planner", [4]string{"Planner", "plan", "plans the readers' work"}
	put(t, r, b)
	put(t, r, store.Agent{ID: "silent"})
	for words, want := range map[string][]string{
		"invoice": {"a"}, "inv": {"a"}, "reader": {"a", "b"}, "read": {"a", "b"}, "nvoice": nil,
		"parse": {"a"}, "ocr": {"a"}, "v2": {"a"}, "2": nil, "plan": {"b"}, "plan ocr": {"a", "b"},
		"nothing ocr": {"a"}, "nothing": nil, "invoicesx": nil, "readers work": {"b"},
	} {
		same(t, "search for "+words, found(t, r, "", strings.Fields(words)...), want)
	}
	every, err := r.SearchAgents(t.Context(), store.Search{Prefixes: []string{"read", "inv", "nothing"}, Least: 2, Limit: 9})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "with both words", rankedIDs(every), []string{"a"})
	same(t, "of a type", found(t, r, "planner", "read"), []string{"b"})
	same(t, "of the other type", found(t, r, "worker", "read"), []string{"a"})
	same(t, "of no type there is", found(t, r, "Planner", "read"), nil)
	same(t, "one hit twice over", found(t, r, "", "read", "read", "re"), []string{"a", "b"})
	same(t, "a prefix named twice", hits(t, r, "", 9, "read", "read"), hits(t, r, "", 9, "read"))

	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprint("word", i)
	}
	same(t, "500 prefixes", found(t, r, "", append(many, "ocr")...), []string{"a"})
}

// testSearchFresh: a search knows the texts of the last write, and nothing of
// what was deleted.
func testSearchFresh(t *testing.T, r store.Registry) {
	other := putTexts(t, r, "other", "first")
	a := putTexts(t, r, "a", "first")
	a.Texts = [4]string{"", "", "", "second"}
	a = put(t, r, a)
	same(t, "old text", found(t, r, "", "first"), []string{"other"})
	same(t, "new text", found(t, r, "", "second"), []string{"a"})
	check(t, r.DeleteAgent(t.Context(), "a", a.Rev))
	check(t, r.DeleteAgent(t.Context(), "other", other.Rev))
	same(t, "after deletion", found(t, r, "", "first", "second"), nil)
	for i := range 3 {
		a = putTexts(t, r, "a", fmt.Sprint("third", i))
		b := putTexts(t, r, "b", fmt.Sprint("third", i))
		same(t, "with the ids of deleted agents", found(t, r, "", "first", "second", "third"), []string{"a", "b"})
		same(t, "the new words", found(t, r, "", fmt.Sprint("third", i)), []string{"a", "b"})
		check(t, r.DeleteAgent(t.Context(), "a", a.Rev))
		check(t, r.DeleteAgent(t.Context(), "b", b.Rev))
	}
	same(t, "after the last deletion", found(t, r, "", "third"), nil)
}

func testSearchRank(t *testing.T, r store.Registry) {
	for i := range 20 { // so that the word is a rare one
		putTexts(t, r, fmt.Sprintf("filler-%02d", i), "something", "else", "entirely", "different")
	}
	for id, place := range map[string]int{"d": 0, "c": 1, "b": 2, "a": 3} {
		texts := []string{"some", "other", "words", "here"}
		texts[place] += " translate"
		putTexts(t, r, id, texts...)
	}
	ranked := func(limit int, prefixes ...string) []string { return rankedIDs(hits(t, r, "", limit, prefixes...)) }
	same(t, "by the weight of the text", ranked(9, "translate"), []string{"d", "c", "b", "a"})
	same(t, "the best two", ranked(2, "translat"), []string{"d", "c"})
	putTexts(t, r, "e", "some translate", "rare", "words", "here")
	same(t, "two words before one", ranked(1, "translate", "rare"), []string{"e"})

	for _, id := range []string{"z", "y", "x"} {
		putTexts(t, r, id, "equal")
	}
	same(t, "equal ranks by id", ranked(9, "equal"), []string{"x", "y", "z"})
	same(t, "equal ranks, cut", len(ranked(2, "equal")), 2)
	same(t, "a word that most have", len(ranked(99, "e", "s")), 28)
}

func testSearchScripts(t *testing.T, r store.Registry) {
	putTexts(t, r, "german", "Übersetzer für STRAẞEN", "ÄÖÜ")
	putTexts(t, r, "greek", "ΜΕΤΑΦΡΑΣΤΗΣ")
	putTexts(t, r, "russian", "Переводчик")
	putTexts(t, r, "chinese", "翻译 助手")
	putTexts(t, r, "plain", "uber cafe")
	putTexts(t, r, "french", "café")
	putTexts(t, r, "digits", "٣٤ 2026")
	for word, want := range map[string][]string{
		"über": {"german"}, "äö": {"german"}, "straß": {"german"}, "uber": {"plain"},
		"μεταφρα": {"greek"}, "перевод": {"russian"}, "翻": {"chinese"}, "助手": {"chinese"}, "译": nil,
		"cafe": {"plain"}, "café": {"french"}, "caf": {"french", "plain"}, "٣": {"digits"}, "20": {"digits"},
	} {
		same(t, "search for "+word, found(t, r, "", word), want)
	}
}

// testSearchSyntax looks for what means something in query languages: it must
// neither fail nor find what no word begins with.
func testSearchSyntax(t *testing.T, r store.Registry) {
	putTexts(t, r, "a", "alpha", "beta", "near", "and or not")
	putTexts(t, r, "b", "gamma")
	for word, want := range map[string][]string{
		"near": {"a"}, "not": {"a"}, "and": {"a"}, "or": {"a"},
		`"`: nil, `*`: nil, `-`: nil, `^`: nil, `(`: nil, `:`: nil, `{`: nil, "+": nil, "%": nil, "_": nil, "?1": nil,
		"": nil, " ": nil, "\x00": nil, `""`: nil, "\xff": nil,
		`x" OR "gamma`: nil, `x"* OR gamma`: nil, `x*" OR gamma OR "`: nil, "x\x00\" OR gamma": nil,
		`names:gamma`: nil, `names : gamma`: nil, `{names} : gamma`: nil, `- names : gamma`: nil,
		`NEAR(gamma)`: nil, `NEAR(alpha beta, 9)`: nil, `^gamma x`: nil, `x OR gamma`: nil, `x') OR 1=1 --`: nil,
		`x + gamma`: nil, `x NOT y`: nil, `rank`: nil, `agent_text`: nil,
	} {
		same(t, fmt.Sprintf("search for %q", word), found(t, r, "", word), want)
		same(t, fmt.Sprintf("search for %q or beta", word), found(t, r, "", word, "beta"), []string{"a"})
	}
	same(t, "a type that is syntax", found(t, r, `worker' OR '1'='1`, "gamma"), nil)
	same(t, "no prefix at all", found(t, r, ""), nil)
}
