#!/bin/sh
# End the daemons that start.sh started in FOLDER.
# usage: sh tests/slurm/stop.sh FOLDER
set -eu
for name in slurmd slurmctld munged; do
  [ -e "$1/$name.pid" ] && kill "$(cat "$1/$name.pid")"
done
