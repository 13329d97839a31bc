package server

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/coder/websocket"
	"github.com/sourcegraph/jsonrpc2"
)

// frames is the [jsonrpc2.ObjectStream] of a socket.
//
// jsonrpc2 carries the connection, but not the envelopes: its ids lose
// fractions, negative numbers and the difference between null and none, and it
// knows no ARC. So each inbound frame reaches it as a request with a number of
// its own, whose params are the frame's raw text, and each outbound one as a
// response whose result is the finished text. Its hooks put the text in and
// take it out; nothing is decoded or encoded on the way.
type frames struct {
	ctx     context.Context
	ws      *websocket.Conn
	timeout time.Duration // for one frame to be written
	started chan struct{} // closed when frames may be read

	number uint64          // of the last frame read; used by the reader only
	in     json.RawMessage // that frame
	out    json.RawMessage // the frame to write; guarded by jsonrpc2's write lock
}

// errBinary ends a socket whose peer sends binary messages.
var errBinary = errors.New("a binary message")

// ReadObject reads one frame and gives jsonrpc2 a request that stands for it.
func (f *frames) ReadObject(v any) error {
	<-f.started
	kind, text, err := f.ws.Read(f.ctx)
	if err != nil {
		return err
	}
	if kind != websocket.MessageText {
		_ = f.ws.Close(websocket.StatusUnsupportedData, "calls are text messages")
		return errBinary
	}
	f.number++
	f.in = text
	envelope, err := json.Marshal(jsonrpc2.Request{ID: jsonrpc2.ID{Num: f.number}, Method: "frame"})
	if err != nil {
		return err
	}
	return json.Unmarshal(envelope, v)
}

// received runs between ReadObject and the handler.
func (f *frames) received(req *jsonrpc2.Request, _ *jsonrpc2.Response) {
	text := f.in
	req.Params = &text
}

// sending runs just before WriteObject, under the same lock.
func (f *frames) sending(_ *jsonrpc2.Request, resp *jsonrpc2.Response) {
	f.out = *resp.Result
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
