package egress

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURL is the longest URL in bytes (contract, sections 1.4 and 4.1).
const maxURL = 2048

// Parse judges the form of a URL that came from outside, and asks nobody: it
// must be an absolute http or https URL of at most 2,048 bytes, without a user
// and a fragment, whose host is a name in ASCII or an address in its one usual
// form. Anything else is a [*Refused] with [ReasonURL].
//
// Numbers that some programs take for IPv4 addresses (2130706433, 0x7f.1,
// 0177.0.0.1) are refused: no name ends so (WHATWG URL, section 3.5).
func Parse(rawURL string) (*url.URL, error) {
	if len(rawURL) > maxURL {
		return nil, refuseURL("", "The URL is longer than 2,048 bytes.")
	}
	if strings.Contains(rawURL, "#") {
		return nil, refuseURL("", "The URL has a fragment.")
	}
	if strings.ContainsFunc(rawURL, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return nil, refuseURL("", "The URL holds a character that has to be escaped.")
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		// The text of the parser's error repeats the URL; it stays in the log.
		refused := refuseURL("", "The URL cannot be read.")
		refused.cause = err
		return nil, refused
	}
	if err := form(u); err != nil {
		return nil, err
	}
	return u, nil
}

// form judges the parts of a URL.
func form(u *url.URL) error {
	host := u.Hostname()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refuseURL(host, "The URL is not an absolute http or https URL.")
	case u.User != nil:
		return refuseURL(host, "The URL names a user.")
	case u.Fragment != "":
		return refuseURL(host, "The URL has a fragment.")
	case u.Opaque != "" || !validHost(host, u.Host):
		return refuseURL(host, "The URL names no host, or not by its usual form.")
	case !validPort(u):
		return refuseURL(host, "The port of the URL is none of 1 to 65535.")
	}
	return nil
}

// validPort tells whether the port is left out or one that can be called.
func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

// validHost tells whether the host is an address in its usual form or a name;
// inURL is how the URL has it, with brackets and port.
func validHost(host, inURL string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		// A zone names an interface of this machine: no business of a caller.
		return a.Zone() == "" && a.Is6() == strings.HasPrefix(inURL, "[")
	}
	name := strings.TrimSuffix(host, ".")
	if name == "" || len(name) > 253 || strings.HasPrefix(inURL, "[") {
		return false
	}
	var last string
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return false
		}
		last = label
	}
	return !isNumber(last)
}

// validLabel takes what host names are made of (RFC 1123, section 2.1) and the
// underscore, which container networks use. Other alphabets come as xn--.
func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// isNumber tells whether a label is a number in decimal, octal or hexadecimal.
func isNumber(label string) bool {
	if strings.Trim(label, "0123456789") == "" {
		return true
	}
	digits, found := strings.CutPrefix(strings.ToLower(label), "0x")
	return found && strings.Trim(digits, "0123456789abcdef") == ""
}

// target is what a dialler is asked for.
type target struct {
	host string
	port uint16
}

func parseTarget(address string) (target, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return target{}, fmt.Errorf("reading the address to dial: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return target{}, fmt.Errorf("reading the port to dial: %w", err)
	}
	return target{host: host, port: uint16(n)}, nil
}
