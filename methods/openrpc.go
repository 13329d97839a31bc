package methods

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"strconv"

	"github.com/arcd-io/arcd/rpc"
)

//go:embed openrpc.json
var openRPC []byte

// OpenRPC gives the OpenRPC 1.3 document of all methods, with the server's
// version in it.
func (s *Service) OpenRPC() []byte {
	return bytes.Replace(openRPC, []byte(`"version": "0"`), []byte(`"version": `+strconv.Quote(s.cfg.Version)), 1)
}

// Discover is the extension rpc.discover (OpenRPC, "Service discovery method").
func (s *Service) Discover(context.Context, *rpc.Call, struct{}) (json.RawMessage, error) {
	return s.OpenRPC(), nil
}
