package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/outcome"
)

// messageFlags say what is to be said to an agent.
type messageFlags struct {
	Message     string   `short:"m" placeholder:"TEXT" help:"What to say, at most 65536 bytes."`
	Part        []string `sep:"none" placeholder:"TYPE=VALUE" help:"A part of what to say: text=TEXT, data=JSON, or file=PATH, image=PATH, audio=PATH. May be repeated."`
	InputFile   string   `placeholder:"PATH" help:"Take what to say from a file of at most 8388608 bytes, or from standard input (-, at most 65536 bytes)."`
	InputFormat string   `enum:"text,json" default:"text" help:"What --input-file holds: ${enum}. json is a whole message, or a list of parts."`
}

// given tells whether any of the flags is.
func (m *messageFlags) given() bool { return m.Message != "" || len(m.Part) > 0 || m.InputFile != "" }

// partTypes are the words before the = of --part.
var partTypes = []string{"text", "data", "file", "image", "audio"}

// check finds what is wrong with the flags, without reading files.
func (m *messageFlags) check(p *problems) {
	if !utf8.ValidString(m.Message) {
		p.add("--message", "is not valid UTF-8")
	}
	if len(m.Message) > maxStdin {
		p.report(outcome.Problem{
			Code: outcome.Validation, Field: "--message", Message: fmt.Sprintf("has %d bytes, and at most %d are taken", len(m.Message), maxStdin),
			Suggestion: "Put it into a file and use --input-file FILE.",
		})
	}
	for _, part := range m.Part {
		kind, value, ok := strings.Cut(part, "=")
		switch {
		case !ok || !slices.Contains(partTypes, kind):
			p.report(outcome.Problem{
				Code: outcome.Validation, Field: "--part", Input: shorten(part), Message: "must be TYPE=VALUE with TYPE one of " + strings.Join(partTypes, ", "),
			})
		case value == "":
			p.add("--part", "%s has no value", kind)
		}
	}
	if m.InputFormat == "json" {
		switch {
		case m.InputFile == "":
			p.add("--input-format", "json goes with --input-file only")
		case m.Message != "" || len(m.Part) > 0:
			p.add("--input-format", "json is the whole message, so --message and --part cannot be given with it")
		}
	}
}

// read makes the message: the text, then the parts, then the file. It reads files,
// and calls nobody.
func (m *messageFlags) read(ctx context.Context, c *console) (*arc.Message, error) {
	message := &arc.Message{Role: arc.RoleUser}
	if m.Message != "" {
		message.Parts = append(message.Parts, arc.TextPart(m.Message))
	}
	for _, text := range m.Part {
		kind, value, _ := strings.Cut(text, "=")
		part, err := readPart(kind, value)
		if err != nil {
			return nil, err
		}
		message.Parts = append(message.Parts, part)
	}
	if m.InputFile == "" {
		return message, nil
	}
	text, err := c.readInput(ctx, "--input-file", m.InputFile, maxFile)
	if err != nil {
		return nil, err
	}
	if m.InputFormat == "json" {
		return readMessage(text)
	}
	whole, err := plainText("--input-file", text)
	if err != nil {
		return nil, err
	}
	message.Parts = append(message.Parts, arc.TextPart(whole))
	return message, nil
}

// readPart makes a part of --part.
func readPart(kind, value string) (arc.Part, error) {
	const flag = "--part"
	switch kind {
	case "text":
		text, err := plainText(flag, []byte(value))
		return arc.TextPart(text), err
	case "data":
		v, err := readJSON(flag, []byte(value))
		return arc.Part{Type: arc.PartData, Content: json.RawMessage(v), MimeType: "application/json"}, err
	}
	raw, err := readFile(flag, value, maxPartRaw)
	if err != nil {
		return arc.Part{}, err
	}
	media := mime.TypeByExtension(filepath.Ext(value))
	if media == "" {
		media = http.DetectContentType(raw)
	}
	content, err := json.Marshal(base64.StdEncoding.EncodeToString(raw))
	return arc.Part{Type: arc.PartType(kind), Content: content, MimeType: media, Filename: filepath.Base(value)}, err
}

