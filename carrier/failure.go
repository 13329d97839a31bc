package carrier

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

// noWord is the message of a failure that the agent gave none for.
const noWord = "the agent failed and did not say why"

// maxFailure is the largest failure that is looked at, in bytes.
const maxFailure = 1 << 20

// failure reads what an agent says of a failure, be it an object or a text, as the
// caller may see it. It is never nil.
func failure(raw json.RawMessage) *arc.Error {
	var f struct {
		Code    any            `json:"code"`
		Message any            `json:"message"`
		Reason  any            `json:"reason"`
		Details map[string]any `json:"details"`
	}
	if len(raw) > maxFailure {
		raw = nil // nobody would read it, and decoded it is many times as large
	}
	if err := jsonv2.Unmarshal(raw, &f); err != nil {
		f.Message = textOf(raw)
	}
	e := &arc.Error{Code: arc.CodeTaskFailed}
	if code, ok := f.Code.(float64); ok && code == float64(int32(code)) && code < 0 {
		e.Code = arc.Code(int32(code))
	}
	e.Message, _ = f.Message.(string)
	reason, ok := f.Details["reason"].(string)
	if !ok {
		reason, _ = f.Reason.(string)
	}
	retryable, _ := f.Details["retryable"].(bool)
	e.With("reason", reason).With("retryable", retryable)
	return own(e)
}

// own gives the error of an agent as one that the caller of the work may see: it has
// a code that does not speak of the caller, a short message, a word and nothing else.
func own(said *arc.Error) *arc.Error {
	retryable, _ := said.Details["retryable"].(bool)
	e := arc.Errorf(said.Code, "%s", sentence(said.Message)).With("reason", word(said.Reason())).With("retryable", retryable)
	switch {
	case e.Code >= 0:
		e.Code = arc.CodeTaskFailed
	case e.Code.Access(), e.Code.Envelope():
		// To the caller this would say that their own credential, or call, is wrong.
		e.Code = arc.CodeTaskFailed
	}
	if e.Message == "" {
		e.Message = noWord
	}
	return e
}

// maxSentence is the longest message of an agent's error, in characters.
const maxSentence = 1000

// sentence makes a foreign text one short line without what could steer a terminal.
func sentence(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), 8*maxSentence)], "\uFFFD")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
	if short := []rune(text); len(short) > maxSentence {
		text = string(short[:maxSentence-1]) + "…"
	}
	return text
}

// word gives a stable word, or the usual one for what is none.
func word(s string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	if s == "" || len(s) > 64 || strings.Trim(s, letters) != "" {
		return "agent_error"
	}
	return s
}

// isBase64 tells whether a JSON text holds base64.
func isBase64(content json.RawMessage) bool {
	_, err := base64.StdEncoding.DecodeString(textOf(content))
	return err == nil
}
