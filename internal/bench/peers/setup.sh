#!/usr/bin/env bash
# Installs the foreign servers that "make bench-peers" compares with, into .cache/peers
# of the repository:
#
#   a2a-sdk  the published Python SDK of A2A
#   a2ago    an agent behind the Go module of A2A
#
# The Python ARC server is installed by internal/interop/setup.sh. Each part is redone
# only when what it is made from has changed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../../.." && pwd)/.cache/peers
mkdir -p "$cache"

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

sdk() {
  local inputs=("$here/requirements.txt" "$(python3 --version)")
  fresh a2a-sdk "${inputs[@]}" && return
  echo 'peers: installing a2a-sdk'
  rm -rf "$cache/a2a-sdk"
  python3 -m venv "$cache/a2a-sdk"
  "$cache/a2a-sdk/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  stamp "${inputs[@]}" >"$cache/a2a-sdk.stamp"
}

module() {
  local inputs=("$here"/a2ago/go.{mod,sum} "$here"/a2ago/main.go "$(go version)")
  fresh a2ago "${inputs[@]}" && return
  echo 'peers: building a2ago'
  (cd "$here/a2ago" && CGO_ENABLED=0 go build -trimpath -o "$cache/a2ago" .)
  stamp "${inputs[@]}" >"$cache/a2ago.stamp"
}

sdk
module
