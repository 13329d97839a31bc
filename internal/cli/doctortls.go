package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// reached is what a look at the server gave.
type reached struct {
	err  error
	tls  *tls.ConnectionState
	date time.Time     // by the server's clock; zero: not told
	took time.Duration // until the answer began
}

// reach asks the server once for anything at all. false: it cannot be reached,
// which is noted as a failed check.
func (x *examination) reach(ctx context.Context) bool {
	if x.reached != nil {
		return x.reached.err == nil
	}
	began := x.c.now()
	x.reached = x.look(ctx)
	x.reached.took = x.c.now().Sub(began)
	if err := x.reached.err; err != nil {
		e := x.c.classify(err)
		fix := strings.TrimSuffix(e.Suggestion, ": arcd doctor.")
		if reason := chainProblem(err); reason != "" {
			x.fail("tls.certificate", true, reason, fix)
			return false
		}
		x.fail("server.reachable", true, e.Message, fix)
		return false
	}
	x.pass("server.reachable", "answers in %d ms", x.reached.took.Milliseconds())
	return true
}

// look sends a request without a token.
func (x *examination) look(ctx context.Context) *reached {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.l.server, nil)
	if err != nil {
		return &reached{err: err}
	}
	resp, err := x.l.http.Do(req)
	if err != nil {
		return &reached{err: err}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection serves again
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	return &reached{tls: resp.TLS, date: date}
}

// way looks at the way to the server: proxy, encryption, certificate.
func (x *examination) way(ctx context.Context) {
	u, err := url.Parse(x.l.server)
	if err != nil {
		x.fail("server.address", true, "the address of the server cannot be read", "Correct --server.")
		return
	}
	x.proxy(u)
	if u.Scheme == "http" {
		if here(u.Hostname()) {
			x.pass("tls.encrypted", "plain http, which stays on this machine")
		} else {
			x.fail("tls.encrypted", true, "plain http to another machine: a token would go over an open line, so none is sent", "Use the https address of the server.")
		}
	}
	if x.offline {
		x.skip("server.reachable", "the server is not asked (--offline)")
		return
	}
	if x.reach(ctx) && x.reached.tls != nil {
		x.connection(x.reached.tls)
	}
}

// here tells whether a host is this machine.
func here(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// proxy tells whether one stands between.
func (x *examination) proxy(u *url.URL) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	switch {
	case err != nil:
		x.fail("tls.proxy", true, "the proxy that the environment names cannot be used: "+err.Error(), "Correct HTTPS_PROXY or HTTP_PROXY.")
	case proxy != nil:
		x.pass("tls.proxy", "requests go by %s, which the environment names", proxy.Redacted())
	default:
		x.pass("tls.proxy", "none")
	}
}

// soonOver is when the end of a certificate is worth a word.
const soonOver = 14 * 24 * time.Hour

// connection looks at a TLS connection that stands, so its certificate is good.
func (x *examination) connection(state *tls.ConnectionState) {
	version := tls.VersionName(state.Version)
	if state.Version < tls.VersionTLS13 {
		x.fail("tls.protocol", false, version+" is old", "Let the server, or the proxy in front of it, speak TLS 1.3.")
	} else {
		x.pass("tls.protocol", "%s, %s", version, tls.CipherSuiteName(state.CipherSuite))
	}
	switch state.CurveID {
	case tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024:
		x.pass("tls.key_exchange", "%s, which withstands quantum computers", state.CurveID)
	default:
		x.fail("tls.key_exchange", false, fmt.Sprintf("the key exchange %s does not withstand quantum computers, which may read what is recorded today", state.CurveID),
			"Let the server, or the proxy in front of it, offer X25519MLKEM768.")
	}
	if len(state.PeerCertificates) == 0 {
		return
	}
	leaf := state.PeerCertificates[0]
	left := leaf.NotAfter.Sub(x.c.now())
	described := fmt.Sprintf("for %s, of %s, good until %s", strings.Join(leaf.DNSNames, " "), issuerName(leaf), leaf.NotAfter.UTC().Format(time.DateOnly))
	if left < soonOver {
		x.fail("tls.certificate", false, described+", which is soon", "Renew the server's certificate.")
		return
	}
	x.pass("tls.certificate", "%s", described)
	if chains := state.VerifiedChains; len(chains) > 0 {
		root := chains[0][len(chains[0])-1]
		x.pass("tls.chain", "%d certificates up to %s; another authority than expected is a proxy that reads along", len(chains[0]), issuerName(root))
	}
}

// issuerName names who signed a certificate.
func issuerName(cert *x509.Certificate) string {
	if len(cert.Issuer.Organization) > 0 {
		return strings.Join(cert.Issuer.Organization, " ") + " (" + cert.Issuer.CommonName + ")"
	}
	return cert.Issuer.CommonName
}

// chainProblem says in words why a certificate was refused; "" where it was not.
func chainProblem(err error) string {
	verification, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return ""
	}
	var leaf *x509.Certificate
	if certs := verification.UnverifiedCertificates; len(certs) > 0 {
		leaf = certs[0]
	}
	if wrongName, ok := errors.AsType[x509.HostnameError](err); ok && leaf != nil {
		names := append([]string{}, leaf.DNSNames...)
		for _, ip := range leaf.IPAddresses {
			names = append(names, ip.String())
		}
		return fmt.Sprintf("the certificate is for %s, not for %s", strings.Join(names, " "), wrongName.Host)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired && leaf != nil {
		return fmt.Sprintf("the certificate is good from %s to %s only", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && leaf != nil {
		if leaf.Issuer.String() == leaf.Subject.String() {
			return "the certificate is signed by itself, and by no authority that this machine trusts"
		}
		return "no authority that this machine trusts signed the certificate; it is of " + issuerName(leaf) + ", or an intermediate certificate is missing"
	}
	return "the certificate is not good: " + verification.Err.Error()
}
