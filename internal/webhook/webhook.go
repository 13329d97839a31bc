// Package webhook posts messages to the URLs that subscribers name, within a policy
// that keeps the server's own network out of their reach.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/egress"
	"github.com/arcd-io/arcd/methods"
)

// Limits of what is read of an answer. It is read only so that the connection can be
// used again.
const (
	answerBytes = 64 << 10
	answerTime  = time.Second
)

// Config says what may be called, and how.
type Config struct {
	// Calls makes the calls, and says which addresses may be called. Required. The caller
	// closes it.
	Calls *egress.Client
	// Timeout is that of an attempt, from the look-up of the name to the beginning of the
	// answer. Default 10 s.
	Timeout time.Duration
	// AllowHTTP takes plain http too. Default: https only.
	AllowHTTP bool
	// ContentType replaces that of the message. Default: it does not.
	ContentType string
	// Token gives the tokens that the receiver at a URL is shown, nil for none. Whoever
	// subscribes chooses the receiver: a token must be worth nothing elsewhere. Default:
	// no tokens.
	Token func(callback string) client.TokenSource
}

// Sender is a [methods.Webhooks]. It is safe for concurrent use.
type Sender struct {
	cfg Config
	// calls is used without an [http.Client], which would look into redirects, and give
	// an error for one whose Location it cannot read.
	calls http.RoundTripper
}

// New makes a Sender.
func New(cfg Config) *Sender {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Token == nil {
		cfg.Token = func(string) client.TokenSource { return nil }
	}
	return &Sender{cfg: cfg, calls: cfg.Calls.Transport()}
}

// Check tells whether a callback URL may be called: -32602 with the reason
// invalid_url, https_required, unresolvable or address_not_allowed if not. It sends
// nothing there.
func (s *Sender) Check(ctx context.Context, callback string) error {
	if err := s.form(callback); err != nil {
		return err
	}
	err := s.cfg.Calls.Check(ctx, callback)
	if lost, ok := errors.AsType[*egress.Unreachable](err); ok {
		return badCallback("has a host whose name does not resolve", "unresolvable").With("retryable", true).Because(lost)
	}
	return refusedCallback(err)
}

// form judges the form of a callback URL.
func (s *Sender) form(callback string) error {
	u, err := egress.Parse(callback)
	if err != nil {
		return refusedCallback(err)
	}
	if u.Scheme != "https" && !s.cfg.AllowHTTP {
		return badCallback("must be an https URL", "https_required")
	}
	return nil
}

func badCallback(issue, reason string) *arc.Error {
	return arc.InvalidParam("callbackUrl", issue).With("reason", reason)
}

// refusedCallback gives the answer to a caller whose URL is refused. It does not say
// what a name resolves to. Any other error stays as it is.
func refusedCallback(err error) error {
	refused, ok := errors.AsType[*egress.Refused](err)
	switch {
	case !ok:
		return err
	case refused.Reason == egress.ReasonURL:
		return badCallback("cannot be used: "+refused.Detail, refused.Reason).Because(err)
	}
	return badCallback("leads to an address that is not public, which this server does not call unless its operator allows it (webhooks.allow)",
		refused.Reason).Because(err)
}

// Post sends a message once; once more, with a new token, if the receiver refuses the
// one that it was shown. The texts of errors are for the subscriber: they have no
// addresses, and nothing of what stands in the URL.
func (s *Sender) Post(ctx context.Context, p methods.Webhook) (methods.WebhookAnswer, error) {
	if err := s.form(p.URL); err != nil { // what is allowed may have changed since it was checked
		return methods.WebhookAnswer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	tokens := s.cfg.Token(p.URL)
	if tokens == nil {
		return s.send(ctx, p, "")
	}
	token, err := tokens.Token(ctx, "")
	if err != nil {
		return methods.WebhookAnswer{}, errors.New("the server could not get a token for the receiver")
	}
	answer, err := s.send(ctx, p, token)
	if err != nil || answer.Status != http.StatusUnauthorized {
		return answer, err
	}
	if fresh, err := tokens.Token(ctx, token); err == nil && fresh != token {
		return s.send(ctx, p, fresh)
	}
	return answer, nil
}

// send makes one request.
func (s *Sender) send(ctx context.Context, p methods.Webhook, token string) (methods.WebhookAnswer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(p.Body))
	if err != nil {
		return methods.WebhookAnswer{}, badCallback("cannot be used", egress.ReasonURL).Because(err)
	}
	for name, value := range p.Header {
		req.Header.Set(name, value)
	}
	if s.cfg.ContentType != "" {
		req.Header.Set("Content-Type", s.cfg.ContentType)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := s.calls.RoundTrip(req)
	if err != nil {
		return methods.WebhookAnswer{}, inWords(ctx, err)
	}
	defer res.Body.Close()
	// The status is the answer. Whoever goes on talking is not listened to for long.
	stop := time.AfterFunc(answerTime, cancel)
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, res.Body, answerBytes)
	return methods.WebhookAnswer{Status: res.StatusCode, RetryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now())}, nil
}

// inWords says why no answer came, in words for the subscriber: no addresses, and
// nothing of what stands in the URL.
func inWords(ctx context.Context, err error) error {
	if refused, ok := errors.AsType[*egress.Refused](err); ok {
		return refusedCallback(refused)
	}
	lost, ok := errors.AsType[*egress.Unreachable](err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), ok && lost.TimedOut:
		return errors.New("no answer came in time")
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("the connection was refused")
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New("the name of the host does not resolve")
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return errors.New("the certificate of the host is not valid")
	}
	return errors.New("the connection failed before an answer came")
}

// retryAfter reads the header Retry-After (RFC 9110, section 10.2.3): seconds or a
// date. 0: there is none that is still to come.
func retryAfter(value string, now time.Time) time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(most/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}
