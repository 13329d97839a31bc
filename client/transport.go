package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// HTTPConfig says how requests travel. The zero value is a good one.
type HTTPConfig struct {
	// CAFile is a PEM file of certificates that are trusted besides those of the
	// system. "": only those of the system.
	CAFile string
	// Proxy gives the proxy of a request, nil for none. Default: that of the
	// environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
	Proxy func(*http.Request) (*url.URL, error)
	// ConnectTimeout ends the attempt to connect, and that of the TLS handshake.
	// Default 5 s.
	ConnectTimeout time.Duration
	// HeaderTimeout ends the wait for an answer to begin. An agent may think for
	// long before the first byte. Default 5 min; negative: no limit.
	HeaderTimeout time.Duration
}

// NewHTTP makes an HTTP client that suits calls and long streams:
//
//   - TLS 1.2 or later; the key exchange is Go's default, which prefers the
//     post-quantum hybrid X25519MLKEM768;
//   - HTTP/2, with pings that find out when a quiet stream's connection is dead;
//   - no limit for a whole answer, so that streams last; calls end with their
//     contexts;
//   - redirects only within one scheme, host and method, so that neither a token
//     nor a body reaches somebody else.
//
// It fails if CAFile cannot be read or has no certificate.
func NewHTTP(cfg HTTPConfig) (*http.Client, error) {
	trust, err := trusted(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	connect := cfg.ConnectTimeout
	if connect <= 0 {
		connect = 5 * time.Second
	}
	header := cfg.HeaderTimeout
	if header == 0 {
		header = 5 * time.Minute
	}
	proxy := cfg.Proxy
	if proxy == nil {
		proxy = environmentProxy
	}
	dialer := &net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}
	return &http.Client{CheckRedirect: sameServer, Transport: &http.Transport{
		Proxy: proxy, DialContext: dialer.DialContext,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust}, TLSHandshakeTimeout: connect,
		ForceAttemptHTTP2: true, HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		ResponseHeaderTimeout: max(header, 0), MaxResponseHeaderBytes: 256 << 10,
		MaxIdleConns: 100, MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second,
	}}, nil
}

// environmentProxy gives the proxy that the environment names for a request. What
// is for this machine stays here, however it is written: tokens go there over http.
func environmentProxy(req *http.Request) (*url.URL, error) {
	if loopback(req.URL) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}

// trusted gives the system's certificates and those of a file; nil for the
// system's alone.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading trusted certificates: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // a system without any
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the file %s has no certificate in PEM form", file)
	}
	return pool, nil
}

// sameServer is the rule for redirects: 307 and 308 within one server are
// followed, five times at most; any other answer of this kind is given as it is.
func sameServer(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > 5 || req.Method != first.Method || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// web gives what makes the requests: HTTP, with the rule for redirects where it
// has none, else the client's own.
func (c *Client) web() (*http.Client, error) {
	if c.HTTP == nil {
		c.once.Do(func() { c.own, c.ownErr = NewHTTP(HTTPConfig{}) })
		return c.own, c.ownErr
	}
	if c.HTTP.CheckRedirect != nil {
		return c.HTTP, nil
	}
	careful := *c.HTTP
	careful.CheckRedirect = sameServer
	return &careful, nil
}

// CloseIdleConnections closes the connections that no call uses now. It is for
// tidy ends and tests; the client stays usable.
func (c *Client) CloseIdleConnections() {
	if web, err := c.web(); err == nil {
		web.CloseIdleConnections()
	}
}

// ErrInsecure says that a token or secret was not sent, as it would have travelled
// in the open, and names the cure.
var ErrInsecure = errors.New("a token is sent over https or to this machine only; use an https address, or set AllowHTTP where the network can be trusted")

// checkAddress refuses what no try can reach.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("%w: %w", err, arc.ErrInvalid)
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("the URL %q is no http or https address: %w", u.Redacted(), arc.ErrInvalid)
	}
	return nil
}

// CheckSecure allows a token or secret to travel to an address by https, or to this
// machine (RFC 6750 section 5.3); else the error is [ErrInsecure], or
// [arc.ErrInvalid] for what is no address.
func CheckSecure(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("%w: %w", err, arc.ErrInvalid)
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u) {
		return nil
	}
	return fmt.Errorf("%s://%s: %w", u.Scheme, u.Host, ErrInsecure)
}

// loopback tells whether an address names this machine. Names below localhost, and
// localhost with a dot behind it, are asked of DNS, which may name anybody.
func loopback(u *url.URL) bool {
	host := u.Hostname()
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
