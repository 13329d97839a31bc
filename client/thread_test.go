package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// chats is a server whose calls are answered one after the other, and that notes
// what it was told: the method, and the chat.
type chats struct {
	answers []string // a result or error for each call
	told    []string
}

func (s *chats) RoundTrip(r *http.Request) (*http.Response, error) {
	whole, _ := r.GetBody()
	b, _ := io.ReadAll(whole)
	find := func(name string) string {
		_, rest, _ := strings.Cut(string(b), `"`+name+`":"`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	s.told = append(s.told, strings.TrimSpace(find("method")+" "+find("chatId")))
	if len(s.told) > len(s.answers) {
		return nil, errors.New("there was one call too many")
	}
	answer := s.answers[len(s.told)-1]
	if events, ok := strings.CutPrefix(answer, "sse "); ok {
		return says(r, 200, events, "Content-Type: text/event-stream"), nil
	}
	status := 200
	if strings.Contains(string(b), `"stream":true`) {
		status = 409
	}
	return says(r, status, `{"arc":"1.0","id":$ID,`+answer+`}`), nil
}

// chatIs is the result of a chat call, gone the error of one whose chat is gone.
func chatIs(id string) string {
	return fmt.Sprintf(`"result":{"type":"chat","chat":{"chatId":%q,"status":"ACTIVE"}}`, id)
}

func gone(code arc.Code, reason string) string {
	return fmt.Sprintf(`"error":{"code":%d,"message":"m","details":{"reason":%q,"retryable":false}}`, code, reason)
}

// said is a stream of one piece, closed one that ends with an error in the middle.
func said(id string) string {
	return "sse " + strings.ReplaceAll(chunk(2, "x")+done, `"c"`, `"`+id+`"`)
}

func closedInAnswer(id string) string {
	return "sse " + strings.ReplaceAll(chunk(2, "x")+
		"event: error\nid: 3\ndata: {\"chatId\":\"c\",\"error\":{\"code\":-43002,\"message\":\"m\",\"details\":{\"reason\":\"closed_in_turn\"}}}\n\n"+
		"event: done\nid: 3\ndata: {\"chatId\":\"c\",\"status\":\"CLOSED\",\"done\":true}\n\n", `"c"`, `"`+id+`"`)
}

// TestThread says three things over each server, both ways.
func TestThread(t *testing.T) {
	for label, c := range map[string]struct {
		answers []string
		told    string
		lost    string
		results string // of each Say: ok, or the code of its error
		chatID  string // at the end
	}{
		"one chat":  {[]string{chatIs("c1"), chatIs("c1"), chatIs("c1")}, "start, message c1, message c1", "", "ok ok ok", "c1"},
		"not found": {[]string{chatIs("c1"), gone(-43001, ""), chatIs("c2"), chatIs("c2")}, "start, message c1, start, message c2", "c1", "ok ok ok", "c2"},
		"closed":    {[]string{chatIs("c1"), gone(-43002, "chat_already_closed"), chatIs("c2"), chatIs("c2")}, "start, message c1, start, message c2", "c1", "ok ok ok", "c2"},
		"timed out": {[]string{chatIs("c1"), gone(-43003, ""), chatIs("c2"), gone(-43003, ""), chatIs("c3")}, "start, message c1, start, message c2, start", "c1 c2", "ok ok ok", "c3"},
		"closed in the turn": {
			[]string{chatIs("c1"), gone(-43002, "closed_in_turn"), chatIs("c2")}, "start, message c1, start", "c1", "ok -43002 ok", "c2",
		},
		"gone, and no new one": {
			[]string{chatIs("c1"), gone(-43001, ""), gone(-41002, ""), chatIs("c2")}, "start, message c1, start, start", "c1", "ok -41002 ok", "c2",
		},
		"another failure": {
			[]string{chatIs("c1"), gone(-41006, ""), chatIs("c1")}, "start, message c1, message c1", "", "ok -41006 ok", "c1",
		},
		"streamed, one chat":  {[]string{said("c1"), said("c1"), said("c1")}, "start, message c1, message c1", "", "ok ok ok", "c1"},
		"streamed, not found": {[]string{said("c1"), gone(-43001, ""), said("c2"), said("c2")}, "start, message c1, start, message c2", "c1", "ok ok ok", "c2"},
		"streamed, closed in the answer": {
			[]string{said("c1"), closedInAnswer("c1"), said("c2")}, "start, message c1, start", "c1", "ok -43002 ok", "c2",
		},
		"streamed, closed in the first answer": {
			[]string{closedInAnswer("c1"), said("c2"), said("c2")}, "start, start, message c2", "c1", "-43002 ok ok", "c2",
		},
		"streamed, another failure": {
			[]string{said("c1"), gone(-41002, ""), said("c1")}, "start, message c1, message c1", "", "ok -41002 ok", "c1",
		},
	} {
		web := &chats{answers: c.answers}
		var lost, results []string
		thread := &client.Thread{
			Client: &client.Client{URL: "https://arc.test", HTTP: &http.Client{Transport: web}}, To: "a",
			Lost: func(old string) { lost = append(lost, old) },
		}
		for range 3 {
			var err error
			if strings.HasPrefix(label, "streamed") {
				for _, failed := range thread.Stream(t.Context(), *text("hi")) {
					err = errors.Join(err, failed)
				}
			} else {
				_, err = thread.Say(t.Context(), *text("hi"))
			}
			if result := "ok"; err == nil {
				results = append(results, result)
			} else {
				results = append(results, fmt.Sprint(arc.CodeOf(err)))
			}
		}
		got := []string{strings.ReplaceAll(strings.Join(web.told, ", "), "chat.", ""), strings.Join(lost, " "), strings.Join(results, " "), thread.ChatID}
		if diff := cmp.Diff([]string{c.told, c.lost, c.results, c.chatID}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", label, diff)
		}
	}
}

// TestThreadDoesNotRepeat: a message whose answer got lost may have been taken.
func TestThreadDoesNotRepeat(t *testing.T) {
	calls := 0
	thread := &client.Thread{To: "a", ChatID: "c1", Client: over(func(r *http.Request) (*http.Response, error) {
		calls++
		return nil, io.ErrUnexpectedEOF
	})}
	thread.Client.Attempts = 5
	if _, err := thread.Say(t.Context(), *text("x")); !errors.Is(err, arc.ErrUnavailable) || calls != 1 || thread.ChatID != "c1" {
		t.Errorf("Say: %v after %d calls in %q", err, calls, thread.ChatID)
	}
	for _, err := range thread.Stream(t.Context(), *text("x")) {
		if !errors.Is(err, arc.ErrUnavailable) {
			t.Errorf("Stream: %v", err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls, want one for each message", calls)
	}
}

func TestThreadEnds(t *testing.T) {
	for label, c := range map[string]struct {
		answer string
		chatID string
		code   arc.Code
	}{
		"open":    {chatIs("c1"), "", 0},
		"gone":    {gone(-43001, ""), "", 0},
		"refused": {gone(-44002, ""), "c1", -44002},
	} {
		thread := &client.Thread{To: "a", ChatID: "c1", Client: &client.Client{URL: "https://arc.test", HTTP: &http.Client{Transport: &chats{answers: []string{c.answer}}}}}
		if err := thread.End(t.Context(), "bye"); arc.CodeOf(err) != c.code || thread.ChatID != c.chatID {
			t.Errorf("%s: %v with %q left; want %d, %q", label, err, thread.ChatID, c.code, c.chatID)
		}
	}
	if err := (&client.Thread{}).End(t.Context(), ""); err != nil {
		t.Errorf("a thread without a chat: %v", err)
	}
}
