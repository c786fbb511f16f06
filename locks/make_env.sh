#!/bin/sh
# Make the Python environment FOLDER from LOCK, unless it is there, whole, and of this very lock.
# usage: sh locks/make_env.sh FOLDER LOCK
set -eu
folder=$1
lock=$2
stamp="$folder/made-from-$(cksum <"$lock" | tr ' ' '-')"
[ -e "$stamp" ] && exit 0

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed; \`python3\` is $(python3 --version 2>&1)" >&2
  exit 1
}
echo "making $folder from $lock (once)" >&2
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$lock"
touch "$stamp"
