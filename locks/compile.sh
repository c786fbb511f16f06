#!/bin/sh
# Write the lock files anew: every package of every environment, by version and digest.
set -eu
cd "$(dirname "$0")/.."
compile() {
  uv pip compile --quiet --upgrade pyproject.toml --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --generate-hashes \
    --custom-compile-command "sh locks/compile.sh" "$@"
}
compile -o locks/inference.txt
compile --extra tensorrt-rtx -c locks/inference.txt -o locks/gpu.txt
compile --extra onnxruntime --extra tensorrt-rtx --extra train --extra evaluation --extra dicom --extra provenance --extra dev \
  -c locks/gpu.txt -o locks/dev.txt
