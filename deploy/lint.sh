#!/usr/bin/env bash
# Checks everything in this folder with the programs that will read it: hadolint,
# ShellCheck, kustomize and the types of Kubernetes, the loader of Compose, systemd-analyze,
# HAProxy, and arcd itself ($1; default: bin/arcd, made by "make build"). Needs go, python3 with venv,
# openssl, and systemd-analyze and haproxy, which it installs where it may (root, apt-get).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
arcd=$(realpath "${1:-$root/bin/arcd}")
cache=$root/.cache/lint
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "deploy/lint.sh: $*" >&2; exit 1; }

# debian PROGRAM PACKAGE has a program of Debian there.
debian() {
  command -v "$1" >/dev/null && return
  if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    echo "installing $2"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$2"; } >"$work/apt" 2>&1 ||
      { cat "$work/apt" >&2; fail "apt-get does not install $2"; }
  fi
  command -v "$1" >/dev/null || fail "$1 is missing: install the package $2"
}

# linters installs those that Python's registry has.
linters() {
  local stamp
  stamp=$(sha256sum <"$here/lint/requirements.txt")
  [[ $(cat "$cache/stamp" 2>/dev/null) == "$stamp" ]] && return
  rm -rf "$cache"
  mkdir -p "$cache"
  python3 -m venv "$cache/venv" || fail 'python3 cannot make a virtual environment: install python3-venv'
  "$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/lint/requirements.txt"
  echo "$stamp" >"$cache/stamp"
}

# secrets FOLDER fills a folder with what arcd.yaml of Compose and Kubernetes name.
secrets() {
  mkdir -p "$1"
  printf 'postgres://arcd:word@127.0.0.1/arcd' >"$1/store"
  printf 'a word of sixteen' >"$1/scrape-token"
  # shellcheck disable=SC2016 # the hash has dollars
  printf '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' >"$1/client-ci"
}

# config FILE has arcd check a configuration, with secrets in the place of /run/secrets.
config() {
  sed -e "s#/run/secrets/arcd/#$work/secrets/#; s#/run/secrets/#$work/secrets/#" "$1" >"$work/arcd.yaml"
  "$arcd" config check --config "$work/arcd.yaml" >"$work/said" || { cat "$work/said" >&2; fail "arcd does not take $1"; }
}

debian systemd-analyze systemd
debian haproxy haproxy
[[ -x $arcd ]] || fail "there is no $arcd: run make build"
linters

echo 'Dockerfile: hadolint'
"$cache/venv/bin/hadolint" "$here/docker/Dockerfile"

echo 'Dockerfile: the version comes through'
flags=$(sed -n 's/.*-ldflags="\([^"]*\)".*/\1/p' "$here/docker/Dockerfile")
# shellcheck disable=SC2016 # the Dockerfile's variable, not one of ours
(cd "$root" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="${flags//'$VERSION'/v1.2.3-lint}" -o "$work/versioned" ./cmd/arcd)
[[ $("$work/versioned" version -o plain) == v1.2.3-lint ]] || fail "the image's arcd would be of version $("$work/versioned" version -o plain)"

echo 'scripts: shellcheck'
"$cache/venv/bin/shellcheck" "$here/lint.sh" "$here/compose/secrets.sh"

echo 'Kubernetes, Compose: kustomize, types, pod security, loader'
(cd "$here/lint" && go vet . && go run . "$here")

echo 'configurations: arcd config check'
secrets "$work/secrets"
config "$here/compose/arcd.yaml"
sed -n '/^  arcd.yaml: |$/,$ s/^    //p' "$here/kubernetes/configmap.yaml" >"$work/configmap.yaml"
config "$work/configmap.yaml"
config "$here/systemd/arcd.yaml"

echo 'unit: systemd-analyze'
mkdir "$work/unit"
cp "$here/systemd/arcd-backup.timer" "$work/unit/"
for unit in arcd arcd-backup; do
  sed "s#/usr/local/bin/arcd#$arcd#" "$here/systemd/$unit.service" >"$work/unit/$unit.service"
done
systemd-analyze verify --man=no "$work"/unit/*
# Of 100 points of exposure; a service without any hardening has 96.
for unit in arcd arcd-backup; do
  systemd-analyze security --no-pager --offline=yes --threshold=20 "$work/unit/$unit.service" | tail -n 1
done

echo 'proxy: haproxy -c'
mkdir "$work/compose"
cp "$here/compose/secrets.sh" "$work/compose/"
"$work/compose/secrets.sh"
sed -e "s#/run/secrets/#$work/compose/secrets/#; s#\(server arcd-.\) arcd-.:#\1 127.0.0.1:#" "$here/compose/haproxy.cfg" >"$work/haproxy.cfg"
haproxy -c -f "$work/haproxy.cfg"
