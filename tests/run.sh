#!/bin/sh
# Make the development environment (.venv-dev) where it is missing, then run every check.
# Further options go to pytest, for instance: sh tests/run.sh -k volumes
set -eu
cd "$(dirname "$0")/.."
sh locks/make_env.sh .venv-dev locks/dev.txt
sh tests/chromium.sh
PATH="$PWD/.venv-dev/bin:$PATH"
export PATH

ruff check .
ruff format --check .
mypy
pytest -n 2 --dist loadfile -m "not gpu and not docker and not long and not slurm" "$@"
