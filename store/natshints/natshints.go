// Package natshints carries the hints of replicas over NATS core, in place of the
// database's own NOTIFY: for databases that have none, that are behind a pooler, or
// whose replicas are so many that each hint to all of them is too much for it.
//
// NATS keeps nothing, and nothing depends on it: what gets lost is found by the look
// at the store that each replica takes once a second.
package natshints

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// Config says which NATS, and how it is used.
type Config struct {
	// URL names the server, or several with commas between them: nats://host:4222, or
	// tls://host:4222 for TLS from the first byte that matters. A user and password, or a
	// token alone, stand before the host with an @. Required.
	URL string
	// CredentialsFile is a file with a user's JWT and key (.creds). "": none.
	CredentialsFile string
	// CAFile is a PEM file with the authorities that the server's certificate must come
	// from. "": those of the system.
	CAFile string
	// Prefix begins the subject: PREFIX.wake.TOKEN. Default "arcd".
	Prefix string
	// Log tells when the connection is lost and when it is there again. The zero Logger
	// writes nothing.
	Log zerolog.Logger
}

const (
	// pingEvery and missedPings are after what time a peer counts as gone that says
	// nothing and takes nothing.
	pingEvery   = 5 * time.Second
	missedPings = 2
	// dialTime is how long one try to connect may take, and writeTime one write.
	dialTime  = 2 * time.Second
	writeTime = 5 * time.Second
	// again and jitter are the pause between two tries: together up to a second.
	again  = 500 * time.Millisecond
	jitter = 500 * time.Millisecond
	// maxUnread is how many messages wait to be read; those beyond are dropped.
	maxUnread = 1024
)

// Hints carries hints over NATS. It implements [store.Hints].
type Hints struct {
	cfg     Config
	replica string
	out     *engine.Outbox
	conn    *nats.Conn

	told atomic.Pointer[string] // what was last logged to be wrong; nil: nothing is

	join    sync.Once
	joined  chan struct{} // closed when subject is set
	subject string

	ctx  context.Context // ended by Close
	stop context.CancelFunc
	work sync.WaitGroup
}

var _ store.Hints = (*Hints)(nil)

// Open begins to connect, and goes on trying for ever. Errors are about the settings
// only; none shows a password.
func Open(cfg Config) (*Hints, error) {
	if err := Check(cfg); err != nil {
		return nil, err
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "arcd"
	}
	h := &Hints{cfg: cfg, replica: rand.Text(), out: engine.NewOutbox(), joined: make(chan struct{})}
	h.ctx, h.stop = context.WithCancel(context.Background())
	var err error
	if h.conn, err = nats.Connect(cfg.URL, h.options()...); err != nil {
		h.stop()
		return nil, fmt.Errorf("connecting to NATS: %w", hidden(err))
	}
	h.work.Go(h.send)
	return h, nil
}

// Check tells what is wrong with the settings.
func Check(cfg Config) error {
	if cfg.URL == "" {
		return errors.New("the URL of NATS is missing")
	}
	for one := range strings.SplitSeq(cfg.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one)) // whose errors quote the password
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return errors.New("must be nats://HOST:4222 or tls://HOST:4222, or several of them with commas between")
		}
	}
	for what, file := range map[string]string{"the credentials for NATS": cfg.CredentialsFile, "the authorities for NATS": cfg.CAFile} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("reading %s: %w", what, err)
		}
	}
	if strings.ContainsAny(cfg.Prefix, " \t\r\n*>") || strings.HasPrefix(cfg.Prefix, ".") || strings.HasSuffix(cfg.Prefix, ".") ||
		strings.Contains(cfg.Prefix, "..") {
		return fmt.Errorf("the prefix %q is none of a subject of NATS: words with dots between", cfg.Prefix)
	}
	return nil
}

// options are those of a connection that is never given up, and buffers nothing while
// it is not there: old hints are of no use.
func (h *Hints) options() []nats.Option {
	options := []nats.Option{
		nats.Name("arcd"), nats.NoEcho(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(again), nats.ReconnectJitter(jitter, jitter), nats.ReconnectBufSize(-1),
		nats.Timeout(dialTime), nats.FlusherTimeout(writeTime), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(missedPings),
		nats.ConnectHandler(h.there), nats.ReconnectHandler(h.there),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { h.lost(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { h.lost(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { h.lost(err) }),
	}
	if h.cfg.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(h.cfg.CredentialsFile))
	}
	if h.cfg.CAFile != "" {
		options = append(options, nats.RootCAs(h.cfg.CAFile))
	}
	return options
}

// there logs that the connection is there.
func (h *Hints) there(c *nats.Conn) {
	h.told.Store(nil)
	h.cfg.Log.Info().Str("event", "hints_connected").Str("server", c.ConnectedUrlRedacted()).Send()
}

// lost logs what is wrong with the connection, once for as long as it is the same.
func (h *Hints) lost(err error) {
	cause := "closed"
	if err != nil {
		cause = hidden(err).Error()
	}
	if before := h.told.Swap(&cause); h.ctx.Err() != nil || before != nil && *before == cause {
		return
	}
	h.cfg.Log.Warn().Str("event", "hints_lost").Str("cause", cause).Msg("no hints over NATS; looking each second goes on")
}

// hidden keeps the URL, which may have a password in it, out of an error.
func hidden(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// Join tells which replicas belong together: those who name the same cluster, in any
// text that is like no other, such as an id that their database holds. Nothing is sent
// or received before. Only the first call counts.
func (h *Hints) Join(cluster string) {
	h.join.Do(func() {
		sum := sha256.Sum256([]byte(cluster))
		h.subject = h.cfg.Prefix + ".wake." + hex.EncodeToString(sum[:10])
		close(h.joined)
	})
}

// Publish implements [store.Hints].
func (h *Hints) Publish(hs ...store.Hint) { h.out.Put(hs...) }

// send sends what is put into the outbox; what came together travels together.
func (h *Hints) send() {
	select {
	case <-h.joined:
	case <-h.ctx.Done():
		return
	}
	for {
		hs := h.out.Next(h.ctx.Done())
		if hs == nil {
			return
		}
		for len(hs) > 0 {
			text, sent := engine.EncodeHints(h.replica, hs)
			// It fails while there is no connection, and then the hints are dropped.
			_ = h.conn.Publish(h.subject, []byte(text))
			hs = hs[sent:]
		}
	}
}

// Subscribe implements [store.Hints].
func (h *Hints) Subscribe(ctx context.Context, f func(store.Hint)) error {
	select {
	case <-h.joined:
	case <-ctx.Done():
		return ctx.Err()
	case <-h.ctx.Done():
		return store.ErrClosed
	}
	messages := make(chan *nats.Msg, maxUnread)
	s, err := h.conn.ChanSubscribe(h.subject, messages)
	if err != nil {
		return fmt.Errorf("subscribing to hints: %w", err)
	}
	defer func() { _ = s.Unsubscribe() }() // fails only when the connection is closed
	for {
		select {
		case m := <-messages:
			engine.DecodeHints(h.replica, string(m.Data), f)
		case <-ctx.Done():
			return ctx.Err()
		case <-h.ctx.Done():
			return store.ErrClosed
		}
	}
}

// Close ends the connection. Hints that are on their way may be lost.
func (h *Hints) Close() {
	h.stop()
	h.work.Wait()
	h.conn.Close()
}
