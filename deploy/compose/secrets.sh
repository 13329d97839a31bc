#!/usr/bin/env bash
# Makes what compose.yaml takes as secrets, in ./secrets, once: a password for the
# database, and a certificate for localhost. What is there stays.
#
# Docker mounts the files as they are, and the programs in the containers are users of
# their own: so the files can be read by all, and the folder by its owner only.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077
mkdir -p secrets
cd secrets

if [[ ! -e db-password ]]; then
  password=$(openssl rand -hex 24)
  printf '%s' "$password" >db-password
  printf 'postgres://arcd:%s@db:5432/arcd?sslmode=disable&pool_max_conns=16' "$password" >store
fi
if [[ ! -e tls.pem ]]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 365 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1 \
    -keyout tls.key -out tls.crt 2>/dev/null
  cat tls.crt tls.key >tls.pem
fi
chmod 0444 db-password store tls.crt tls.pem
