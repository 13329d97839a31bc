package client

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/arcd-io/arcd/arc"
)

// page is one request beside the ARC endpoint: of the registry API, or of a page
// about the server.
type page struct {
	method string     // of HTTP
	path   string     // from the base of the server on, escaped
	query  url.Values // nil: none
	body   any        // sent as JSON, without members that are zero; nil: no body
	token  string     // in place of Client.Token; "" with open false: Client.Token
	open   bool       // no token is sent
	secret bool       // the body holds a token or a password
	key    string     // the header Idempotency-Key; "": none
	repeat bool       // it may be made again when its answer got lost
}

// base gives the address of the server that the paths of the registry API stand
// behind: URL without /arc.
func (c *Client) base() string {
	endpoint, _, _ := strings.Cut(c.endpoint(), "#")
	endpoint, _, _ = strings.Cut(endpoint, "?")
	return strings.TrimSuffix(strings.TrimSuffix(endpoint, "/"), "/arc")
}

// pathID writes an id as one segment of a path. The dots would lead to another
// page, and an empty one to the page above (RFC 3986 section 5.2.4).
func pathID(field, id string) (string, error) {
	switch id {
	case "", ".", "..":
		return "", arc.InvalidParam(field, "is needed, and cannot be "+strconv.Quote(id))
	}
	return url.PathEscape(id), nil
}

// get, post and query make pages. A query only reads, or does no more the second
// time, though it is a POST.
func get(path string) page            { return page{method: http.MethodGet, path: path, repeat: true} }
func post(path string, body any) page { return page{method: http.MethodPost, path: path, body: body} }
func query(path string, body any) page {
	return page{method: http.MethodPost, path: path, body: body, repeat: true}
}

// anybody makes the page one that needs no token.
func (p page) anybody() page {
	p.open = true
	return p
}

// secretly makes the page one whose body travels as tokens do.
func (p page) secretly() page {
	p.secret = true
	return p
}

// with sets the query. Values that are "" are left out.
func (p page) with(pairs ...string) page {
	p.query = url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			p.query.Set(pairs[i], pairs[i+1])
		}
	}
	return p
}

// hasNext tells whether a header Link names a next page (RFC 8288). Where that
// page is, the caller works out: an address in an answer is not followed.
func hasNext(h http.Header) bool {
	for _, value := range h.Values("Link") {
		for link := range strings.SplitSeq(value, ",") {
			for param := range strings.SplitSeq(link, ";") {
				name, rel, _ := strings.Cut(strings.TrimSpace(param), "=")
				if strings.EqualFold(name, "rel") && strings.EqualFold(strings.Trim(rel, `"`), "next") {
					return true
				}
			}
		}
	}
	return false
}

// number writes a number of a query; "" for zero.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
