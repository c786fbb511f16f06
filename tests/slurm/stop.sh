#!/bin/sh
# End the Slurm that start.sh started in FOLDER.
# usage: sh tests/slurm/stop.sh FOLDER
set -eu
folder=$(cd "$1" && pwd)
if [ "$(readlink /etc/slurm/slurm.conf)" = "$folder/slurm.conf" ]; then
  rm /etc/slurm/slurm.conf /etc/slurm/gres.conf
fi
for name in slurmd slurmctld munged; do
  if [ -e "$folder/$name.pid" ]; then
    kill "$(cat "$folder/$name.pid")"
  fi
done
