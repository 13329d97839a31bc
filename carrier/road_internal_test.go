package carrier

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestNoSwitch: an agent that answers with another protocol has nothing more to say.
// Such a body would be read for ever: neither silence nor the call's end cuts it off.
func TestNoSwitch(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		_, _ = io.Copy(io.Discard, buf) // until the caller leaves
	}))
	defer s.Close()
	pool := NewTransport()
	defer pool.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newRoad(pool, 10*time.Second, 10*time.Second).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(resp.Body)
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("status %d, %v", resp.StatusCode, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the answer has no end")
	}
}
