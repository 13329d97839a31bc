package postgres_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
)

// cutter passes bytes to and from a server. Armed, it cuts the connection on which the
// server has told that something of this name was done, in place of passing that on.
type cutter struct {
	listener net.Listener
	to       string
	word     atomic.Pointer[string]
	cuts     atomic.Int64

	// Set before it is armed:
	hang bool   // it does not cut, but says nothing more
	mute bool   // from then on it says nothing more on any connection, whatever the server says
	then func() // called before
}

// cutting starts a cutter in front of a database and gives the URL to go through it.
func cutting(t *testing.T, db string) (*cutter, string) {
	t.Helper()
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{to: u.Host}
	if c.listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.listener.Close() })
	go func() {
		for {
			client, err := c.listener.Accept()
			if err != nil {
				return
			}
			go c.pass(client)
		}
	}()
	u.Host = c.listener.Addr().String()
	return c, u.String()
}

func (c *cutter) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer server.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}()
	var said []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		said = append(said, buf[:n]...)
		end := bytes.LastIndex(said, []byte("Z\x00\x00\x00\x05")) // "ready for query", then the state of the transaction
		if end < 0 || end != len(said)-6 {
			continue // it has more to say
		}
		word := c.word.Load()
		if c.mute && c.cuts.Load() > 0 {
			_, _ = io.Copy(io.Discard, server)
			return
		}
		if word != nil && said[end+5] == 'I' && bytes.Contains(said, []byte(*word)) && c.word.CompareAndSwap(word, nil) {
			c.cuts.Add(1)
			if c.then != nil {
				c.then()
			}
			if c.hang {
				_, _ = io.Copy(io.Discard, server)
			}
			return
		}
		if _, err := client.Write(said); err != nil {
			return
		}
		said = said[:0]
	}
}

// lose lets the answer to the next transaction that does this get lost.
func (c *cutter) lose(word string) { c.word.Store(&word) }

// TestLostAnswers: a change whose answer got lost is made once, and its caller learns
// that it was made.
func TestLostAnswers(t *testing.T) {
	db := pgtest.Database(t)
	c, through := cutting(t, db)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: through, Unsafe: true, Hints: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, s)
	ctx := t.Context()
	a := store.Agent{ID: "a", Registered: epoch, Updated: epoch, Seen: epoch, Texts: [4]string{"one two"}, Body: []byte("1")}

	c.lose("INSERT 0 2\x00") // its words
	a, err = s.PutAgent(ctx, a)
	wantMade(t, "PutAgent", err, a.Rev, 1)
	a.Body = []byte("2")
	a.Texts = [4]string{"one two three four five"}
	c.lose("INSERT 0 5\x00")
	a, err = s.PutAgent(ctx, a)
	wantMade(t, "PutAgent of a change", err, a.Rev, 2)

	other := a
	other.Rev, other.Body = 0, []byte("3")
	if _, err := s.PutAgent(ctx, other); !errors.Is(err, store.ErrExists) {
		t.Errorf("PutAgent of somebody else: %v, want ErrExists", err)
	}
	c.lose("UPDATE 1\x00")
	if err := s.Beat(ctx, []store.Beat{{ID: "a", Seen: epoch.Add(time.Second)}}); err != nil {
		t.Error(err)
	}
	c.lose("DELETE 5\x00")
	wantMade(t, "DeleteAgent", s.DeleteAgent(ctx, "a", 2), 0, 0)
	if err := s.DeleteAgent(ctx, "a", 2); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("second DeleteAgent: %v, want ErrNotFound", err)
	}
	entries := make([]store.AuditEntry, 7)
	for i := range entries {
		entries[i] = store.AuditEntry{At: epoch.Add(time.Duration(i) * time.Second), Event: "e", Body: fmt.Append(nil, i)}
	}
	for round := range 2 {
		c.lose("INSERT 0 7\x00")
		if err := s.AppendAudit(ctx, entries); err != nil {
			t.Error(err)
		}
		es, err := s.Audit(ctx, store.AuditQuery{Limit: 99})
		wantMade(t, "AppendAudit", err, int64(len(es)), 7*int64(round+1))
		for i := range entries {
			entries[i].Body = fmt.Append(nil, "again ", i)
		}
	}
	c.lose("INSERT 0 1\x00")
	m := store.Mark{Kind: "k", Value: "v", Body: []byte("b")}
	if there, err := s.Mark(ctx, m, epoch); err != nil || there == nil || !bytes.Equal(there.Body, m.Body) {
		t.Errorf("Mark: %v, %v, want the mark that it has set itself", there, err)
	}
	if got := c.cuts.Load(); got != 7 {
		t.Errorf("%d answers got lost, want 7", got)
	}
}

func wantMade(t *testing.T, what string, err error, got, want int64) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("%s: %v, %d, want %d", what, err, got, want)
	}
}

// silent carries no hints.
type silent struct{}

func (silent) Publish(...store.Hint) {}

