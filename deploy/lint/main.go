// Command lint checks what is in deploy/kubernetes and deploy/compose with the
// libraries that those who read it are made of: kustomize, the types of Kubernetes and
// its pod security standard, the loader of Compose. Beyond their form it checks what
// those files say about each other and about arcd.
//
// It has a module of its own: arcd needs none of these libraries.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: lint FOLDER   (of the repository: deploy)")
		os.Exit(2)
	}
	found := errors.Join(lintKubernetes(os.Args[1]+"/kubernetes"), lintCompose(os.Args[1]+"/compose"))
	if found != nil {
		fmt.Fprintln(os.Stderr, found)
		os.Exit(1)
	}
}

// settings are those of arcd's configuration that the files around it depend on.
type settings struct {
	Listen         string   `json:"listen"`
	Insecure       bool     `json:"insecure_http"`
	TrustedProxies []string `json:"trusted_proxies"`
	StoreFile      string   `json:"store_file"`
	DrainDelay     span     `json:"drain_delay"`
	DrainTimeout   span     `json:"drain_timeout"`
}

// span is a duration as arcd's configuration has it.
type span struct{ time.Duration }

// UnmarshalText reads 10s.
func (s *span) UnmarshalText(text []byte) (err error) {
	s.Duration, err = time.ParseDuration(string(text))
	return err
}

// leaving is how long an arcd may take from SIGTERM to its end: those that ask for an
// agent's work are left behind 5 s after drain_timeout.
func (s settings) leaving() time.Duration {
	return s.DrainDelay.Duration + s.DrainTimeout.Duration + 5*time.Second
}

// check checks what holds wherever arcd stands behind a proxy.
func (s settings) check(grace time.Duration) error {
	var found []error
	if s.DrainDelay.Duration < 5*time.Second {
		found = append(found, errors.New("arcd: drain_delay is under 5s: proxies still send calls to who leaves"))
	}
	if s.DrainTimeout.Duration == 0 {
		found = append(found, errors.New("arcd: drain_timeout is not set, so nobody sees what the time to leave has to be above"))
	}
	if grace <= s.leaving() {
		found = append(found, fmt.Errorf("arcd takes up to %s to leave, and is given %s", s.leaving(), grace))
	}
	if !s.Insecure || len(s.TrustedProxies) == 0 || s.StoreFile == "" {
		found = append(found, errors.New("arcd: insecure_http, trusted_proxies and store_file are needed behind a proxy"))
	}
	return errors.Join(found...)
}
