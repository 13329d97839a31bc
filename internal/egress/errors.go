package egress

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/arcd-io/arcd/arc"
)

// The reasons of a [Refused].
const (
	ReasonURL     = "invalid_url"         // the URL has a form that is not taken
	ReasonAddress = "address_not_allowed" // the policy does not allow the address
)

// notAllowed is what a caller is told of [ReasonAddress]. It does not name the
// address: what a name resolves to inside is not for strangers.
const notAllowed = "The URL leads to an address that is not public, which this server does not call unless its operator allows it (registry.endpoint_allow)."

// Refused tells that a call was not made because it may not be. Its text is for
// the log.
type Refused struct {
	Host    string     // as the URL has it; "" if it could not be read
	Address netip.Addr // what the host resolved to; zero with [ReasonURL]
	Reason  string     // [ReasonURL] or [ReasonAddress]
	Detail  string     // one sentence for the caller

	cause error
}

func refuseURL(host, detail string) *Refused {
	return &Refused{Host: host, Reason: ReasonURL, Detail: detail}
}

func (e *Refused) Error() string {
	s := fmt.Sprintf("refusing to call %q", e.Host)
	if e.Address.IsValid() {
		s += " at " + e.Address.String()
	}
	if e.cause != nil {
		return s + ": " + e.cause.Error()
	}
	return s + ": " + e.Detail
}

func (e *Refused) Unwrap() error { return e.cause }

// Unreachable tells that a call was tried and got no whole answer: the name does
// not resolve, nobody listens, the certificate is wrong, the answer is none of
// HTTP or is cut off.
type Unreachable struct {
	Host     string
	TimedOut bool // it took longer than it may
	Err      error
}

func (e *Unreachable) Error() string {
	if e.TimedOut {
		return fmt.Sprintf("calling %q: no answer in time: %v", e.Host, e.Err)
	}
	return fmt.Sprintf("calling %q: %v", e.Host, e.Err)
}

func (e *Unreachable) Unwrap() error { return e.Err }

// BadStatus tells that an answer came whose HTTP status does not mean success.
type BadStatus struct {
	Host   string
	Status int
}

func (e *BadStatus) Error() string {
	return fmt.Sprintf("%q answers with status %d", e.Host, e.Status)
}

// OtherAgent tells that an endpoint answers for an agent other than the one
// that was asked for.
type OtherAgent struct {
	Host string
	Want string
	Got  string // at most 100 bytes of what the endpoint says
}

func (e *OtherAgent) Error() string {
	return fmt.Sprintf("%q answers for the agent %q instead of %q", e.Host, e.Got, e.Want)
}

// Problem gives what a caller is told of an error of this package; endpoint is
// the URL that was called, as the caller knows it.
//
//	Refused      400 invalid-url                INVALID_URL or ADDRESS_NOT_ALLOWED
//	Unreachable  502 endpoint-unreachable, or 504 connection-timeout
//	BadStatus    502 endpoint-unreachable       with status_code
//	OtherAgent   400 agent-registration-failed  AGENT_ID_MISMATCH
//
// Any other error is that of [arc.Public]. nil gives nil.
func Problem(err error, endpoint string) *arc.Error {
	if e, ok := errors.AsType[*Refused](err); ok {
		return arc.Refuse(arc.ProblemURL, e.Reason, "%s", e.Detail).With("endpoint", endpoint).Because(err)
	}
	if e, ok := errors.AsType[*Unreachable](err); ok {
		if e.TimedOut {
			return arc.Refuse(arc.ProblemConnectionTimeout, "connection_timeout", "The endpoint did not answer in time.").
				With("endpoint", endpoint).With("retryable", true).Because(err)
		}
		return arc.Refuse(arc.ProblemUnreachable, "endpoint_unreachable", "The endpoint cannot be reached.").
			With("endpoint", endpoint).With("retryable", true).Because(err)
	}
	if e, ok := errors.AsType[*BadStatus](err); ok {
		return arc.Refuse(arc.ProblemUnreachable, "endpoint_unreachable", "The endpoint answered with status %d %s.",
			e.Status, http.StatusText(e.Status)).
			With("endpoint", endpoint).With("status_code", e.Status).With("retryable", true).Because(err)
	}
	if e, ok := errors.AsType[*OtherAgent](err); ok {
		return arc.Refuse(arc.ProblemRegistration, "agent_id_mismatch", "The endpoint answers for another agent than '%s'.", e.Want).
			With("agent_id", e.Want).With("endpoint", endpoint).Because(err)
	}
	return arc.Public(err)
}
