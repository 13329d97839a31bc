package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

// AuthServer is where tokens for a server come from (RFC 8414 section 2).
// Endpoints that it does not have are "".
type AuthServer struct {
	Issuer             string
	TokenEndpoint      string
	DeviceEndpoint     string // RFC 8628
	RevocationEndpoint string // RFC 7009
	// Scopes are those of the ARC server, or if it names none, of the
	// authorization server.
	Scopes []string
	// Grants are the grant types. Default of RFC 8414: authorization_code, implicit.
	Grants []string
}

// Bounds of discovery.
const (
	maxMetadata     = 1 << 20 // bytes of a document
	metadataTimeout = 10 * time.Second
	maxAuthServers  = 8 // of a server that are tried
)

// Discover finds out where tokens for the server come from. It asks the server
// for its metadata (RFC 9728: the well-known address of the endpoint, then of the
// host, then what the challenge of a call without a token names), and then the
// first of the authorization servers named there that answers (RFC 8414, then
// OpenID Connect discovery). No token is sent.
//
// Documents count only if they are about the server and the issuer that was asked
// for (RFC 9728 section 3.3, RFC 8414 section 3.3). Addresses must be https, or
// http on this machine; any of this machine counts only if the server is there
// too. A server that names nobody is [arc.ErrNotFound].
func (c *Client) Discover(ctx context.Context) (*AuthServer, error) {
	endpoint, err := url.Parse(c.endpoint())
	if err != nil || endpoint.Host == "" {
		return nil, fmt.Errorf("the URL %q is no http or https address: %w", c.URL, arc.ErrInvalid)
	}
	d := &discovery{client: c, endpoint: endpoint, open: c.AllowHTTP || endpoint.Scheme == "http" && loopback(endpoint)}
	resource, err := d.resource(ctx)
	if err != nil {
		return nil, fmt.Errorf("discovering the authorization server of %s: %w", endpoint.Host, err)
	}
	var failures []error
	for _, issuer := range resource.Servers[:min(len(resource.Servers), maxAuthServers)] {
		found, err := d.issuer(ctx, issuer)
		if err == nil {
			if len(resource.Scopes) > 0 {
				found.Scopes = resource.Scopes
			}
			return found, nil
		}
		failures = append(failures, err)
	}
	if failures == nil {
		failures = []error{fmt.Errorf("the server names none: %w", arc.ErrNotFound)}
	}
	return nil, fmt.Errorf("discovering the authorization server of %s: %w", endpoint.Host, errors.Join(failures...))
}

// discovery is one run of Discover.
type discovery struct {
	client   *Client
	endpoint *url.URL
	open     bool // plain http is allowed
}

// protectedResource is the document of RFC 9728 section 2.
type protectedResource struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported"`
}

// serverMetadata is the document of RFC 8414 section 2.
type serverMetadata struct {
	Issuer     string   `json:"issuer"`
	Token      string   `json:"token_endpoint"`
	Device     string   `json:"device_authorization_endpoint"`
	Revocation string   `json:"revocation_endpoint"`
	Scopes     []string `json:"scopes_supported"`
	Grants     []string `json:"grant_types_supported"`
}

// resource reads the server's own document.
func (d *discovery) resource(ctx context.Context) (*protectedResource, error) {
	const wellKnown = "/.well-known/oauth-protected-resource"
	path := strings.TrimSuffix(d.endpoint.EscapedPath(), "/")
	places := []string{d.origin() + wellKnown + path}
	if path != "" {
		places = append(places, d.origin()+wellKnown)
	}
	var failures []error
	for _, place := range places {
		found, err := d.resourceAt(ctx, place)
		if err == nil {
			return found, nil
		}
		if _, lost := errors.AsType[*brokenError](err); lost {
			return nil, err
		}
		failures = append(failures, err)
	}
	place, err := d.challenged(ctx)
	if err != nil {
		return nil, errors.Join(append(failures, err)...)
	}
	if place == "" {
		return nil, errors.Join(failures...)
	}
	return d.resourceAt(ctx, place)
}

// resourceAt reads the document at one address, and checks that it is about our
// server.
func (d *discovery) resourceAt(ctx context.Context, place string) (*protectedResource, error) {
	var doc protectedResource
	if err := d.read(ctx, place, &doc); err != nil {
		return nil, err
	}
	if !d.about(doc.Resource) {
		return nil, fmt.Errorf("%s is about %q, which is another server than %s; the server may need another public URL", place, excerpt(doc.Resource, ""), d.endpoint)
	}
	return &doc, nil
}

