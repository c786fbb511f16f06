#!/bin/sh
# Build the challenge image on a Debian machine and save it: FOLDER/flare23kit.tar.gz, or with "gpu"
# FOLDER/flare23kitgpu.tar.gz. Docker gets the image of the archive.
# Needs root, and as PYTHON an environment with the kit's packages. Installs docker.io and debootstrap
# where they are missing, starts a Docker daemon where none answers (its id is in FOLDER/dockerd.pid),
# and makes the base image from Debian's packages, so that no image registry is needed. Where pip asks
# and whom it trusts is taken from this machine.
# usage: sh tests/image/build.sh FOLDER [gpu]    BASE names the base image, which is made if need be
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
base=${BASE:-flare23kit-base:bookworm}
builder=${base%:*}-builder:bookworm
case ${2:-cpu} in
  cpu) team=flare23kit ;;
  gpu) team=flare23kitgpu ;;
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

docker image inspect "$base" >/dev/null 2>&1 || sh tests/image/base.sh "$folder" "$base"
certificates=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
inside=/etc/ssl/certs/ca-certificates.crt
mkdir -p "$folder/builder"
cp "$certificates" "$folder/builder/certificates"
printf 'FROM %s\nCOPY certificates %s\n' "$base" "$inside" |
  docker build -q -t "$builder" -f - "$folder/builder" >/dev/null

index=$("$python" -m pip config get global.index-url 2>/dev/null || true)
"$python" -m train package . -o "$folder/$team.tar.gz" --target "${2:-cpu}" --network host \
  --base "$base" --build-arg BUILDER_IMAGE="$builder" --build-arg PIP_CERT="$inside" \
  ${index:+--build-arg PIP_INDEX_URL="$index"} >"$folder/package-$team.txt"
docker load -q -i "$folder/$team.tar.gz" >/dev/null
size() { docker image inspect --format '{{.Size}}' "$1"; }
echo "base $(($(size "$base") / 1000000)) MB, image $(($(size "$team:latest") / 1000000)) MB," \
  "archive $(($(wc -c <"$folder/$team.tar.gz") / 1000000)) MB," \
  "sha256 $(sha256sum "$folder/$team.tar.gz" | cut -d ' ' -f 1)"
