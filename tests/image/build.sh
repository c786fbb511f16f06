#!/bin/sh
# Build the challenge image on a Debian machine and save it: FOLDER/flare23kit.tar.gz, or with "gpu"
# FOLDER/flare23kitgpu.tar.gz.
# Needs root. Installs docker.io and debootstrap where they are missing, starts a Docker daemon where
# none answers (its id is in FOLDER/dockerd.pid), and makes the base image from Debian's packages, so
# that no image registry is needed. Where pip asks and whom it trusts is taken from this machine.
# usage: sh tests/image/build.sh FOLDER [gpu]
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
base=flare23kit-base:bookworm
case ${2:-cpu} in
  cpu) team=flare23kit target=cpu lock=locks/inference.txt ;;
  gpu) team=flare23kitgpu target=gpu lock=locks/gpu.txt ;;
  *) echo "no target $2; give gpu or nothing" >&2; exit 2 ;;
esac

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
docker build --network host -t "$team:latest" --target "$target" \
  --build-arg BASE_IMAGE="$base" --build-arg LOCK="$lock" \
  --build-arg PIP_CERT="$inside" ${index:+--build-arg PIP_INDEX_URL="$index"} \
  --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD)" \
  --build-arg MANIFEST_SHA256="$manifest" . >"$folder/build-$target.log"
docker save "$team:latest" | gzip -1 >"$folder/$team.tar.gz"
size() { docker image inspect --format '{{.Size}}' "$1"; }
echo "base $(($(size "$base") / 1000000)) MB, image $(($(size "$team:latest") / 1000000)) MB," \
  "archive $(($(wc -c <"$folder/$team.tar.gz") / 1000000)) MB"
