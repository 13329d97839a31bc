package natshints_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/natshints"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replica is one end, with the hints that it heard.
type replica struct {
	*natshints.Hints
	log *lines

	mu    sync.Mutex // guards heard
	heard []store.Hint
}

// join opens one end in a cluster and listens; it ends with the test.
func join(t *testing.T, cfg natshints.Config, cluster string) *replica {
	t.Helper()
	r := &replica{log: &lines{}}
	cfg.Log = zerolog.New(r.log)
	var err error
	if r.Hints, err = natshints.Open(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	listening.Go(func() {
		err := r.Subscribe(ctx, func(h store.Hint) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.heard = append(r.heard, h)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Subscribe: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		listening.Wait()
		r.Close()
	})
	r.Join(cluster)
	return r
}

// has tells whether a hint was heard.
func (r *replica) has(h store.Hint) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.heard {
		if one == h {
			return true
		}
	}
	return false
}

func (r *replica) all() []store.Hint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]store.Hint(nil), r.heard...)
}

// reaches publishes hints of a thread until one is heard at the other end: before both
// ends are connected, or after they were cut, hints are dropped.
func (r *replica) reaches(t *testing.T, to *replica, thread string) {
	t.Helper()
	seq := int64(0)
	eventually(t, "a hint arrives", func() bool {
		seq++
		r.Publish(store.Hint{Thread: thread, Seq: seq})
		for _, h := range to.all() {
			if h.Thread == thread {
				return true
			}
		}
		return false
	})
}

func TestHints(t *testing.T) {
	s := started(t)
	cfg := natshints.Config{URL: s.url()}
	a, b, c := join(t, cfg, "db"), join(t, cfg, "db"), join(t, cfg, "db")
	for _, to := range []*replica{b, c} {
		a.reaches(t, to, "first")
	}
	sent := []store.Hint{
		{Thread: "task-1", Seq: 1 << 60},
		{Thread: "task-2", Seq: 7, Ready: "agent"},
		{Thread: "task-3", Wake: true},
		{Thread: "task-4", Follow: true},
		{Registry: true},
	}
	a.Publish(sent...)
	for _, h := range sent {
		h.Elsewhere = true
		for _, to := range []*replica{b, c} {
			eventually(t, fmt.Sprintf("%+v arrives", h), func() bool { return to.has(h) })
		}
	}
	if got := a.all(); len(got) > 0 {
		t.Errorf("a replica heard itself: %+v", got)
	}
}

// TestApart has three clusters on one NATS.
func TestApart(t *testing.T) {
	s := started(t)
	a := join(t, natshints.Config{URL: s.url()}, "db")
	b := join(t, natshints.Config{URL: s.url()}, "another db")
	c := join(t, natshints.Config{URL: s.url(), Prefix: "other.place"}, "db")
	twin := join(t, natshints.Config{URL: s.url(), Prefix: "arcd"}, "db")
	others := join(t, natshints.Config{URL: s.url(), Prefix: "other.place"}, "db")
	a.reaches(t, twin, "a")
	others.reaches(t, c, "c")
	b.reaches(t, join(t, natshints.Config{URL: s.url()}, "another db"), "b")
	a.reaches(t, twin, "the end")
	for name, r := range map[string]*replica{"a": a, "b": b} {
		if got := r.all(); len(got) > 0 {
			t.Errorf("%s heard of another cluster: %+v", name, got)
		}
	}
	for _, h := range c.all() {
		if h.Thread != "c" {
			t.Errorf("another prefix: heard %+v", h)
		}
	}
}

// TestManyHints sends more at once than a message holds. What is dropped is dropped
// quietly.
func TestManyHints(t *testing.T) {
	s := started(t)
	a, b := join(t, natshints.Config{URL: s.url()}, "db"), join(t, natshints.Config{URL: s.url()}, "db")
	a.reaches(t, b, "first")
	for i := range 3000 {
		a.Publish(store.Hint{Thread: fmt.Sprintf("task-%030d", i), Seq: int64(i + 1)})
	}
	last := store.Hint{Thread: fmt.Sprintf("task-%030d", 2999), Seq: 3000, Elsewhere: true}
	eventually(t, "the last hint arrives", func() bool { return b.has(last) })
	if n := len(b.all()); n < 3000 {
		t.Errorf("%d of 3000 hints arrived", n)
	}
}

func TestServerIsKilled(t *testing.T) {
	s := newServer(t)
	a, b := join(t, natshints.Config{URL: s.url()}, "db"), join(t, natshints.Config{URL: s.url()}, "db")
	quick(t, a) // it has not been there yet
	s.start()
	a.reaches(t, b, "first")
	for i := range 2 {
		s.kill()
		eventually(t, "the loss is noticed", func() bool { return strings.Contains(since(a.log, "hints_connected"), "hints_lost") })
		quick(t, a)
		s.start()
		a.reaches(t, b, fmt.Sprintf("after %d", i+1))
		b.reaches(t, a, fmt.Sprintf("back after %d", i+1))
	}
}

// since gives the log behind the last line with a word.
func since(log *lines, word string) string {
	all := log.String()
	return all[max(strings.LastIndex(all, word), 0):]
}

// quick publishes more than has room, which must take no time.
func quick(t *testing.T, r *replica) {
	t.Helper()
	began := time.Now()
	for i := range 20_000 {
		r.Publish(store.Hint{Thread: fmt.Sprintf("lost-%d", i), Seq: 1})
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("20,000 hints took %v", took)
	}
}

