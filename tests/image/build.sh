#!/bin/sh
# Build the challenge image on a Debian machine and save it: FOLDER/flare23kit.tar.gz.
# Needs root. Installs docker.io and debootstrap where they are missing, starts a Docker daemon where
# none answers (its id is in FOLDER/dockerd.pid), and makes the base image from Debian's packages, so
# that no image registry is needed. Where pip asks and whom it trusts is taken from this machine.
# usage: sh tests/image/build.sh FOLDER
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
base=flare23kit-base:bookworm

for program in dockerd debootstrap; do
  command -v "$program" >/dev/null && continue
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update && apt-get -qq install -y --no-install-recommends docker.io debootstrap
  break
done >&2

if ! docker version >/dev/null 2>&1; then
  dockerd --storage-driver overlay2 --iptables=false --bridge=none \
    --pidfile "$folder/dockerd.pid" >"$folder/dockerd.log" 2>&1 &
  for _ in $(seq 60); do
    docker version >/dev/null 2>&1 && break
    sleep 0.5
  done
  docker version >/dev/null || { echo "no daemon; see $folder/dockerd.log" >&2; exit 1; }
fi

certificates=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
inside=/etc/ssl/certs/ca-certificates.crt
if ! docker image inspect "$base" >/dev/null 2>&1; then
  # shellcheck disable=SC2016  # apt fills it in
  mirror=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' 'Component: main' | head -n 1)
  root="$folder/base"
  rm -rf "$root"
  # shellcheck disable=SC2086  # no mirror, no argument
  debootstrap --variant=minbase --include=python3,python3-venv bookworm "$root" $mirror \
    >"$folder/debootstrap.log"
  mkdir -p "$root${inside%/*}"
  cp "$certificates" "$root$inside"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | docker import - "$base" >/dev/null
  rm -rf "$root"
fi

python=${PYTHON:-python3}
version=$("$python" -c 'import inference; print(inference.__version__)')
manifest=$(sha256sum weights_manifest.json | cut -d ' ' -f 1)
index=$("$python" -m pip config get global.index-url 2>/dev/null || true)
docker build --network host -t flare23kit:latest --build-arg BASE_IMAGE="$base" \
  --build-arg PIP_CERT="$inside" ${index:+--build-arg PIP_INDEX_URL="$index"} \
  --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD)" \
  --build-arg MANIFEST_SHA256="$manifest" . >"$folder/build.log"
docker save flare23kit:latest | gzip -1 >"$folder/flare23kit.tar.gz"
size() { docker image inspect --format '{{.Size}}' "$1"; }
echo "base $(($(size "$base") / 1000000)) MB, image $(($(size flare23kit:latest) / 1000000)) MB," \
  "archive $(($(wc -c <"$folder/flare23kit.tar.gz") / 1000000)) MB"
