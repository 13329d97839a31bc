package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a token's inner form.
const (
	maxDepth = 32  // nesting of header and claims
	maxKeyID = 256 // bytes of the header member kid
)

var errTooLong = fmt.Errorf("longer than %d bytes", MaxToken)

// unverified is a token in its parts, read strictly; nothing in it is true yet.
type unverified struct {
	alg    string
	keyID  string // "" if the header has none
	typ    string // lower case; "" if the header has none
	claims map[string]any
}

// preparse reads the outer form of a token before anything else may look at
// it. It is stricter than a JWT library: what two readers could understand in
// two ways is refused. That is any text that is not exactly three base64url
// segments without padding or loose bits (RFC 7515 section 2), header or claims
// that are not one JSON object in UTF-8 without doubled names at any level, and
// header members that change how a signature is to be read.
func preparse(token string) (*unverified, error) {
	if len(token) > MaxToken {
		return nil, errTooLong
	}
	head, rest, ok := strings.Cut(token, ".")
	body, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return nil, errors.New("not three segments")
	}
	if _, err := segment(signature); err != nil {
		return nil, fmt.Errorf("reading signature: %w", err)
	}
	header, err := object(head)
	if err != nil {
		return nil, fmt.Errorf("reading header: %w", err)
	}
	u := &unverified{}
	if err := u.readHeader(header); err != nil {
		return nil, fmt.Errorf("reading header: %w", err)
	}
	if u.claims, err = object(body); err != nil {
		return nil, fmt.Errorf("reading claims: %w", err)
	}
	return u, nil
}

// readHeader takes what we need from the JOSE header and refuses what we must
// understand but do not: crit in any form (RFC 7515 section 4.1.11), b64 (RFC
// 7797), nested and encrypted tokens. Members that name a key by value or
// address (jwk, jku, x5u, x5c) are not even looked at.
func (u *unverified) readHeader(h map[string]any) error {
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, ok := h[name]; ok {
			return fmt.Errorf("member %s is not supported", name)
		}
	}
	var typ, cty string
	for name, to := range map[string]*string{"alg": &u.alg, "kid": &u.keyID, "typ": &typ, "cty": &cty} {
		if err := textMember(h, name, to); err != nil {
			return err
		}
	}
	if len(u.keyID) > maxKeyID {
		return fmt.Errorf("kid is longer than %d bytes", maxKeyID)
	}
	if cty != "" {
		return errors.New("nested tokens are not supported")
	}
	u.typ = strings.ToLower(typ)
	return nil
}

// textMember reads an optional text that must not be empty if it is there.
func textMember(o map[string]any, name string, to *string) error {
	v, ok := o[name]
	if !ok {
		return nil
	}
	s, ok := v.(string)
	if !ok || s == "" {
		return fmt.Errorf("%s is not a text", name)
	}
	*to = s
	return nil
}

// segment decodes one base64url segment. Go's decoder passes over line breaks,
// so the alphabet is checked first; Strict refuses loose trailing bits.
func segment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// object decodes a segment that must be one JSON object and nothing more.
func object(s string) (map[string]any, error) {
	b, err := segment(s)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		return nil, errors.New("not UTF-8")
	}
	// The decoder's own defaults refuse doubled names and broken UTF-8,
	// lone surrogates in escapes included.
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	v, err := readValue(d, 1)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text behind the JSON object")
	}
	return o, nil
}

// readValue reads the next JSON value; depth counts the objects and arrays that
// it stands in, itself included.
func readValue(d *jsontext.Decoder, depth int) (any, error) {
	tok, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case '{', '[':
		if depth > maxDepth {
			return nil, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		if tok.Kind() == '{' {
			return readMembers(d, depth)
		}
		return readElements(d, depth)
	case '"':
		return tok.String(), nil
	case '0':
		f, _ := tok.Float() // out of range gives the largest float, which no check of ours lets through
		return f, nil
	case 't', 'f':
		return tok.Bool(), nil
	}
	return nil, nil
}

// readMembers reads an object's members up to and with its closing brace.
func readMembers(d *jsontext.Decoder, depth int) (map[string]any, error) {
	o := make(map[string]any, 12)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // before the next read makes the token void
		if o[key], err = readValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return o, err
}

// readElements reads an array's elements up to and with its closing bracket.
func readElements(d *jsontext.Decoder, depth int) ([]any, error) {
	a := []any{}
	for d.PeekKind() != ']' {
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	_, err := d.ReadToken()
	return a, err
}
