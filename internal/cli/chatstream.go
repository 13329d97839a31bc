package cli

import (
	"errors"
	"strconv"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// chatLine is an event of a chat's stream.
type chatLine struct {
	Event   string         `json:"event"` // stream, error, done
	Seq     *int64         `json:"seq"`   // for --resume-from; null: it has none
	ChatID  *string        `json:"chat_id"`
	Status  *string        `json:"status"` // of a done event
	Content *externalValue `json:"external"`
}

// chatReader reads one stream of a chat.
type chatReader struct {
	console *console
	data    *chatData
	answer  arc.Message // as far as it has come
	said    error       // what an error event said
	inLine  bool        // people's text does not stand at the beginning of a line
	column  int         // how far it is in its line
	done    bool
}

// stream writes each event as it comes, and gives what it came to. An answer that
// broke off is an error that says where to read on.
func (c *console) stream(from events, of ofAgent, data *chatData) (any, error) {
	r := &chatReader{console: c, data: data, answer: arc.Message{Role: arc.RoleAgent}}
	err := r.read(from)
	if r.inLine {
		data.streamed = true
	}
	if err == nil {
		err = r.said
	}
	r.close(of, err)
	if err == nil || gone(err) {
		return *data, nil
	}
	e := c.classify(err)
	if data.LastSeq == nil {
		return nil, e
	}
	e.ResumeFrom = strconv.FormatInt(*data.LastSeq, 10)
	if r.done {
		e.ResumeFrom = "" // the answer is over, though it failed
	}
	return *data, e
}

// read reads the stream to its end.
func (r *chatReader) read(from events) error {
	for event, err := range from {
		if event.Name == "" {
			return err
		}
		if err != nil {
			r.said = err
		}
		if err := r.take(event); err != nil {
			return err
		}
	}
	if r.said == nil && !r.done {
		return errors.New("the stream ended before the answer did")
	}
	return nil
}

// take writes an event.
func (r *chatReader) take(event client.Event) error {
	line := chatLine{Event: wireWord(event.Name), Content: newExternalValue(event.Data)}
	if event.Seq > 0 {
		line.Seq, r.data.LastSeq = &event.Seq, &event.Seq
	}
	var text string
	switch event.Name {
	case "stream":
		var chunk arc.ChatChunk
		if err := event.Decode(&chunk); err != nil {
			return err
		}
		r.learn(chunk.ChatID)
		r.join(chunk.Message)
		text = partsText(chunk.Message.Parts)
	case "done":
		var done arc.StreamDone
		if err := event.Decode(&done); err != nil {
			return err
		}
		r.learn(done.ChatID)
		line.Status, r.done = optional(wireWord(done.Status)), true
		r.data.Status = line.Status
	case "error":
		var failed arc.StreamError
		if event.Decode(&failed) == nil {
			r.learn(failed.ChatID)
		}
	}
	line.ChatID = r.data.ChatID
	return r.console.line(line, func(p *page) { r.show(p, text) })
}

// learn takes over the chat's id.
func (r *chatReader) learn(id string) {
	if r.data.ChatID == nil {
		r.data.ChatID = wireID(id)
	}
}

// join puts a piece behind those before it. Text goes on in the same part.
func (r *chatReader) join(m arc.Message) {
	r.answer.AgentID, r.answer.Timestamp = m.AgentID, m.Timestamp
	for _, part := range m.Parts {
		last := len(r.answer.Parts) - 1
		if arc.PartType(part.Type) == arc.PartText && last >= 0 && r.answer.Parts[last].Type == arc.PartText && len(part.Extra) == 0 {
			r.answer.Parts[last] = arc.TextPart(r.answer.Parts[last].Text() + part.Text())
			continue
		}
		r.answer.Parts = append(r.answer.Parts, part)
	}
}

// show writes text for people as it comes. Each line begins with a bar, so that it
// cannot be taken for words of arcd; with -o plain it is only the text.
func (r *chatReader) show(p *page, text string) {
	text = outcome.Clean(text)
	if text == "" {
		return
	}
	if r.console.form != "plain" {
		text = r.barred(p, withoutTabs(text))
	}
	r.inLine = true
	p.b.WriteString(text)
}

// barred puts the bar before each line of a text that goes on where the one before
// it ended, and breaks lines that are too long.
func (r *chatReader) barred(p *page, text string) string {
	bar := "  " + p.paint(cyan, quoteSign)
	most := max(p.width-6, 20)
	var b strings.Builder
	if !r.inLine {
		b.WriteString(bar)
		r.column = 0
	}
	for word := range strings.SplitAfterSeq(text, " ") {
		for n, line := range strings.Split(word, "\n") {
			over := r.column > most || r.column+columns(strings.TrimRight(line, " ")) > most // one blank may hang over
			if n > 0 || over && r.column > 0 && line != "" {
				b.WriteString("\n" + bar)
				r.column = 0
			}
			for n, piece := range fold(line, most) { // a word that no line can hold
				if n > 0 {
					b.WriteString("\n" + bar)
					r.column = 0
				}
				b.WriteString(piece)
				r.column += columns(piece)
			}
		}
	}
	return b.String()
}

// close fills in the result.
func (r *chatReader) close(of ofAgent, err error) {
	d := r.data
	chat := &arc.Chat{ID: value(d.ChatID), Status: arc.ChatStatus(value(d.Status))}
	if len(r.answer.Parts) > 0 {
		chat.Message = &r.answer
	}
	d.fill(r.console, of, chat)
	if err != nil && !r.done && d.ChatID != nil && d.LastSeq != nil {
		d.ResumeCommand = optional(r.console.resume(*d.ChatID, of, *d.LastSeq))
	}
}
