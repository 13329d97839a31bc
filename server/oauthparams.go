package server

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/auth"
)

// grantType is the one that the token service knows.
const grantType = "client_credentials"

// maxOAuthBody bounds a request to the token service, in bytes.
const maxOAuthBody = 64 << 10

// oauthParams is a request to the token service, whichever way it was written.
type oauthParams struct {
	clientID string
	secret   string
	// values holds the parameters; one without a value counts as absent (RFC 6749
	// section 3.2).
	values url.Values
}

// oauthMany lists the parameters that may come more than once (RFC 8707 section
// 2, RFC 8693 section 2.1). All others may not (RFC 6749 section 3.2).
var oauthMany = []string{"audience", "resource"}

// one gives a parameter that comes once; "" if it is absent.
func (p *oauthParams) one(name string) string { return p.values.Get(name) }

func oauthInvalid(description string) *auth.OAuthError {
	return &auth.OAuthError{
		Status: http.StatusBadRequest, Code: auth.OAuthInvalidRequest, Description: description, Reason: "malformed",
	}
}

// readOAuthParams reads a form or, as machine-to-machine services of other
// vendors take it too, a JSON object, and the client's credentials from the
// header or the body. Its errors are [*auth.OAuthError]; what it could read of
// the request stands beside them.
func (s *Server) readOAuthParams(w http.ResponseWriter, r *http.Request) (*oauthParams, error) {
	p := new(oauthParams)
	if r.URL.RawQuery != "" {
		// Addresses end up in logs: RFC 6749 section 2.3.1 forbids credentials there.
		return p, oauthInvalid("parameters belong into the body, not into the address")
	}
	body, err := s.readOAuthBody(w, r)
	if err != nil {
		return p, err
	}
	switch mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType {
	case "application/x-www-form-urlencoded":
		p.values, err = oauthForm(body)
	case "application/json":
		p.values, err = oauthJSON(body)
	default:
		err = oauthInvalid("the body must be application/x-www-form-urlencoded or application/json")
	}
	if err != nil {
		return p, err
	}
	for name, values := range p.values {
		if len(values) > 1 && !slices.Contains(oauthMany, name) {
			return p, oauthInvalid("a parameter came twice")
		}
	}
	return p, p.readCredentials(r)
}

// readOAuthBody reads the body within its limit of size; that of time is set by
// frame.
func (s *Server) readOAuthBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOAuthBody))
	if err == nil {
		w.(*response).bodyRead()
		return body, nil
	}
	refused := oauthInvalid("the body did not arrive")
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		refused.Status, refused.Description, refused.Reason = http.StatusRequestEntityTooLarge, "the body is larger than 64 KiB", "too_large"
	}
	w.Header().Set("Connection", "close")
	return nil, refused
}

// oauthForm reads a form. Parameters without a value are left out.
func oauthForm(body []byte) (url.Values, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, oauthInvalid("the body is not a form")
	}
	for name, list := range values {
		if !utf8.ValidString(name) || slices.ContainsFunc(list, func(v string) bool { return !utf8.ValidString(v) }) {
			return nil, oauthInvalid("the body is not UTF-8")
		}
		// Doubles count even if one of them is empty.
		if len(list) == 1 && list[0] == "" {
			delete(values, name)
		}
	}
	return values, nil
}

// oauthJSON reads a JSON object of texts, or of lists of texts where a parameter
// may come more than once. Parameters that nobody knows may be anything: they
// are ignored (RFC 6749 section 3.2).
func oauthJSON(body []byte) (url.Values, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, oauthInvalid("the body is not a JSON object with unique names")
	}
	values := url.Values{}
	for _, name := range []string{"grant_type", "client_id", "client_secret", "scope", "audience", "resource", "token"} {
		raw, there := members[name]
		if !there || raw.Kind() == 'n' {
			continue
		}
		var list []string
		err := json.Unmarshal(raw, &list)
		if raw.Kind() == '"' {
			list = make([]string, 1)
			err = json.Unmarshal(raw, &list[0])
		} else if !slices.Contains(oauthMany, name) {
			return nil, oauthInvalid(name + " must be a text")
		}
		if err != nil {
			return nil, oauthInvalid(name + " must be a text or a list of texts")
		}
		if list = slices.DeleteFunc(list, func(v string) bool { return v == "" }); len(list) > 0 {
			values[name] = list
		}
	}
	return values, nil
}

// readCredentials takes the client's id and secret from where they stand: the
// Authorization header or the body, never both (RFC 6749 section 2.3).
func (p *oauthParams) readCredentials(r *http.Request) error {
	p.clientID, p.secret = p.one("client_id"), p.one("client_secret")
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) == 0:
		return nil
	case len(headers) > 1:
		return oauthInvalid("there is more than one Authorization header")
	case p.secret != "":
		return oauthInvalid("the client authenticates twice, in the header and in the body")
	}
	named := p.clientID
	id, secret, ok := r.BasicAuth()
	// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	if !ok || err1 != nil || err2 != nil || !utf8.ValidString(id) || !utf8.ValidString(secret) {
		return &auth.OAuthError{
			Status: http.StatusUnauthorized, Code: auth.OAuthInvalidClient,
			Description: "the Authorization header is not Basic with a form-encoded id and secret", Reason: "malformed_header",
		}
	}
	p.clientID, p.secret = id, secret
	if named != "" && named != id {
		return oauthInvalid("client_id in the body is not the one of the header")
	}
	return nil
}

// checkGrantType refuses all but client_credentials.
func (p *oauthParams) checkGrantType() error {
	switch p.one("grant_type") {
	case grantType:
		return nil
	case "":
		return oauthInvalid("the parameter grant_type is missing")
	}
	return &auth.OAuthError{
		Status: http.StatusBadRequest, Code: auth.OAuthUnsupportedGrantType,
		Description: "grant_type must be " + grantType, Reason: "grant_type",
	}
}
