package server

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	jsonv2 "github.com/go-json-experiment/json"
	"golang.org/x/time/rate"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
)

const (
	// maxTextFrame is the largest frame in bytes that a text socket takes: a token
	// and some words around it.
	maxTextFrame = 20 << 10
	// frameRate and frameBurst are how many frames one peer may send: so many a
	// second, and so many at once after a silence.
	frameRate  = 5
	frameBurst = 20
)

// places bounds the text sockets of one kind: altogether, and for one address.
type places struct{ all, each slots }

func newPlaces(limits Limits) *places {
	return &places{slots{most: limits.ListSockets}, slots{most: limits.ListSocketsPerAddress}}
}

// take takes a place for an address, or gives the refusal.
func (p *places) take(address string) *arc.Error {
	if !p.each.take(address) {
		e := arc.Refuse(arc.ProblemRateLimit, "rate_limited", "No more than %d of these sockets may be open from one address", p.each.most).
			With("limit", p.each.most)
		e.RetryAfter = time.Minute
		return e
	}
	if !p.all.take("") {
		p.each.give(address)
		e := arc.Refuse(arc.ProblemUnavailable, "busy", "All %d places are taken", p.all.most)
		e.RetryAfter = time.Minute
		return e
	}
	return nil
}

func (p *places) give(address string) {
	p.all.give("")
	p.each.give(address)
}

// textSocket is one WebSocket of the registry API: short text frames come in,
// lists of agents go out.
type textSocket struct {
	server    *Server
	ws        *websocket.Conn
	request   *http.Request // of the handshake
	requestID string
	in        chan []byte // frames; closed when no more come
}

// textSocket upgrades a request and serves the socket with run, which gives what
// to close it with; 0: the peer is gone.
//
//	textSocket
//	├─ places              429, 503
//	├─ websocket.Accept    400, 403 (origin), 426
//	├─ read, keepAlive     frames and pings, each on a goroutine of its own
//	└─ run → feed          on this goroutine
func (s *Server) textSocket(w *response, r *http.Request, places *places, run func(context.Context, *textSocket) (websocket.StatusCode, string)) {
	address := remote(r)
	if refusal := places.take(address); refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	defer places.give(address)
	if !s.enterSocket() {
		s.problem(w, r, goingAway())
		return
	}
	defer s.socketWork.Done()
	ws := s.upgrade(w, r)
	if ws == nil {
		return
	}
	ws.SetReadLimit(maxTextFrame)
	s.cfg.Metrics.socketOpened(1)
	defer s.cfg.Metrics.socketOpened(-1)
	c := &textSocket{server: s, ws: ws, request: r, requestID: w.requestID, in: make(chan []byte)}
	c.serve(run)
}

// serve runs the socket to its end.
func (c *textSocket) serve(run func(context.Context, *textSocket) (websocket.StatusCode, string)) {
	// Not below socketCtx: its end is for run, which says goodbye first.
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	defer c.ws.CloseNow() // when run panics, too; else it is closed by then
	pinging, stop := context.WithCancel(ctx)
	defer stop()
	reading.Go(func() { c.read(ctx) })
	reading.Go(func() { c.keepAlive(pinging) })
	status, reason := run(ctx, c)
	stop() // no ping may cut the goodbye
	if status != 0 {
		_ = c.ws.Close(status, reason) // fails only if the peer is gone already
	}
}

// keepAlive looks whether the peer is still there, and cuts the connection if it
// is not. The one who takes the frames must not wait for a pong: it is read behind
// those that were sent before it, which wait to be taken.
func (c *textSocket) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(c.server.cfg.KeepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if !c.ping(ctx) && ctx.Err() == nil {
				_ = c.ws.CloseNow() // it fails only if that is done
				return
			}
		}
	}
}

// read hands on the frames that come in. A peer that sends binary messages, or
// too many, is told so and sent away.
func (c *textSocket) read(ctx context.Context) {
	defer close(c.in)
	limit := rate.NewLimiter(frameRate, frameBurst)
	for {
		kind, frame, err := c.ws.Read(ctx)
		switch {
		case err != nil:
			return
		case kind != websocket.MessageText:
			_ = c.ws.Close(websocket.StatusUnsupportedData, "frames are text messages")
			return
		case !limit.Allow():
			_ = c.ws.Close(websocket.StatusPolicyViolation, "too many frames")
			return
		}
		select {
		case c.in <- frame:
		case <-ctx.Done():
			return
		}
	}
}

// feed is what a text socket sends and answers once it is open.
type feed struct {
	list  *roster // sent after every change
	first bool    // and at once
	stats *roster // sent every statsEvery; nil: never

	answer func(frame []byte) []byte // gives the reply; nil: none
}

// statsEvery is the time between two reports of numbers (contract section 1.6).
const statsEvery = 30 * time.Second

// feed serves an open socket until it ends, or held does: then the token is no
// longer good.
func (c *textSocket) feed(held context.Context, f feed) (websocket.StatusCode, string) {
	stats, update := time.NewTicker(statsEvery), time.NewTimer(0)
	defer stats.Stop()
	defer update.Stop()
	var changed <-chan struct{} // nil while an update is due anyway
	if !f.first {
		update.Stop()
		changed = f.list.changes()
	}
	for alive := true; alive; {
		select {
		case frame, ok := <-c.in:
			alive = ok && c.reply(held, f.answer(frame))
		case <-changed:
			changed = nil
			update.Reset(f.list.due())
		case <-update.C:
			var frames [][]byte
			frames, changed = f.list.get()
			alive = c.sendAll(held, frames)
		case <-stats.C:
			if f.stats != nil {
				frames, _ := f.stats.get()
				alive = c.sendAll(held, frames)
			}
		case <-c.server.socketCtx.Done():
			return websocket.StatusGoingAway, "the server is going down"
		case <-held.Done():
		}
		if held.Err() != nil {
			return websocket.StatusPolicyViolation, closeReason(refusalOf(held))
		}
	}
	return 0, ""
}