// about tells whether a resource is our endpoint, or what it lies in. The names of
// this machine stand for each other.
func (d *discovery) about(resource string) bool {
	u, err := url.Parse(resource)
	if err != nil || u.Scheme != d.endpoint.Scheme || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	sameHost := strings.EqualFold(u.Host, d.endpoint.Host) || loopback(u) && loopback(d.endpoint) && u.Port() == d.endpoint.Port()
	path := strings.TrimSuffix(u.Path, "/")
	return sameHost && strings.HasPrefix(strings.TrimSuffix(d.endpoint.Path, "/")+"/", path+"/")
}

// challenged makes a call without a token, to read from the refusal where the
// document is; "" if it does not say.
func (d *discovery) challenged(ctx context.Context) (string, error) {
	x, _, err := d.client.exchange(ctx, &call{method: "rpc.discover"})
	if err != nil {
		return "", err
	}
	x.tokens, x.attempts = nil, 1
	var place string
	err = d.client.send(ctx, x, func(resp *http.Response) error {
		place = challenge(resp.Header)["resource_metadata"]
		return resp.Body.Close()
	})
	return place, err
}

// issuer reads the document of an authorization server.
func (d *discovery) issuer(ctx context.Context, issuer string) (*AuthServer, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the issuer %q is no https address", excerpt(issuer, ""))
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + "/.well-known/openid-configuration" + path,
	}
	if path != "" {
		places = append(places, origin+path+"/.well-known/openid-configuration")
	}
	var failures []error
	for _, place := range places {
		var doc serverMetadata
		err := d.read(ctx, place, &doc)
		if err == nil {
			return d.authServer(issuer, &doc)
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// authServer checks the document of an issuer.
func (d *discovery) authServer(issuer string, doc *serverMetadata) (*AuthServer, error) {
	if doc.Issuer != issuer {
		return nil, fmt.Errorf("the metadata of the issuer %s says it is of %q (RFC 8414 section 3.3)", issuer, excerpt(doc.Issuer, ""))
	}
	for _, endpoint := range []string{doc.Token, doc.Device, doc.Revocation} {
		if endpoint != "" {
			if err := d.allowed(endpoint); err != nil {
				return nil, fmt.Errorf("the metadata of the issuer %s: %w", issuer, err)
			}
		}
	}
	grants := doc.Grants
	if grants == nil {
		grants = []string{"authorization_code", "implicit"}
	}
	return &AuthServer{
		Issuer: doc.Issuer, TokenEndpoint: doc.Token, DeviceEndpoint: doc.Device, RevocationEndpoint: doc.Revocation,
		Scopes: doc.Scopes, Grants: grants,
	}, nil
}

// origin gives scheme and host of the server.
func (d *discovery) origin() string { return d.endpoint.Scheme + "://" + d.endpoint.Host }

// allowed refuses addresses that secrets must not go to. An address of this
// machine is taken only from a server of this machine.
func (d *discovery) allowed(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Host == "", u.User != nil, loopback(u) && !loopback(d.endpoint):
	case u.Scheme == "https", u.Scheme == "http" && d.open && (loopback(u) || d.client.AllowHTTP):
		return nil
	}
	return fmt.Errorf("the address %q is not https, or not one that the server may name: %w", excerpt(address, ""), ErrInsecure)
}

// read reads a document.
func (d *discovery) read(ctx context.Context, address string, document any) error {
	if err := d.allowed(address); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	web, err := d.client.web()
	if err != nil {
		return err
	}
	small := &Client{HTTP: web, MaxAnswer: maxMetadata}
	x := &exchange{name: address, method: http.MethodGet, url: address, header: http.Header{"Accept": {arc.MediaJSON}}}
	return small.send(ctx, x, func(resp *http.Response) error {
		defer resp.Body.Close()
		body, err := small.readAnswer(resp)
		if err != nil {
			return fmt.Errorf("reading %s: %w", address, err)
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("reading %s: %w", address, refusal(resp, body))
		}
		if err := jsonv2.Unmarshal(body, document); err != nil {
			return fmt.Errorf("reading %s: %w", address, err)
		}
		return nil
	})
}
