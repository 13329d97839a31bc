package postgres

import (
	"iter"
	"math"
	"unicode"
	"unicode/utf8"
)

// maxWord is how many bytes of a word count: what an index holds has a limit.
const maxWord = 200

// words are what the texts of an agent consist of.
type words struct {
	words  []string   // distinct
	counts [4][]int16 // how often each word stands in each of the texts
	size   int32      // of all texts, in words
}

// wordsOf splits texts as SQLite's full-text search does (tokenizer unicode61 with
// remove_diacritics 0), but for letters that are younger than that: letters and digits
// of all scripts, in either case.
func wordsOf(texts *[4]string) *words {
	w := &words{words: []string{}}
	index := make(map[string]int)
	for column, text := range texts {
		for word := range eachWord(text) {
			w.size++
			i, there := index[word]
			if !there {
				i = len(w.words)
				index[word] = i
				w.words = append(w.words, word)
				for c := range w.counts {
					w.counts[c] = append(w.counts[c], 0)
				}
			}
			if n := &w.counts[column][i]; *n < math.MaxInt16 {
				*n++
			}
		}
	}
	return w
}

// eachWord gives the words of a text, in their order.
func eachWord(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var word []byte
		cut := false
		for _, r := range text + " " {
			switch {
			case inWord(r) || len(word) > 0 && isAccent(r):
				r = fold(r)
				if cut = cut || len(word)+utf8.RuneLen(r) > maxWord; !cut {
					word = utf8.AppendRune(word, r)
				}
			case len(word) > 0:
				if !yield(string(word)) {
					return
				}
				word, cut = word[:0], false
			}
		}
	}
}

// inWord tells which characters words consist of: letters, digits and what else counts,
// and characters of private use.
func inWord(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.Co) }

// isAccent tells which characters belong to the letter before them.
func isAccent(r rune) bool { return r >= 0x300 && r <= 0x331 }

// fold gives the lower case; that of the upper case, because some letters have two
// forms (σ and ς).
func fold(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }

// prefixOf gives a prefix as words have it; "" if no word can begin with it.
func prefixOf(prefix string) string {
	for i, r := range prefix {
		if !inWord(r) && (i == 0 || !isAccent(r)) {
			return ""
		}
	}
	for word := range eachWord(prefix) {
		return word
	}
	return ""
}

// behind gives the first text that no longer begins with the prefix and comes after
// those that do. The prefix must not be "".
func behind(prefix string) string {
	r, size := utf8.DecodeLastRuneInString(prefix)
	r++ // no word has the last of all characters, which is none
	if r == 0xD800 {
		r = 0xE000
	}
	return prefix[:len(prefix)-size] + string(r)
}
