package carrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/tracing"
)

// HTTPConfig says how an agent is called over HTTP.
type HTTPConfig struct {
	// Endpoint is the URL where the agent speaks ARC. Needed.
	Endpoint string
	// Transport makes the requests. An [*arc.Error] of its says that the endpoint must
	// not be called at all. Nil: one of [NewTransport] for this agent alone.
	Transport http.RoundTripper
	// Token gives the tokens that arcd itself shows to the agent. Nil: none.
	Token client.TokenSource
	// AllowHTTP lets these tokens travel over plain http to other machines.
	AllowHTTP bool
	// Timeout is how long the agent may take until its answer begins. Default 60 s.
	Timeout time.Duration
	// StreamIdle is the longest silence within an answer. Default 120 s.
	StreamIdle time.Duration
	// AnswerBytes is the largest answer. Default 16 MiB.
	AnswerBytes int64
	// EventBytes is the largest event of a streamed answer. Default 1 MiB.
	EventBytes int
	// Poll is the first pause between two looks at a task that the agent has in hand;
	// the longest one is thirty times as long. Default 500 ms. A [Directory] has its own.
	Poll time.Duration
}

// The headers of a call that say what the envelope has no room for.
const (
	// HeaderKey names a call among its repetitions: the same key, the same task.
	HeaderKey = "Idempotency-Key"
	// HeaderTask is arcd's own id of the task: the parentTaskId of what the agent has
	// others do for it.
	HeaderTask = "X-Arc-Task"
)

// complete fills in the defaults.
func (c *HTTPConfig) complete() {
	if c.Transport == nil {
		c.Transport = NewTransport()
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	if c.StreamIdle <= 0 {
		c.StreamIdle = 2 * time.Minute
	}
	if c.AnswerBytes <= 0 {
		c.AnswerBytes = 16 << 20
	}
	if c.Poll <= 0 {
		c.Poll = usualPoll
	}
	if c.EventBytes <= 0 {
		c.EventBytes = 1 << 20
	}
}

// NewTransport makes the transport for endpoints that the operator named: any
// address, no proxy, HTTP/2 where the agent has it, connections kept.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2: true, HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 1000, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
	}
}

// httpLine calls one agent over HTTP.
type httpLine struct {
	client     *client.Client
	eventBytes int
}

// streamShare is how many times the largest answer a stream may have, which says little
// with many bytes.
const streamShare = 16

// newHTTPLine makes a line.
func newHTTPLine(cfg HTTPConfig) *httpLine {
	cfg.complete()
	var tokens client.TokenSource
	if cfg.Token != nil {
		tokens = markedTokens{cfg.Token}
	}
	way := newRoad(cfg.Transport, cfg.Timeout, cfg.StreamIdle)
	way.most = streamShare * cfg.AnswerBytes
	return &httpLine{eventBytes: cfg.EventBytes, client: &client.Client{
		URL: cfg.Endpoint, Token: tokens, AllowHTTP: cfg.AllowHTTP, MaxAnswer: cfg.AnswerBytes,
		HTTP: &http.Client{
			Transport:     way,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}}
}

// Call makes a call. What an agent streams without being asked to is put together.
func (l *httpLine) Call(ctx context.Context, c Call) (json.RawMessage, error) {
	header := http.Header{"User-Agent": {"arcd"}}
	if c.Key != "" {
		header.Set(HeaderKey, c.Key)
	}
	if c.Hops > 0 {
		header.Set(arc.HopsHeader, strconv.Itoa(c.Hops))
	}
	if bag := tracing.Baggage(c.TraceID); bag != "" {
		header.Set("Baggage", bag)
	}
	if c.Thread != "" && c.Method == "task.create" {
		header.Set(HeaderTask, c.Thread)
	}
	ctx = client.WithTrace(ctx, client.Trace{ID: c.TraceID, Parent: c.TraceParent})
	s := &streamed{call: &c}
	result, err := l.client.Relay(ctx, client.Relayed{
		Method: c.Method, From: c.From, To: c.To, Params: c.Params, Header: header,
		Stream: c.Piece != nil, Event: s.take, MaxEvent: l.eventBytes,
	})
	if way, ok := errors.AsType[*wayError](err); ok {
		return nil, fmt.Errorf("calling %s: %w", c.Method, way) // without the URL: its query may be secret
	}
	if err != nil || result != nil {
		return result, err
	}
	return s.result()
}
