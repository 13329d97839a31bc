// Package interop proves arcd with programs that others wrote: the published
// Python clients of the protocol and of the registry API, and two OpenID
// providers. It runs the commands and programs that stand on the pages of the
// registry API, and those of the page about credentials that expire. It also
// kills arcd under load, cuts its streams, and puts the HAProxy of deploy/compose in
// front of three of it. All of it is in the tests; setup.sh
// (or "make setup") installs what they need into .cache/interop.
package interop
