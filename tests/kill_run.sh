#!/bin/sh
# Run the phantom recipe into RUN, but kill it (SIGKILL) after each number of seconds; the last try may finish.
# Then: python -m train verify RUN AN_UNDISTURBED_RUN
# usage: sh tests/kill_run.sh RELEASE RUN $(shuf -i 20-400 -n 3)
set -eu
cd "$(dirname "$0")/.."
release=$1
run=$2
shift 2
train() {
  exec python -m train run train/recipes/phantom.toml --release "$release" --run "$run" \
    --truth "$release/hidden" --cores 2
}
for seconds in "$@"; do
  train &
  sleep "$seconds"
  echo "killing process $! after $seconds s; done are $(find "$run" -name stage.json | wc -l) stages" >&2
  kill -9 $!
  wait $! || true
done
train
