package auth

import (
	"errors"
	"net/http"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// A secretTry is one try at the secret of a client.
type secretTry struct {
	id, secret string
	hash       string // stored; "": there is no such client
	remote     string
	digest     [32]byte // names all but remote
}

func (i *Issuer) try(id, secret, hash, remote string) secretTry {
	return secretTry{id, secret, hash, remote, i.secrets.digest(id, secret, hash)}
}

// Authenticate checks the id and secret of a client that asks from the address
// remote. A refusal is an [*OAuthError]: 401 invalid_client, or 429 with
// RetryAfter after too many failures, or 503 when too many others are checked.
//
// A good try is remembered for a while, so that the next one is not slow. If its
// secret is one of [NewSecret] it passes the limits too, from everywhere: nobody
// guesses such a secret, but somebody's guesses may have closed the address that
// its owner shares. An unknown client costs as much time as a wrong secret does.
func (i *Issuer) Authenticate(id, secret, remote string) (Client, error) {
	if id == "" || secret == "" {
		return Client{}, &OAuthError{
			Status: http.StatusUnauthorized, Code: OAuthInvalidClient,
			Description: "the request names no client or no secret", Reason: "no_credentials",
		}
	}
	c, known := i.client(id)
	t := i.try(id, secret, c.SecretHash, remote)
	random := madeSecret(secret)
	if random && i.secrets.remembers(t.digest, i.cfg.Now()) {
		return c, nil
	}
	_, err, _ := i.verifying.Do("grant\n"+string(t.digest[:])+remote, func() (any, error) {
		if random && i.secrets.remembers(t.digest, i.cfg.Now()) {
			return nil, nil // an equal request has just been found good
		}
		return nil, i.verify(t, true)
	})
	if refused, ok := errors.AsType[*OAuthError](err); ok && refused.Status == http.StatusUnauthorized && !known {
		return Client{}, invalidClient("unknown_client")
	}
	if err != nil {
		return Client{}, err
	}
	return c, nil
}

// Login checks the name and the password of an administrator, a client with
// Admin, who asks from the address remote. The whole password counts, blanks at
// its ends included.
//
// A refusal is an [*arc.Error] to be shown as it is: authentication-failed with
// reason invalid_credentials; rate-limit-exceeded with RetryAfter after too many
// failures, which count together with those of [Issuer.Authenticate]; or
// service-unavailable when too many others are checked. An unknown name, a client
// that is no administrator and a wrong password differ in the private cause only:
// each costs an argon2id hash. So does a good password, every time: people choose
// passwords that can be guessed, so no memory may let a try past the limits.
func (i *Issuer) Login(name, password, remote string) (Client, error) {
	c, known := i.client(name)
	cause := "wrong_secret"
	switch {
	case !known:
		cause = "unknown_account"
	case !c.Admin:
		cause, c = "not_admin", Client{} // without a hash nothing matches
	}
	t := i.try(name, password, c.SecretHash, remote)
	_, err, _ := i.verifying.Do("login\n"+string(t.digest[:])+remote, func() (any, error) {
		return nil, i.verify(t, false)
	})
	if err == nil {
		return c, nil
	}
	refused, ok := errors.AsType[*OAuthError](err)
	switch {
	case ok && refused.Status == http.StatusTooManyRequests:
		return Client{}, tooManyFailures(refused.RetryAfter)
	case ok && refused.Status == http.StatusServiceUnavailable:
		e := arc.Refuse(arc.ProblemUnavailable, "busy", "Too many logins are being checked right now").With("retryable", true)
		e.RetryAfter = refused.RetryAfter
		return Client{}, e
	}
	return Client{}, arc.Refuse(arc.ProblemAuthentication, "invalid_credentials", "Invalid admin credentials").
		Because(errors.New(cause))
}

// AdminStamp gives the [Client.Stamp] of an administrator, "" if the name is none
// now. It looks at the file each time: the sessions of an account must end when it
// is removed, and when it has another password.
func (i *Issuer) AdminStamp(name string) string {
	c, ok := i.client(name)
	if !ok || !c.Admin {
		return ""
	}
	return c.Stamp()
}

// tooManyFailures refuses a try that was not made.
func tooManyFailures(wait time.Duration) *arc.Error {
	seconds := int(wait / time.Second)
	e := arc.Refuse(arc.ProblemRateLimit, "rate_limited", "Too many failed attempts; try again in %d s", seconds).
		With("retry_after", seconds).With("retryable", true)
	e.RetryAfter = wait
	return e
}

// verify is one slow check, if neither the limiter nor the queue refuses it.
// remember lets a good try of late stand for the slow part.
func (i *Issuer) verify(t secretTry, remember bool) error {
	now := i.cfg.Now()
	forgive, wait := i.failed.admit(t.id, t.remote, now)
	if wait > 0 {
		return &OAuthError{
			Status: http.StatusTooManyRequests, Code: OAuthUnavailable, RetryAfter: wait,
			Description: "too many failed attempts", Reason: "rate_limited",
		}
	}
	if remember && i.secrets.remembers(t.digest, now) {
		forgive()
		return nil
	}
	ok, err := i.secrets.verify(t.digest, t.secret, t.hash, now)
	if err != nil {
		forgive() // nothing was tried
		return &OAuthError{
			Status: http.StatusServiceUnavailable, Code: OAuthUnavailable, RetryAfter: time.Second,
			Description: "too many clients authenticate right now", Reason: "busy",
		}
	}
	if !ok {
		return invalidClient("wrong_secret")
	}
	forgive()
	return nil
}

// client finds a client by id. It looks at the file each time: a client that was
// removed must not get one more token, and a look costs less than a signature.
func (i *Issuer) client(id string) (Client, bool) {
	if c, ok := i.cfg.Clients[id]; ok {
		return c, true
	}
	if i.cfg.ClientsFile == "" {
		return Client{}, false
	}
	c, ok := i.clients.get(true)[id]
	return c, ok
}