// TestServerIsFrozen stops the server, whose connections stay open: nothing blocks.
func TestServerIsFrozen(t *testing.T) {
	s := started(t)
	a, b := join(t, natshints.Config{URL: s.url()}, "db"), join(t, natshints.Config{URL: s.url()}, "db")
	a.reaches(t, b, "first")
	s.freeze()
	for range 10 {
		quick(t, a)
	}
	s.thaw()
	a.reaches(t, b, "after")
}

// TestPartition cuts one replica off, without a word: the others go on, and it comes
// back.
func TestPartition(t *testing.T) {
	s := started(t)
	p := newProxy(t, s.addr)
	a, b := join(t, natshints.Config{URL: s.url()}, "db"), join(t, natshints.Config{URL: s.url()}, "db")
	away := join(t, natshints.Config{URL: "nats://" + p.addr}, "db")
	a.reaches(t, away, "first")
	p.setCut(true)
	a.reaches(t, b, "during")
	quick(t, away)
	if got := away.all(); got[len(got)-1].Thread != "first" {
		t.Errorf("it heard %+v over a line that is cut", got[len(got)-1])
	}
	p.setCut(false)
	a.reaches(t, away, "after")
	away.reaches(t, a, "back")
}

func TestPassword(t *testing.T) {
	s := started(t, "--user", "arcd", "--pass", "pa55word")
	good := "nats://arcd:pa55word@" + s.addr
	a, b := join(t, natshints.Config{URL: good}, "db"), join(t, natshints.Config{URL: good}, "db")
	a.reaches(t, b, "first")
	wrong := join(t, natshints.Config{URL: "nats://arcd:wr0ng@" + s.addr}, "db")
	eventually(t, "the refusal is logged", func() bool { return strings.Contains(wrong.log.String(), "Authorization Violation") })
	for _, r := range []*replica{a, wrong} {
		if log := r.log.String(); strings.Contains(log, "pa55word") || strings.Contains(log, "wr0ng") {
			t.Errorf("the log shows a password:\n%s", log)
		}
	}
}

func TestToken(t *testing.T) {
	s := started(t, "--auth", "t0ken")
	cfg := natshints.Config{URL: "nats://t0ken@" + s.addr}
	join(t, cfg, "db").reaches(t, join(t, cfg, "db"), "first")
}

// TestTLS has the server show a certificate that only the named authority has signed.
func TestTLS(t *testing.T) {
	cert, key := selfSigned(t)
	certFile, keyFile := file(t, "cert.pem", cert), file(t, "key.pem", key)
	s := started(t, "--tls", "--tlscert", certFile, "--tlskey", keyFile)
	cfg := natshints.Config{URL: "tls://" + s.addr, CAFile: certFile}
	join(t, cfg, "db").reaches(t, join(t, cfg, "db"), "first")
	strange := join(t, natshints.Config{URL: "tls://" + s.addr}, "db")
	quick(t, strange)
	if log := strange.log.String(); strings.Contains(log, "hints_connected") {
		t.Errorf("it trusts a certificate that nobody it knows has signed:\n%s", log)
	}
}

// selfSigned makes a certificate for the loopback address.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func TestBadSettings(t *testing.T) {
	for label, cfg := range map[string]natshints.Config{
		"no URL":           {},
		"another scheme":   {URL: "http://s3cret@h:1"},
		"no host":          {URL: "nats://"},
		"a path":           {URL: "nats://h:4222/s3cret"},
		"a bad port":       {URL: "nats://u:s3cret@h:port"},
		"a bad second one": {URL: "nats://h:4222,nats://u:s3cret@h:port"},
		"no such file":     {URL: "nats://h:4222", CredentialsFile: "none.creds"},
		"no authorities":   {URL: "nats://h:4222", CAFile: "none.pem"},
		"a wildcard":       {URL: "nats://h:4222", Prefix: "a.*"},
		"an empty word":    {URL: "nats://h:4222", Prefix: "a..b"},
		"a dot at the end": {URL: "nats://h:4222", Prefix: "a."},
	} {
		_, err := natshints.Open(cfg)
		if err == nil {
			t.Errorf("%s: no error", label)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows a secret: %v", label, err)
		}
	}
	if err := natshints.Check(natshints.Config{URL: "nats://a:1, tls://u:p@b:2", Prefix: "x.y"}); err != nil {
		t.Errorf("Check of good settings: %v", err)
	}
}

// TestClose closes ends in all states.
func TestClose(t *testing.T) {
	s := newServer(t)
	h, err := natshints.Open(natshints.Config{URL: s.url()})
	if err != nil {
		t.Fatal(err)
	}
	h.Publish(store.Hint{Thread: "x"})
	done := make(chan error, 1)
	go func() { done <- h.Subscribe(t.Context(), func(store.Hint) {}) }()
	h.Close()
	if err := <-done; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Subscribe of a closed one: %v", err)
	}
	s.start()
	if h, err = natshints.Open(natshints.Config{URL: s.url()}); err != nil {
		t.Fatal(err)
	}
	h.Join("db")
	h.Join("another") // too late
	go func() { done <- h.Subscribe(t.Context(), func(store.Hint) {}) }()
	h.Close()
	if err := <-done; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Subscribe of a closed one: %v", err)
	}
}