// reply sends an answer, if there is one.
func (c *textSocket) reply(held context.Context, frame []byte) bool {
	return frame == nil || c.send(held, frame)
}

// sendAll sends frames one after the other.
func (c *textSocket) sendAll(held context.Context, frames [][]byte) bool {
	for _, frame := range frames {
		if !c.send(held, frame) {
			return false
		}
	}
	return true
}

// send writes one frame; false if the peer is gone or too slow: then the
// connection is cut.
func (c *textSocket) send(held context.Context, frame []byte) bool {
	if held.Err() != nil {
		return false
	}
	ctx, cancel := c.server.writing(held)
	defer cancel()
	return c.ws.Write(ctx, websocket.MessageText, frame) == nil
}

// ping tells whether the peer answers in time.
func (c *textSocket) ping(ctx context.Context) bool {
	ctx, cancel := c.server.writing(ctx)
	defer cancel()
	return c.ws.Ping(ctx) == nil
}

// notice is a frame that the server sends, in the form of the published server:
// times are seconds since 1970.
type notice struct {
	Type      string  `json:"type"`
	Message   string  `json:"message,omitempty"`
	ErrorCode string  `json:"error_code,omitempty"`
	Timestamp float64 `json:"timestamp"`
	Data      any     `json:"data,omitempty"`
}

// notice encodes a frame with the time of now.
func (s *Server) notice(n notice) []byte {
	n.Timestamp = s.timestamp()
	return s.textFrame(n)
}

// timestamp is the present in seconds since 1970, to the millisecond.
func (s *Server) timestamp() float64 { return float64(s.cfg.Now().UnixMilli()) / 1e3 }

// textFrame encodes a frame.
func (s *Server) textFrame(v any) []byte {
	b, err := rpc.AppendJSON(nil, v)
	if err != nil {
		s.log.Error().Str("event", "internal").Err(err).Msg("a frame does not encode")
		return []byte(`{"type":"error","message":"an internal error occurred"}`)
	}
	return b
}

// pong answers ping, as a bare word or an object: both are what the published
// server and client send. ok tells whether frame is a ping, or a pong, which has
// no answer.
func (s *Server) pong(frame []byte) (reply []byte, ok bool) {
	switch word := strings.TrimSpace(string(frame[:min(len(frame), 16)])); {
	case strings.EqualFold(word, "ping"):
		return []byte("pong"), true
	case strings.EqualFold(word, "pong"):
		return nil, true
	}
	switch kind, _ := kindOf(frame); kind {
	case "ping":
		return s.notice(notice{Type: "pong"}), true
	case "pong":
		return nil, true
	}
	return nil, false
}

// kindOf gives the type of a frame; false if it is no JSON object.
func kindOf(frame []byte) (kind string, ok bool) {
	var command struct {
		Type string `json:"type"`
	}
	err := jsonv2.Unmarshal(frame, &command)
	return command.Type, err == nil
}

// unknown answers a frame that asks for what there is not.
func (s *Server) unknown(frame []byte) []byte {
	kind, ok := kindOf(frame)
	if !ok {
		return s.notice(notice{Type: "error", Message: "A frame is ping, pong, or a JSON object with a type"})
	}
	return s.notice(notice{Type: "error", Message: "Unknown message type: " + strings.ToValidUTF8(kind[:min(len(kind), 64)], "")})
}

// rosterPause is the least time between two encodings of a list, and so between
// two updates.
const rosterPause = time.Second

// roster is what many sockets send about the agents: it is encoded once for all of
// them, at most once in rosterPause, and so they all send it then.
type roster struct {
	changes func() <-chan struct{} // gives a channel that is closed when the frames are out of date
	encode  func() [][]byte

	mu     sync.Mutex // guards what follows
	made   time.Time
	frames [][]byte
	next   <-chan struct{} // closed when frames are out of date
}

// due gives the time until newer frames may be made.
func (r *roster) due() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, time.Until(r.made.Add(rosterPause)))
}

// get gives the frames, at most rosterPause old, and a channel that is closed when
// they are out of date; it may be so already.
func (r *roster) get() ([][]byte, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frames == nil || time.Since(r.made) >= rosterPause {
		r.next = r.changes() // first, so that no change is missed
		r.frames, r.made = r.encode(), time.Now()
	}
	return r.frames, r.next
}

// maxListFrame is the largest frame in bytes that a list goes out in: the
// published client gives up on larger ones (1 MiB, close 1009).
const maxListFrame = 1 << 20

// fitting gives the first agents of a list that go into one frame, and as JSON.
func fitting(list arc.AgentInfos) (arc.AgentInfos, []byte, error) {
	const around = 1 << 10 // for what stands around the list
	b := []byte{'['}
	for i := range list {
		end := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = list[i].AppendJSON(b); err != nil {
			return nil, nil, err
		}
		if len(b) > maxListFrame-around {
			return list[:i], append(b[:end], ']'), nil
		}
	}
	return list, append(b, ']'), nil
}
