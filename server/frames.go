package server

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
)

// frames is the [jsonrpc2.ObjectStream] of a socket.
//
// jsonrpc2 carries the connection, but not the envelopes: its ids lose
// fractions, negative numbers and the difference between null and none, and it
// knows no ARC. So each inbound call reaches it as a request with a number of
// its own, whose params are the frame's raw text, and each outbound answer as a
// response whose result is the finished text. Calls of ours go the other way: their
// params are the finished text, and the answer's result or error is put in when
// jsonrpc2 has found the call that it belongs to. Its hooks put the text in and
// take it out; it decodes and encodes nothing but numbers.
type frames struct {
	ctx     context.Context
	ws      *websocket.Conn
	timeout time.Duration // for one frame to be written
	started chan struct{} // closed when frames may be read
	calls   *outgoing     // of ours
	limits  rpc.Limits    // of answers

	number uint64          // of the last call read; used by the reader only
	in     json.RawMessage // that call
	answer *rpc.Answer     // the answer that was read last
	out    json.RawMessage // the frame to write; guarded by jsonrpc2's write lock
}

// errBinary ends a socket whose peer sends binary messages.
var errBinary = errors.New("a binary message")

// ReadObject reads one frame and gives jsonrpc2 a request or a response that stands
// for it. Events of streams, and answers to nothing that was asked, end here.
func (f *frames) ReadObject(v any) error {
	<-f.started
	for {
		kind, text, err := f.ws.Read(f.ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageText {
			_ = f.ws.Close(websocket.StatusUnsupportedData, "calls are text messages")
			return errBinary
		}
		if !f.calls.expected() {
			return f.call(text, v)
		}
		answer, ok := rpc.DecodeAnswer(text, f.limits)
		if !ok {
			answer.ID, answer.Err = rpc.BrokenAnswer(text), unreadable
		}
		switch {
		case f.answered(&answer):
			f.answer = &answer
			return json.Unmarshal([]byte(`{"id":`+string(answer.ID)+`,"result":0}`), v)
		case !ok:
			return f.call(text, v)
		}
	}
}

// unreadable stands for an answer that was meant for one of our calls and is none.
var unreadable = arc.Errorf(arc.CodeInternal, "the answer cannot be read")

// call gives the request that stands for a call.
func (f *frames) call(text []byte, v any) error {
	f.number++
	f.in = text
	envelope, err := json.Marshal(jsonrpc2.Request{ID: jsonrpc2.ID{Num: f.number}, Method: "frame"})
	if err != nil {
		return err
	}
	return json.Unmarshal(envelope, v)
}

// answered gives an answer or event to its call; false if that is all, or there is
// no such call.
func (f *frames) answered(a *rpc.Answer) bool {
	number, err := strconv.ParseUint(string(a.ID), 10, 64)
	if err != nil || strconv.FormatUint(number, 10) != string(a.ID) {
		return false
	}
	if a.Event != "" {
		f.calls.event(number, a.Event, a.Data)
		return false
	}
	return f.calls.answer(number, a.Err)
}

// received runs between ReadObject and whoever gets the message.
func (f *frames) received(req *jsonrpc2.Request, resp *jsonrpc2.Response) {
	if resp == nil {
		text := f.in
		req.Params = &text
		return
	}
	answer := f.answer
	if resp.Result = &answer.Result; answer.Err != nil {
		resp.Result, resp.Error = nil, &jsonrpc2.Error{Code: int64(answer.Err.Code), Message: answer.Err.Message}
	}
}

// sending runs just before WriteObject, under the same lock.
func (f *frames) sending(req *jsonrpc2.Request, resp *jsonrpc2.Response) {
	switch {
	case resp != nil:
		f.out = *resp.Result
	case req.Notif:
		f.out = *req.Params
	default: // the text is an object that lacks its id
		f.out = append([]byte(`{"id":`+strconv.FormatUint(req.ID.Num, 10)+`,`), (*req.Params)[1:]...)
	}
}

// WriteObject writes the finished frame. A reader that is too slow is cut: the
// connection closes when the time is up.
func (f *frames) WriteObject(any) error {
	ctx, cancel := context.WithTimeout(f.ctx, f.timeout)
	defer cancel()
	return f.ws.Write(ctx, websocket.MessageText, f.out)
}

// Close ends the connection without a handshake; a close frame, where one is
// due, has been sent before.
func (f *frames) Close() error { return f.ws.CloseNow() }

// quiet drops jsonrpc2's own log lines: the end of a connection is no news.
type quiet struct{}

// Printf drops the line.
func (quiet) Printf(string, ...any) {}