// readMessage reads a whole message, or a list of parts.
func readMessage(text []byte) (*arc.Message, error) {
	const flag = "--input-file"
	v, err := readJSON(flag, text)
	if err != nil {
		return nil, err
	}
	message := &arc.Message{Role: arc.RoleUser}
	if v.Kind() == '[' {
		err = jsonv2.Unmarshal(v, &message.Parts)
	} else {
		err = jsonv2.Unmarshal(v, message, jsonv2.RejectUnknownMembers(true))
	}
	if err != nil || len(message.Parts) == 0 {
		return nil, outcome.Invalid(outcome.Problem{
			Code: outcome.Validation, Field: flag, Message: `must hold a message like {"role":"user","parts":[{"type":"TextPart","content":"Hi"}]}, or a list of such parts`,
		}).Because(err)
	}
	return message, nil
}

// payloadFlag gives the params of a call as a whole.
type payloadFlag struct {
	RawPayload string `placeholder:"JSON" help:"The params of the call as a whole, or @PATH of a file that holds them. Comments and trailing commas are fine."`
}

// conflicts finds flags that cannot stand beside --raw-payload.
func (f *payloadFlag) conflicts(p *problems, flags map[string]bool) {
	if f.RawPayload == "" {
		return
	}
	for _, name := range sortedNames(flags) {
		if flags[name] {
			p.add(name, "cannot be given with --raw-payload, which holds all params")
		}
	}
}

// payload is the params of a call: an object whose members are not decoded.
type payload map[string]json.RawMessage

// read reads the params; nil if the flag is not given.
func (f *payloadFlag) read(ctx context.Context, c *console) (payload, error) {
	if f.RawPayload == "" {
		return nil, nil
	}
	text := []byte(f.RawPayload)
	if path, ok := strings.CutPrefix(f.RawPayload, "@"); ok {
		var err error
		if text, err = c.readInput(ctx, "--raw-payload", path, maxFile); err != nil {
			return nil, err
		}
	} else if f.RawPayload == "-" {
		var err error
		if text, err = c.readStdin(ctx, "--raw-payload"); err != nil {
			return nil, err
		}
	}
	v, err := readObject("--raw-payload", text)
	if err != nil {
		return nil, err
	}
	params := payload{}
	if err := jsonv2.Unmarshal(v, &params); err != nil {
		return nil, outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: "--raw-payload", Message: "must be a JSON object"}).Because(err)
	}
	return params, nil
}

// readWith reads the params of a call that says something: those of --raw-payload,
// else the message of its flags as the member of that name.
func (f *payloadFlag) readWith(ctx context.Context, c *console, name string, said *messageFlags) (payload, error) {
	params, err := f.read(ctx, c)
	if params != nil || err != nil {
		return params, err
	}
	message, err := said.read(ctx, c)
	if err != nil {
		return nil, err
	}
	params = payload{}
	params.set(name, message)
	return params, nil
}

// set puts a member into the params.
func (p payload) set(name string, v any) {
	text, err := jsonv2.Marshal(v)
	if err == nil { // texts, numbers and booleans always can
		p[name] = json.RawMessage(text)
	}
}

// text gives a member that is a text, "" for none.
func (p payload) text(name string) string {
	var s string
	_ = jsonv2.Unmarshal(p[name], &s) // anything else counts as none
	return s
}

// readPairs reads --metadata K=V. Values are texts.
func readPairs(pairs []string) map[string]string {
	values := map[string]string{}
	for _, pair := range pairs {
		name, text, _ := strings.Cut(pair, "=")
		values[name] = text
	}
	return values
}

// checkPairs finds what is no NAME=VALUE.
func checkPairs(p *problems, flag string, pairs []string) {
	for _, pair := range pairs {
		if name, _, ok := strings.Cut(pair, "="); !ok || name == "" || !utf8.ValidString(pair) {
			p.report(outcome.Problem{Code: outcome.Validation, Field: flag, Input: shorten(pair), Message: "must be NAME=VALUE"})
		}
	}
}
