#!/bin/sh
# Run all of tests/gpu on this machine's NVIDIA card, without a package index, and write what was
# found to FOLDER/gpu_<card>.json. Wheels are unpacked into a temporary folder; nothing is installed.
# usage: sh tests/gpu/run.sh FOLDER [WHEELS]
# FOLDER is for the results, WHEELS a folder of *.whl. What they do not bring, torch for instance,
# must be in the Python that runs: python3, or $PYTHON.
set -eu
if [ $# -lt 1 ]; then
  echo "usage: sh tests/gpu/run.sh FOLDER [WHEELS]" >&2
  exit 2
fi
python="${PYTHON:-python3}"
folder=$(mkdir -p "$1" && cd "$1" && pwd)
if ! card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null); then
  echo "no NVIDIA card here: nvidia-smi does not answer" >&2
  exit 1
fi
card=$(echo "$card" | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -gt 1 ]; then
  "$python" -m pip install --quiet --no-index --no-deps --target "$work/site" "$2"/*.whl
  PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}"
  export PYTHONPATH
fi
cd "$(dirname "$0")/../.."
status=0
"$python" -m pytest -m gpu tests/gpu -p no:cacheprovider \
  --continue-on-collection-errors --junitxml "$work/junit.xml" || status=$?
if [ -f "$work/junit.xml" ]; then
  "$python" tests/gpu/results.py "$work/junit.xml" "${card%, *}" "${card##*, }" "$folder"
fi
exit "$status"