func (silent) Subscribe(ctx context.Context, _ func(store.Hint)) error {
	<-ctx.Done()
	return nil
}

// TestSilentServer: a server that is gone without a word is not waited for, and a
// change that it has made before is made once.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	c, through := cutting(t, pgtest.Database(t))
	c.hang = true
	s, err := postgres.Open(t.Context(), postgres.Config{URL: through, Unsafe: true, Hints: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	th := newThread(t, s)
	c.lose("SELECT 1\x00")
	th, err = s.Commit(ctx, addItem(th))
	if err != nil || th.Items != 2 {
		t.Errorf("Commit: %v, %d items, want 2", err, th.Items)
	}
	c.lose("INSERT 0 1\x00")
	if _, err := s.PutAgent(ctx, store.Agent{ID: "a", Registered: epoch, Updated: epoch, Texts: [4]string{"one"}}); err != nil {
		t.Errorf("PutAgent: %v", err)
	}
	if got := c.cuts.Load(); got != 2 {
		t.Errorf("%d answers did not come, want 2", got)
	}
}

// TestSilentConnection: while the answer to one change does not come, others are made.
func TestSilentConnection(t *testing.T) {
	t.Parallel()
	c, through := cutting(t, pgtest.Database(t))
	c.hang = true
	silence := make(chan struct{})
	c.then = func() { close(silence) }
	s, err := postgres.Open(t.Context(), postgres.Config{URL: through, Unsafe: true, Hints: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, s)
	th := newThread(t, s)
	c.lose("SELECT 1\x00")
	first := make(chan error, 1)
	go func() {
		_, err := s.Commit(t.Context(), addItem(th))
		first <- err
	}()
	<-silence
	for range 3 {
		th := store.Thread{ID: rand.Text(), Kind: store.Task, Owner: "o", From: "f", Agent: "a", Status: "SUBMITTED", Created: epoch, Updated: epoch}
		if _, err := s.Commit(t.Context(), store.Change{Thread: th}); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-first:
		t.Fatalf("the others had to wait for the first, which gives %v", err)
	default:
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestCloseOfASilentServer: who closes does not wait for long for a server that says
// nothing more, whatever is on its way or queued, and tells nobody that it was done.
func TestCloseOfASilentServer(t *testing.T) {
	t.Parallel()
	c, through := cutting(t, pgtest.Database(t))
	c.hang, c.mute = true, true
	silence := make(chan struct{})
	c.then = func() { close(silence) }
	s, err := postgres.Open(t.Context(), postgres.Config{URL: through, Unsafe: true, Hints: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	th := newThread(t, s)
	c.lose("SELECT 1\x00")
	const callers = 6
	told := make(chan error, callers)
	commit := func(key *store.Key) {
		ch := addItem(th)
		ch.Key = key
		_, err := s.Commit(t.Context(), ch)
		told <- err
	}
	go commit(nil)
	<-silence
	for range callers - 2 {
		go commit(nil) // one after the other, because it is the same thread
	}
	go commit(&store.Key{Owner: "o", Name: "k", Expires: epoch.Add(time.Hour), Replace: true})
	begin := time.Now()
	s.Hasten()
	for range callers {
		if err := <-told; !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a change gives %v, want ErrUnavailable", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it was closed after %v", took)
	}
}

// TestMovedOn: where the answer got lost and others have changed the thread meanwhile,
// nobody can tell any more whether the change was made. Its caller learns that at once.
func TestMovedOn(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	other := open(t, db)
	defer closeIt(t, other)
	c, through := cutting(t, db)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: through, Unsafe: true, Hints: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, s)
	th := newThread(t, s)
	c.then = func() {
		now, err := other.Thread(context.Background(), th.ID)
		if err == nil {
			_, err = other.Commit(context.Background(), addItem(now))
		}
		if err != nil {
			t.Error(err)
		}
	}
	c.lose("SELECT 1\x00")
	began := time.Now()
	_, err = s.Commit(t.Context(), addItem(th))
	if !errors.Is(err, store.ErrUnavailable) || c.cuts.Load() != 1 {
		t.Errorf("Commit: %v after %d lost answers, want ErrUnavailable after 1", err, c.cuts.Load())
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
}

// newThread makes a thread and changes it once, so that the next change is the same
// statement on the same connection.
func newThread(t *testing.T, s *postgres.Engine) store.Thread {
	t.Helper()
	th, err := s.Commit(t.Context(), store.Change{Thread: store.Thread{
		ID: "t", Kind: store.Task, Owner: "o", From: "f", Agent: "a", Status: "SUBMITTED", Created: epoch, Updated: epoch,
	}})
	if err == nil {
		th, err = s.Commit(t.Context(), addItem(th))
	}
	if err != nil {
		t.Fatal(err)
	}
	return th
}

func addItem(th store.Thread) store.Change {
	return store.Change{Thread: th, Items: []store.Item{{Kind: store.MessageItem, Body: []byte("x")}}}
}
