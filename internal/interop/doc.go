// Package interop proves arcd with programs that others wrote: the published
// Python client of the protocol and two OpenID providers. It also kills arcd
// under load and cuts its streams. All of it is in the tests; setup.sh (or
// "make setup") installs what they need into .cache/interop.
package interop
