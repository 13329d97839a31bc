// Package rpc turns bytes into calls and results into bytes, and makes the
// calls: it decodes the two envelopes strictly and once, looks methods up,
// checks scopes and who speaks before anything else, and decodes params into
// typed structs. It names no method and knows no transport.
package rpc
