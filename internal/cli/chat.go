package cli

import (
	"cmp"
	"context"
	"iter"
	"strconv"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// chatCommand groups the commands about chats.
type chatCommand struct {
	Start chatStart `cmd:"" aliases:"new" help:"Start a chat with an agent and print its answer."`
	Send  chatSend  `cmd:"" aliases:"message,say" help:"Say something in a chat, or take up an answer that broke off."`
	End   chatEnd   `cmd:"" aliases:"close" help:"Close a chat."`
}

// chatTimeout is how long an agent may take for an answer by default.
const chatTimeout = 5 * time.Minute

// chatData is the result of the chat commands.
type chatData struct {
	Effect        string        `json:"effect"` // created, updated, noop (only read on), would_…
	ChatID        *string       `json:"chat_id"`
	Status        *string       `json:"status"` // null: unknown
	Agent         *string       `json:"agent"`
	LastSeq       *int64        `json:"last_seq"`       // of the last event of a stream
	SendCommand   *string       `json:"send_command"`   // says something more
	ResumeCommand *string       `json:"resume_command"` // reads on, where a stream broke off
	EndCommand    *string       `json:"end_command"`
	Chat          *externalChat `json:"chat"` // with the agent's answer; null: nothing came

	streamed bool // people have seen the answer already
}

// fill takes over a chat and makes the commands that go on with it.
func (d *chatData) fill(c *console, of ofAgent, chat *arc.Chat) {
	d.ChatID = cmp.Or(d.ChatID, wireID(chat.ID))
	if chat.Status != "" {
		d.Status = optional(wireWord(string(chat.Status)))
	}
	d.Chat = &externalChat{external, *chat}
	d.link(c, of)
}

// link makes the commands that go on with the chat.
func (d *chatData) link(c *console, of ofAgent) {
	d.Agent = optional(string(of.Agent))
	if d.ChatID != nil && value(d.Status) != string(arc.ChatClosed) {
		d.SendCommand = optional(c.nextCommand("chat send " + *d.ChatID + of.words() + " --input-file -"))
		d.EndCommand = optional(c.nextCommand("chat end " + *d.ChatID + of.words()))
	}
}

// chatStart is "arcd chat start".
type chatStart struct {
	messageFlags
	changing
	parented
	Agent    identifier `required:"" placeholder:"ID" help:"The agent to talk with."`
	Chat     identifier `placeholder:"ID" help:"Id of the new chat. Default: the server makes one."`
	Metadata []string   `sep:"none" placeholder:"NAME=TEXT" help:"Metadata of the chat. May be repeated."`
	Stream   bool       `help:"Print the answer piece by piece as it comes."`
}

func (*chatStart) row() row {
	return row{
		groups: wholeParams,
		danger: mutating, method: "chat.start", auth: true, data: chatData{}, stdin: maxStdin, streams: true, timeout: chatTimeout,
		long: "With --stream each piece is one JSON line (on a terminal, the text as it comes); the last line is the result. " +
			"With --dry-run only the arguments are checked.",
		examples: []string{"arcd chat start --agent echo --message Hello", "arcd chat start --agent stream --message 20 --stream"},
	}
}

// lacking reports that nothing is to be said.
func (s *chatStart) lacking() (field, help string) { return s.mustSay() }

// mustSay names what is missing where nothing is to be said.
func (m *messageFlags) mustSay() (field, help string) {
	if m.given() {
		return "", ""
	}
	return "--message", "Say something with --message, --part or --input-file."
}

func (s *chatStart) check(p *problems) {
	s.messageFlags.check(p)
	checkPairs(p, "--metadata", s.Metadata)
}

// run starts the chat.
func (s *chatStart) run(ctx context.Context, c *console) (any, error) {
	message, err := s.messageFlags.read(ctx, c)
	if err != nil {
		return nil, err
	}
	call, err := c.client(ctx, string(s.Agent))
	if err != nil {
		return nil, err
	}
	of, data := ofAgent{s.Agent}, &chatData{Effect: "created", ChatID: optional(string(s.Chat))}
	if s.DryRun {
		data.Effect = "would_create"
		data.link(c, of)
		return *data, nil
	}
	params := payload{}
	params.set("initialMessage", message)
	if s.Chat != "" {
		params.set("chatId", string(s.Chat))
	}
	if len(s.Metadata) > 0 {
		params.set("metadata", readPairs(s.Metadata))
	}
	s.addParent(params)
	if s.Stream {
		params.set("stream", true)
		return c.stream(call.Stream(ctx, "chat.start", string(s.Agent), params, 0), of, data)
	}
	return whole(ctx, c, call, "chat.start", of, params, data)
}

// chatSend is "arcd chat send".
type chatSend struct {
	ofAgent
	messageFlags
	changing
	Chat       identifier `arg:"" help:"Chat id."`
	Stream     bool       `help:"Print the answer piece by piece as it comes."`
	ResumeFrom *int64     `placeholder:"SEQ" help:"Say nothing, and read on behind the event with this number of the latest answer."`
}

func (*chatSend) row() row {
	return row{
		groups: wholeParams,
		danger: mutating, method: "chat.message", auth: true, data: chatData{}, stdin: maxStdin, streams: true, timeout: chatTimeout,
		long: "A stream that breaks is taken up again by itself. When the credential runs out meanwhile, the error has resume_from for --resume-from, " +
			"and data.resume_command is the whole command. The server ends an answer that nobody reads for a while.",
		examples: []string{"arcd chat send chat-0123 --message 'And then?' --stream", "arcd chat send chat-0123 --resume-from 7"},
	}
}

// lacking reports that nothing is to be said, and nothing to be read.
func (s *chatSend) lacking() (field, help string) {
	if s.ResumeFrom != nil {
		return "", ""
	}
	return s.mustSay()
}

func (s *chatSend) check(p *problems) {
	s.messageFlags.check(p)
	if s.ResumeFrom != nil && *s.ResumeFrom < 0 {
		p.add("--resume-from", "must not be negative")
	}
	if s.ResumeFrom != nil && s.given() {
		p.add("--resume-from", "reads on in an answer, so nothing can be said with it")
	}
}

// run says something, or reads on.
func (s *chatSend) run(ctx context.Context, c *console) (any, error) {
	message, err := s.messageFlags.read(ctx, c)
	if err != nil {
		return nil, err
	}
	call, err := c.client(ctx, string(s.Agent))
	if err != nil {
		return nil, err
	}
	data := &chatData{Effect: "updated", ChatID: optional(string(s.Chat))}
	switch {
	case s.DryRun:
		data.Effect = "would_update"
		data.link(c, s.ofAgent)
		return *data, nil
	case s.ResumeFrom != nil:
		data.Effect, data.LastSeq = "noop", s.ResumeFrom
		return c.stream(call.ResumeChat(ctx, string(s.Agent), string(s.Chat), *s.ResumeFrom), s.ofAgent, data)
	}
	params := payload{}
	params.set("chatId", string(s.Chat))
	params.set("message", message)
	if s.Stream {
		params.set("stream", true)
		return c.stream(call.Stream(ctx, "chat.message", string(s.Agent), params, 0), s.ofAgent, data)
	}
	return whole(ctx, c, call, "chat.message", s.ofAgent, params, data)
}

// chatEnd is "arcd chat end".
type chatEnd struct {
	ofAgent
	changing
	Chat   identifier `arg:"" help:"Chat id."`
	Reason string     `placeholder:"TEXT" help:"Why, for the agent."`
}

func (*chatEnd) row() row {
	return row{
		danger: mutating, method: "chat.end", auth: true, data: chatData{},
		long:     "With --dry-run only the arguments are checked.",
		examples: []string{"arcd chat end chat-0123"},
	}
}

func (s *chatEnd) check(p *problems) {
	if len(s.Reason) > maxReason {
		p.add("--reason", "must be at most %d bytes", maxReason)
	}
}

// run closes the chat.
func (s *chatEnd) run(ctx context.Context, c *console) (any, error) {
	call, err := c.client(ctx, string(s.Agent))
	if err != nil {
		return nil, err
	}
	data := &chatData{Effect: "updated", ChatID: optional(string(s.Chat))}
	if s.DryRun {
		data.Effect = "would_update"
		data.link(c, s.ofAgent)
		return *data, nil
	}
	return whole(ctx, c, call, "chat.end", s.ofAgent, arc.EndChatParams{ChatID: string(s.Chat), Reason: s.Reason}, data)
}

// whole makes a call that is answered by a chat.
func whole(ctx context.Context, c *console, call *client.Client, method string, of ofAgent, params any, data *chatData) (any, error) {
	var result arc.ChatResult
	if err := call.Call(ctx, method, string(of.Agent), params, &result); err != nil {
		return nil, err
	}
	if result.Chat == nil {
		return nil, outcome.Errorf(outcome.ProtocolError, "The answer to %s has no chat.", method)
	}
	data.fill(c, of, result.Chat)
	return *data, nil
}

// show writes the chat for people, the answer in quotes.
func (d chatData) show(p *page) {
	if d.streamed {
		p.line("")
	} else if d.Chat != nil && d.Chat.Message != nil {
		p.quote("answer of the agent", partsText(d.Chat.Message.Parts))
	}
	p.field("chat", value(d.ChatID))
	p.field("status", value(d.Status))
	p.field("effect", d.Effect)
	if d.ResumeCommand != nil {
		p.command("read on with", *d.ResumeCommand)
	} else if d.SendCommand != nil {
		p.command("go on with", *d.SendCommand)
	}
}

// plain gives the answer.
func (d chatData) plain() []string {
	switch {
	case d.streamed:
		return []string{""} // ends the line
	case d.Chat == nil || d.Chat.Message == nil:
		return nil
	}
	return []string{partsText(d.Chat.Message.Parts)}
}

// resume is the command that reads on in a chat.
func (c *console) resume(id string, of ofAgent, seq int64) string {
	return c.nextCommand("chat send " + id + of.words() + " --resume-from " + strconv.FormatInt(seq, 10))
}

// events is what the client gives of a stream.
type events = iter.Seq2[client.Event, error]
