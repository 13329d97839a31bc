package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"mime"
	"net/http"
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

// stream is one stream across all the connections that it takes.
type stream struct {
	client *Client
	call   call
	again  bool   // the call itself can be repeated: it only reads
	chatID string // the chat that the stream is of, once it is known
}

// errCut is a stream that ended without its done event.
var errCut = errors.New("the stream ended before it was done")

// events reads the stream to its done event.
//
//	events
//	└─ for each connection
//	   ├─ connect     post, an error answer ends it
//	   ├─ readEvents  whole events only; remembers the last id
//	   └─ pause       grows while nothing new comes
func (s *stream) events(ctx context.Context) iter.Seq2[Event, error] {
	s.call.stream = true
	return func(yield func(Event, error) bool) {
		retries := s.client.Retries
		if retries == 0 {
			retries = 5
		}
		for failures := 0; ; {
			before := s.call.lastSeq
			done, err := s.connection(ctx, yield)
			if done {
				return
			}
			if s.call.lastSeq > before {
				failures = 0
			}
			failures++
			if refused, ok := errors.AsType[*arc.Error](err); ok && refused.RetryAfter == 0 {
				failures = retries + 1
			}
			if failures > retries || !s.repeatable() || ctx.Err() != nil {
				yield(Event{}, err)
				return
			}
			if pause(ctx, failures, err) != nil {
				yield(Event{}, err)
				return
			}
			s.resume()
		}
	}
}

// connection reads one connection. done tells that the iteration is over,
// because the stream or its reader has finished.
func (s *stream) connection(ctx context.Context, yield func(Event, error) bool) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a body that is not read to its end must not hold the connection
	resp, id, err := s.client.post(ctx, &s.call)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode != http.StatusOK || media != arc.MediaSSE {
		return false, s.refused(resp, id)
	}
	for event, err := range readEvents(resp.Body, int(s.client.maxAnswer())) {
		if err != nil {
			return false, fmt.Errorf("reading the stream of %s: %w", s.call.method, err)
		}
		s.call.lastSeq = max(s.call.lastSeq, event.Seq)
		if s.chatID == "" {
			s.chatID = chatOf(event)
		}
		if !yield(event, failureOf(event)) || event.Name == "done" {
			return true, nil
		}
	}
	return false, errCut
}

// refused reads the answer that came in place of a stream.
func (s *stream) refused(resp *http.Response, id string) error {
	body, err := s.client.readBody(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the answer to %s: %w", s.call.method, err)
	}
	if _, err := s.client.result(resp, body, id); err != nil {
		return err
	}
	return fmt.Errorf("%s was answered whole, not as a stream", s.call.method)
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
		s.call.params = struct {
			ChatID string `json:"chatId"`
			Stream bool   `json:"stream"`
		}{s.chatID, true}
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
	var failed arc.StreamError
	if err := event.Decode(&failed); err != nil {
		return err
	}
	return &arc.Error{Code: failed.Error.Code, Message: failed.Error.Message, Details: failed.Error.Details}
}

// pause waits before the next connection: 200 ms, doubling to 5 s, but at least
// as long as the server asked for.
func pause(ctx context.Context, failures int, cause error) error {
	wait := min(100*time.Millisecond<<min(failures, 10), 5*time.Second)
	if e, ok := errors.AsType[*arc.Error](cause); ok {
		wait = max(wait, e.RetryAfter)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
