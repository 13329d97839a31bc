// Command zitadel is an OpenID provider made of zitadel/oidc that grants
// client-credentials tokens to one machine. It is a module of its own so that
// arcd itself does not depend on zitadel/oidc.
//
// Environment:
//
//	ISSUER    the issuer it claims to be (the address that clients reach it at)
//	AUDIENCE  the audience of its tokens
//	KEYS      a file of signing keys; each start adds a new one in front and
//	          signs with it, the older ones stay published
//
// It prints "listening ADDRESS" once it does, on a free loopback port.
package main

import (
	"crypto/sha256"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	if err := run(os.Getenv("ISSUER"), os.Getenv("AUDIENCE"), os.Getenv("KEYS")); err != nil {
		log.Fatal(err)
	}
}

func run(issuer, audience, keyFile string) error {
	storage, err := newMachines(audience, keyFile)
	if err != nil {
		return err
	}
	config := &op.Config{
		CryptoKey:      sha256.Sum256([]byte("encrypts nothing here: the tokens are signed ones")),
		AuthMethodPost: true,
	}
	quiet := slog.New(slog.DiscardHandler)
	provider, err := op.NewProvider(config, storage, op.StaticIssuer(issuer), op.WithAllowInsecure(), op.WithLogger(quiet))
	if err != nil {
		return fmt.Errorf("making the provider: %w", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening", ln.Addr())
	return http.Serve(ln, provider)
}
