package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// peers lists the servers of the comparison, arcd first. What setup scripts installed is
// below o.peers. Tokens of the issuer are taken where any are looked at.
func peers(o options, issuer, token string, databases func(name string) (string, error)) ([]*peer, error) {
	all, err := arcds(o, issuer, token, databases)
	if err != nil {
		return nil, err
	}
	a2a, err := a2aServers(o, databases)
	return slices.Concat(all, arcServers(o.peers, issuer, token), a2a), err
}

// arcds are the built arcd on each of its engines.
func arcds(o options, issuer, token string, databases func(string) (string, error)) ([]*peer, error) {
	binary, err := filepath.Abs(o.arcd)
	if err != nil {
		return nil, err
	}
	url, err := databases("arcd")
	if err != nil {
		return nil, err
	}
	one := func(name, store, note string) *peer {
		return &peer{
			name: "arcd, " + name, size: []string{binary}, note: note,
			dialect: arcDialect{token: token, waiter: "waiter", worker: "echo", writer: "stream", follows: true},
			version: func(ctx context.Context) (string, error) { return output(ctx, binary, "version", "--output", "text") },
			args: func(port int) ([]string, error) {
				file := filepath.Join(o.dir, "arcd-"+strconv.Itoa(port)+".yaml")
				return []string{binary, "serve", "--config", file}, os.WriteFile(file, arcdConfig(port, store, issuer), 0o600)
			},
		}
	}
	const keeps = "each change is on the disk before it is acknowledged; tokens and scopes are checked on every call, and each call is logged"
	return []*peer{
		one("SQLite", "sqlite:"+filepath.Join(o.dir, "peer.db"), keeps),
		one("PostgreSQL", url, keeps+"; memory and CPU without those of PostgreSQL"),
	}, nil
}

// arcdConfig is the file of an arcd with three agents: one that nobody is, and two of
// arcd's own.
func arcdConfig(port int, store, issuer string) []byte {
	return fmt.Appendf(nil, `listen: 127.0.0.1:%d
store: %s
log: {format: json}
registry: {enabled: false}
auth:
  providers:
    outside: {issuer: %q, audience: %q, jwks_uri: %q, allow_http: true}
agents:
  waiter: {kind: websocket}
  echo: {kind: demo, concurrency: 100}
  stream: {kind: demo}
`, port, store, issuer, audience, issuer+"/keys")
}

// arcServers are the Python ARC server with and without its validator of tokens.
func arcServers(dir, issuer, token string) []*peer {
	venv := filepath.Join(dir, "interop", "venv")
	one := func(name, note string, more ...string) *peer {
		p := python(name, venv, "arc-sdk", "internal/bench/peers/arcserver.py", more...)
		p.dialect = arcDialect{token: token, waiter: "worker", worker: "worker", writer: "worker"}
		p.note = note
		return p
	}
	return []*peer{
		one("ARCServer (Python)", "nothing on the disk: tasks are a dict of the agent, which the package leaves to it; no tokens, no log"),
		one("ARCServer, tokens", "the same, and the package's middleware checks token and scopes on every call", issuer, audience),
	}
}

// a2aServers speak the neighbouring protocol.
func a2aServers(o options, databases func(string) (string, error)) ([]*peer, error) {
	binary := filepath.Join(o.peers, "peers", "a2ago")
	venv := filepath.Join(o.peers, "peers", "a2a-sdk")
	all := []*peer{{
		name: "a2a-go", size: []string{binary}, dialect: a2aDialect{},
		note:    "nothing on the disk: the module's store in memory, the only one that it has; no tokens, no log",
		version: func(context.Context) (string, error) { return moduleVersion(binary, "github.com/a2aproject/a2a-go/v2") },
		args:    func(port int) ([]string, error) { return []string{binary, strconv.Itoa(port)}, nil },
	}}
	one := func(name, note string, more ...string) {
		p := python(name, venv, "a2a-sdk", "internal/bench/peers/a2asdk.py", more...)
		p.dialect, p.note = a2aDialect{}, note
		all = append(all, p)
	}
	one("a2a-sdk (Python), memory", "nothing on the disk: the SDK's store in memory; no tokens, no log")
	one("a2a-sdk, SQLite", "a row for each task, on the disk before the answer (SQLite's defaults, but a minute of patience with its lock: with the default some calls fail); no log of events; no tokens, no log",
		"sqlite+aiosqlite:///"+filepath.Join(o.dir, "a2a.db"))
	url, err := databases("a2a")
	one("a2a-sdk, PostgreSQL", "the same in PostgreSQL; memory and CPU without those of PostgreSQL",
		strings.NewReplacer("postgres://", "postgresql+asyncpg://", "?sslmode=disable", "").Replace(url))
	return all, err
}

// python is a server that a script makes of a package in a virtual environment.
func python(name, venv, distribution, script string, more ...string) *peer {
	interpreter := filepath.Join(venv, "bin", "python")
	return &peer{
		name: name, size: []string{filepath.Join(venv, "lib")},
		version: func(ctx context.Context) (string, error) {
			return output(ctx, interpreter, "-c", "import platform, importlib.metadata as m; "+
				"print('"+distribution+"', m.version('"+distribution+"') + ', Python', platform.python_version())")
		},
		args: func(port int) ([]string, error) {
			return append([]string{interpreter, script, strconv.Itoa(port)}, more...), nil
		},
	}
}

// output runs a command and gives the first line that it prints.
func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	line, _, _ := strings.Cut(string(out), "\n")
	if err != nil {
		return "", fmt.Errorf("%s %s: %w (make setup, internal/bench/peers/setup.sh)", name, strings.Join(args, " "), err)
	}
	return line, nil
}

// moduleVersion gives the version of a module in a built program, and of Go.
func moduleVersion(binary, module string) (string, error) {
	built, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "", fmt.Errorf("%w (internal/bench/peers/setup.sh)", err)
	}
	for _, dep := range built.Deps {
		if dep.Path == module {
			return "a2a-go " + dep.Version + ", " + built.GoVersion, nil
		}
	}
	return "", fmt.Errorf("%s is not made of %s", binary, module)
}
