package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
)

// Limits of one look at an issuer's keys.
const (
	maxDocument   = 1 << 20 // bytes of a key set or metadata document
	fetchTimeout  = 5 * time.Second
	maxRedirects  = 3
	defaultMaxAge = 5 * time.Minute
	leastMaxAge   = time.Minute
	mostMaxAge    = 15 * time.Minute
)

// newTransport makes the transport for key-set requests. It knows no proxy, so
// that the address which is checked is the one that is spoken to, and no
// compression, so that the size limit counts what is really sent.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: fetchTimeout, Control: refuseOddAddresses}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    fetchTimeout,
		ResponseHeaderTimeout:  fetchTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        4,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
}

// refuseOddAddresses keeps requests away from where no issuer lives, whatever
// the name resolved to: link-local addresses (where clouds keep their metadata
// services), multicast and the unspecified address. Private networks are let
// through, since the addresses come from the operator's configuration.
func refuseOddAddresses(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap()
	if a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return fmt.Errorf("address %v is not one that an issuer can have", a)
	}
	return nil
}

// newClient makes the client that keeps a redirect on the host and scheme that
// the configuration names.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			first := via[0].URL
			if req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
				return errors.New("redirected to another host or scheme")
			}
			if len(via) > maxRedirects {
				return errors.New("redirected too often")
			}
			return nil
		},
	}
}

// get fetches one document and reads it whole, up to the limit.
func get(ctx context.Context, client *http.Client, address string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d from %s", res.StatusCode, address)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", address, err)
	}
	if len(body) > maxDocument {
		return nil, nil, fmt.Errorf("%s sends more than %d bytes", address, maxDocument)
	}
	return body, res.Header, nil
}

// discover finds the address of an issuer's key set in its metadata: OpenID
// Connect Discovery 1.0 section 4 first, then RFC 8414 section 3.1. The document
// must name exactly the issuer that was asked for, and keep to its scheme.
func discover(ctx context.Context, client *http.Client, p Provider) (string, error) {
	u, err := url.Parse(p.Issuer)
	if err != nil {
		return "", err
	}
	path := strings.TrimSuffix(u.Path, "/")
	oidc, oauth := *u, *u
	oidc.Path = path + "/.well-known/openid-configuration"
	oauth.Path = "/.well-known/oauth-authorization-server" + path
	var failures []error
	for _, address := range []string{oidc.String(), oauth.String()} {
		found, err := readMetadata(ctx, client, address, p)
		if err == nil {
			return found, nil
		}
		failures = append(failures, err)
	}
	return "", fmt.Errorf("discovering key set: %w", errors.Join(failures...))
}

// readMetadata takes the key set's address out of one metadata document.
func readMetadata(ctx context.Context, client *http.Client, address string, p Provider) (string, error) {
	body, _, err := get(ctx, client, address)
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return "", fmt.Errorf("reading %s: %w", address, err)
	}
	if doc.Issuer != p.Issuer {
		return "", fmt.Errorf("%s is the metadata of another issuer, %q", address, doc.Issuer)
	}
	if err := checkAddress(doc.JWKSURI, p.AllowHTTP); err != nil {
		return "", fmt.Errorf("jwks_uri in %s: %w", address, err)
	}
	if scheme, _, _ := strings.Cut(p.Issuer, ":"); !strings.HasPrefix(doc.JWKSURI, scheme+"://") {
		return "", fmt.Errorf("jwks_uri in %s has another scheme than the issuer", address)
	}
	return doc.JWKSURI, nil
}

// maxAge tells how long a key set may be used without asking again: what its
// Cache-Control says, kept between 1 and 15 minutes; 5 minutes if it says
// nothing.
func maxAge(h http.Header) time.Duration {
	for part := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
		if err != nil {
			break
		}
		return min(max(time.Duration(seconds)*time.Second, leastMaxAge), mostMaxAge)
	}
	return defaultMaxAge
}
