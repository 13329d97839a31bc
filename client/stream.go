package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

// Event is one event of a stream.
type Event struct {
	Name string          // "stream", "error" or "done"
	Seq  int64           // its stored number; 0 if it has none
	Data json.RawMessage // what it says, by its name
}

// Decode decodes the event's data.
func (e Event) Decode(v any) error {
	if err := jsonv2.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("decoding a %s event: %w", e.Name, err)
	}
	return nil
}

// ResumeChat goes on with the stream of a chat's latest answer, behind the event
// with the number after: as [Client.StreamChat], but nothing is said. Every event
// of a chat holds its id. With after 0 it begins where the answer does, so a
// caller who chose the chat's id can take up an answer of which nothing came.
//
// The server ends an answer that nobody has been reading for a while; its "done"
// still comes.
func (c *Client) ResumeChat(ctx context.Context, to, chatID string, after int64) iter.Seq2[Event, error] {
	s := &stream{client: c, again: true, chatID: chatID}
	s.call = call{method: "chat.message", to: to, params: silence{chatID, true}, resume: true, lastSeq: after}
	return s.events(ctx)
}

// silence are the params of a chat.message that says nothing: the call only takes
// up a stream.
type silence struct {
	ChatID string `json:"chatId"`
	Stream bool   `json:"stream"`
}

// stream is one stream across all the connections that it takes.
type stream struct {
	client *Client
	call   call
	again  bool      // the call itself can be repeated: it only reads
	chatID string    // the chat that the stream is of, once it is known
	opened time.Time // when the connection of now was answered; zero: it was not
}

// longEnough is how long a connection lasts that was a good one though nothing new
// came: of a quiet task, say, until a gateway or the end of its token cut it.
const longEnough = 10 * time.Second

// errCut is a stream that ended without its done event.
var errCut error = &brokenError{class: arc.ErrUnavailable, err: errors.New("the stream ended before it was done")}

// ending says how a connection ended.
type ending int

const (
	streamOver    ending = iota // the stream is done, or its reader
	streamRefused               // for good
	streamCut                   // it may go on over another connection
	streamExpired               // it may go on with another token
)

// events reads the stream to its done event.
//
//	events
//	└─ for each connection
//	   ├─ connection  open, an error answer ends it; whole events only, each once
//	   ├─ pause       grows while nothing new comes and nothing lasts
//	   └─ resume      behind the last event
func (s *stream) events(ctx context.Context) iter.Seq2[Event, error] {
	s.call.stream = true
	first := *s
	return func(yield func(Event, error) bool) {
		s := first // each iteration begins anew
		retries := s.client.Retries
		if retries == 0 {
			retries = 5
		}
		for failures := 0; ; {
			before := s.call.lastSeq
			end, err := s.connection(ctx, yield)
			if end == streamOver {
				return
			}
			if s.call.lastSeq > before || !s.opened.IsZero() && time.Since(s.opened) >= longEnough {
				failures = 0
			}
			failures++
			if end == streamRefused || failures > retries || !s.repeatable() || ctx.Err() != nil || pause(ctx, failures, err) != nil {
				yield(Event{}, err)
				return
			}
			s.resume()
		}
	}
}

// connection reads one connection and tells how it ended; err is nil only when
// the stream has finished.
func (s *stream) connection(ctx context.Context, yield func(Event, error) bool) (end ending, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a body that is not read to its end must not hold the connection
	s.opened = time.Time{}
	resp, err := s.client.open(ctx, &s.call)
	if err != nil {
		return endingOf(err), err
	}
	defer resp.Body.Close()
	s.opened = time.Now()
	before := s.call.lastSeq
	for event, err := range readEvents(resp.Body, int(s.client.maxAnswer())) {
		if err != nil {
			return s.cut(err)
		}
		if event.Name == "stream" && event.Seq > 0 && event.Seq <= before {
			continue // an earlier connection had it
		}
		s.call.lastSeq = max(s.call.lastSeq, event.Seq)
		if s.chatID == "" {
			s.chatID = chatOf(event)
		}
		failure := failureOf(event)
		if refusal, ok := closing(event, failure); ok {
			if refusal.Code == arc.CodeTokenExpired && s.repeatable() {
				if err := s.client.reopen(ctx, &s.call, refusal); err != nil {
					return streamRefused, err
				}
				return streamExpired, refusal
			}
			return streamRefused, refusal
		}
		if !yield(event, failure) || event.Name == "done" {
			return streamOver, nil
		}
	}
	return streamCut, errCut
}

// cut tells of a stream that stopped in the middle. What is no stream of ARC, or
// too large, is so the next time too.
func (s *stream) cut(err error) (ending, error) {
	end := streamRefused
	if !errors.Is(err, errEvent) && !errors.Is(err, errTooLarge) {
		end, err = streamCut, broken(err)
	}
	return end, fmt.Errorf("reading the stream of %s: %w", s.call.method, err)
}

// closing gives the refusal with which the server ends a stream whose token is no
// longer good: an error event that is not of the stored ones, and of no chat and
// no task. No "done" follows it.
func closing(event Event, failure error) (*arc.Error, bool) {
	refusal, ok := errors.AsType[*arc.Error](failure)
	return refusal, ok && event.Seq == 0 && chatOf(event) == "" && refusal.Code.Access()
}

// endingOf tells whether a call that failed as a whole may go better the next
// time.
func endingOf(err error) ending {
	if wait, transient := transientWait(err); transient && wait <= maxWait {
		return streamCut
	}
	return streamRefused
}

// repeatable tells whether the stream can be taken up again: what only reads
// can, and a chat once one of its events was seen. Saying something twice is
// never done.
func (s *stream) repeatable() bool {
	return s.again || s.chatID != "" && s.call.lastSeq > 0
}

// resume makes the call one that goes on behind the last event. A chat's says
// nothing; it only names the chat.
func (s *stream) resume() {
	if s.call.lastSeq == 0 {
		return
	}
	s.call.resume = true
	if !s.again {
		s.call.method = "chat.message"
		s.call.params = silence{s.chatID, true}
	}
}

// chatOf gives the chat that an event is of.
func chatOf(event Event) string {
	var about struct {
		ChatID string `json:"chatId"`
	}
	_ = jsonv2.Unmarshal(event.Data, &about) // events of tasks have none
	return about.ChatID
}

// failureOf gives the error of an "error" event, nil for the others.
func failureOf(event Event) error {
	if event.Name != "error" {
		return nil
	}
	var about struct {
		Error failure `json:"error"`
	}
	if err := event.Decode(&about); err != nil {
		return err
	}
	return about.Error.failed()
}

// pause waits before the next connection, at least as long as the server asked
// for.
func pause(ctx context.Context, failures int, cause error) error {
	wait, _ := transientWait(cause)
	return rest(ctx, max(wait, backoff(failures)))
}
