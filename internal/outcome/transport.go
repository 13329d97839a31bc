package outcome

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// transport tells why no answer came, or none that can be read.
func transport(err error, call Call) *Error {
	code := transportCode(err)
	text := Clean(rootText(err))
	switch code {
	case Timeout:
		text = "no answer from " + call.Server + " in time: " + text
	case TLSConfig:
		text = trouble(err, call.Server) + ": " + text
	case ConnectionFailed:
		text = call.Server + " cannot be reached: " + text
	case ProtocolError:
		text = call.Server + " gives no answer that can be read: " + line(err.Error())
	case TokenInvalid:
		e := Errorf(code, "%s", Sentence("the token cannot be used: "+text)).judge("", call)
		e.DetectedBy = "client"
		return e
	case InsecureServer: // what else its text says is for programs
		where, _, _ := strings.Cut(err.Error(), client.ErrInsecure.Error())
		return Errorf(code, "%s", Sentence(line(where+"a token is sent over https or to this machine only")))
	default:
		return Errorf(code, "%s", Sentence(line(err.Error())))
	}
	e := Errorf(code, "%s", Sentence(text))
	if code != ProtocolError {
		e.Network = network(call, stage(err, code))
	}
	e.pace(call, 0)
	return e
}

// transportCode gives the code of a failure that is no answer.
func transportCode(err error) Code {
	_, dns := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, client.ErrInsecure):
		return InsecureServer
	case badTLS(err):
		return TLSConfig
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, arc.ErrTimeout):
		return Timeout
	case dns, errors.Is(err, arc.ErrUnavailable), isDial(err):
		return ConnectionFailed
	case errors.Is(err, arc.ErrAuthentication):
		return TokenInvalid
	case unreadable(err):
		return ProtocolError
	}
	return General
}

// stage tells how far the call came: dns, connect, tls or answer.
func stage(err error, code Code) string {
	_, dns := errors.AsType[*net.DNSError](err)
	switch {
	case code == TLSConfig, strings.Contains(rootText(err), "TLS handshake timeout"):
		return "tls"
	case dns:
		return "dns"
	case isDial(err):
		return "connect"
	}
	return "answer"
}

// isDial tells whether no connection was made.
func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect")
}

// badTLS tells whether TLS failed for another reason than the way there: what
// crypto/tls refuses by itself has no type, only its prefix, and an alert is an
// operation's error.
func badTLS(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	op, _ := errors.AsType[*net.OpError](err)
	alert := op != nil && (op.Op == "remote error" || op.Op == "local error")
	return certificate || plain || alert || errors.Is(err, http.ErrSchemeMismatch) || strings.HasPrefix(rootText(err), "tls: ")
}

// trouble says in words what is wrong with TLS.
func trouble(err error, server string) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate of " + server + " is not trusted"
	}
	return "there is no TLS with " + server
}

// unreadable tells whether an answer came that is none of an ARC server.
func unreadable(err error) bool {
	_, syntax := errors.AsType[*jsontext.SyntacticError](err)
	_, meaning := errors.AsType[*jsonv2.SemanticError](err)
	return syntax || meaning || errors.Is(err, client.ErrNoStream)
}

// hints say what to look at, by the stage.
var hints = map[string]string{
	"dns": "Check the name of the host in --server.", "connect": "Check that the server runs and that --server has its address.",
	"tls": "Name the authority with --ca-file FILE, or mend the certificate.", "answer": "Repeat later, or give more time with --timeout.",
}

// network begins the block about the way to the server.
func network(call Call, stage string) *Network {
	hint := hints[stage]
	return &Network{Server: call.Server, TLSVerified: true, Stage: stage, Suggestion: &hint}
}

// rootText gives the text of the innermost cause, which is the one that says
// something.
func rootText(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
