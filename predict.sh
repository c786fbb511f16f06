#!/bin/sh
# The challenge's entry: label every inputs/<case>_0000.nii.gz into outputs/<case>.nii.gz.
#   sh predict.sh             predict; makes .venv first where there is none
#   sh predict.sh --sample    the same, on the sample CT if inputs/ is empty
# Further options go to `python -m inference predict`. The image sets FLARE23_PYTHON to its own
# interpreter; then nothing is looked for and nothing is made.
set -eu
cd "$(dirname "$0")"

python=${FLARE23_PYTHON:-}
if [ -z "$python" ]; then
  sh locks/make_env.sh .venv locks/inference.txt
  python=.venv/bin/python
fi

if [ "${1:-}" = --sample ]; then
  shift
  if [ -z "$(find inputs -name '*_0000.nii.gz' 2>/dev/null)" ]; then
    "$python" -m inference sample inputs
  fi
fi
if [ -r /proc/uptime ]; then # seconds and limits count from here, not from the making of .venv
  read -r FLARE23_START_S _ </proc/uptime
  export FLARE23_START_S
fi
# Memory in pages of 2 MB, where the system has them: a seventh of the processor time (docs/speed.md).
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
exec "$python" -m inference predict inputs outputs --challenge "$@"
