#!/bin/sh
# Make the base of the challenge image from Debian's packages as the image TAG, with the same digest
# whenever and wherever the packages are the same: DEBIAN_MIRROR may name a snapshot of them. Needs
# root, debootstrap and a Docker daemon.
# usage: sh tests/image/base.sh FOLDER TAG
set -eu
folder=$1
root="$folder/base"
# shellcheck disable=SC2016  # apt fills it in
site='$(SITE)'
mirror=$(apt-get indextargets --format "$site" 'Codename: bookworm' 'Component: main' | head -n 1)
mirror=${DEBIAN_MIRROR:-$mirror}
rm -rf "$root"
# shellcheck disable=SC2086  # no mirror, no argument
debootstrap --variant=minbase --include=python3,python3-venv bookworm "$root" $mirror \
  >"$folder/debootstrap.log"

# What differs from day to day and from machine to machine: logs, caches, the day on which accounts
# were made, the name of this machine and whom it asks for names. The dates of files follow below.
find "$root/var/log" "$root/var/cache/apt" "$root/var/cache/ldconfig" "$root/var/lib/apt/lists" \
  -type f -delete
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/apt/sources.list"
sed -i 's/^\([^:]*:[^:]*:\)[0-9]*:/\1:/' "$root/etc/shadow"
rm -f "$root/etc/shadow-"

tar -C "$root" -c --sort=name --mtime=@0 --numeric-owner --format=posix \
  --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime . |
  docker import - "$2" >/dev/null
rm -rf "$root"
