package outcome

import (
	"bytes"
	"strconv"
	"strings"
)

// Clean makes a text that came from elsewhere fit to be shown on a terminal: it
// drops what steers one (escape sequences, control characters besides newline and
// tab) and what turns the direction of text, with which one text can look like
// another.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case steers(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, text)
}

// steers tells whether a character is a control character (C0, DEL, C1).
func steers(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// CleanJSON takes what begins an escape sequence, and NUL, out of the texts of a
// JSON document: escaped ESC goes, and so do its relatives of C1, raw or escaped;
// \u0000 becomes U+FFFD. So no reader that prints a text without thinking gets an
// escape sequence. Nothing outside of texts is touched.
func CleanJSON(doc []byte) []byte {
	if !bytes.Contains(doc, []byte(`\u00`)) && !bytes.Contains(doc, []byte{0xc2}) {
		return doc
	}
	out := make([]byte, 0, len(doc))
	inText := false
	for i := 0; i < len(doc); i++ {
		c := doc[i]
		switch {
		case c == '"':
			inText = !inText
		case inText && c == '\\' && i+1 < len(doc):
			n, instead := escape(doc[i:])
			out = append(out, instead...)
			i += n - 1
			continue
		case inText && c >= 0x80 && c < 0xa0 && out[len(out)-1] == 0xc2 && begins(rune(c)): // UTF-8 of C1
			out = out[:len(out)-1]
			continue
		}
		out = append(out, c)
	}
	return out
}

// escape reads the escape that a text goes on with: its length, and what stands
// there instead.
func escape(text []byte) (n int, instead []byte) {
	if text[1] != 'u' || len(text) < 6 {
		return 2, text[:2]
	}
	r, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	switch {
	case err == nil && r == 0:
		return 6, []byte(`\ufffd`)
	case err == nil && begins(rune(r)):
		return 6, nil
	}
	return 2, text[:2]
}

// begins tells whether a character begins an escape sequence: ESC, or DCS, SOS,
// CSI, OSC, PM and APC of C1 (ECMA-48 section 5.3).
func begins(r rune) bool {
	return r == 0x1b || strings.ContainsRune("\u0090\u0098\u009b\u009d\u009e\u009f", r)
}
