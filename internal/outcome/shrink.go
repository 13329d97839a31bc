package outcome

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Cut says how much of a document was taken away.
type Cut struct {
	Truncated       bool
	Total, Returned int // bytes
}

// longest is how long a text may be in a document that is cut, in bytes.
const longest = 10_000

// cuts are how a document is made shorter, step by step: to how many bytes its
// texts are cut, and to how many items its lists. Lists go before short texts,
// since half an id is worth nothing.
var cuts = []struct{ texts, items int }{
	{longest, math.MaxInt}, {2500, math.MaxInt}, {600, math.MaxInt}, {150, math.MaxInt},
	{150, 1000}, {150, 250}, {150, 60}, {150, 15}, {150, 4}, {150, 1}, {40, 1}, {10, 1},
}

// Shrink cuts a JSON document to about limit bytes: long texts first, then lists,
// then short texts. 0 cuts nothing. A document within the limit stays as it is,
// besides texts over 10,000 bytes. What is no JSON stays as it is.
func Shrink(doc []byte, limit int) (json.RawMessage, Cut) {
	cut := Cut{Total: len(doc), Returned: len(doc)}
	if limit <= 0 || len(doc) <= longest && len(doc) <= limit {
		return doc, cut
	}
	best := doc
	for _, to := range cuts {
		short, err := shrinkOnce(doc, to.texts, to.items)
		if err != nil {
			return doc, cut
		}
		if len(short) < len(best) {
			best = short
		}
		if len(best) <= limit {
			break
		}
	}
	cut.Returned, cut.Truncated = len(best), len(best) < len(doc)
	return best, cut
}

// shrinkOnce cuts the texts and lists of a document. Without anything to cut it
// gives the document itself.
func shrinkOnce(doc []byte, texts, items int) ([]byte, error) {
	var b bytes.Buffer
	in := jsontext.NewDecoder(bytes.NewReader(doc), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	out := jsontext.NewEncoder(&b, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	lost := false
	for {
		kind, length := in.StackIndex(in.StackDepth())
		if kind == '[' && length >= int64(items) && in.PeekKind() != ']' {
			if err := in.SkipValue(); err != nil {
				return nil, err
			}
			lost = true
			continue
		}
		token, err := in.ReadToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		isName := kind == '{' && length%2 == 0
		if token.Kind() == '"' && !isName && len(token.String()) > texts+len(cutMark) {
			token, lost = jsontext.String(cutText(token.String(), texts)), true
		}
		if err := out.WriteToken(token); err != nil {
			return nil, err
		}
	}
	if !lost {
		return doc, nil
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// cutMark stands where a text was cut.
const cutMark = "…[truncated]"

// cutText cuts a text that is longer than most bytes at a character, and marks it.
func cutText(text string, most int) string {
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + cutMark
}
