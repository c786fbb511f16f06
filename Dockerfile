# The challenge image. docs/image.md says how it is built, checked and saved.
#   docker build -t TEAM:latest .                                                      CPU
#   docker build -t TEAM:latest --target gpu --build-arg LOCK=locks/gpu.txt .          GPU
# BASE_IMAGE needs Python 3.11 with venv, bash and sh. BUILDER_IMAGE is the same system, perhaps with
# this machine's certificates, which the image does not get.
ARG BASE_IMAGE=python:3.11-slim
ARG BUILDER_IMAGE=${BASE_IMAGE}

FROM ${BUILDER_IMAGE} AS builder
ARG LOCK=locks/inference.txt
# Where pip asks and whom it trusts, on a machine where the defaults do not do.
ARG PIP_INDEX_URL
ARG PIP_CERT
WORKDIR /workspace
COPY ${LOCK} /tmp/lock.txt
# pip stays in an environment of its own, which the image does not get.
RUN python3 -m venv /opt/pip \
 && python3 -m venv --without-pip /opt/venv \
 && /opt/pip/bin/python -m pip --python /opt/venv/bin/python install --quiet \
      --disable-pip-version-check --no-cache-dir --no-compile --only-binary :all: \
      --require-hashes -r /tmp/lock.txt
# TensorRT itself, where its maker's libraries can be reached: TENSORRT=tensorrt-cu13==VERSION.
ARG TENSORRT
RUN [ -z "$TENSORRT" ] || /opt/pip/bin/python -m pip --python /opt/venv/bin/python install --quiet \
      --disable-pip-version-check --no-cache-dir --no-compile "$TENSORRT"
# What no prediction loads. The engine runs on "CPU" and reads ONNX and IR by OpenVINO's compiled module:
# its other devices, other frontends, converters and what C++ programs are built with go; so do its
# telemetry, which would try the network and write into the home folder, NumPy's tools that build
# extensions, declarations for type checkers and compilers, and the packages' own tests.
RUN cd /opt/venv/lib/python3.*/site-packages \
 && rm -rf openvino/cmake openvino/include openvino/libs/cache.json openvino/libs/*.pc \
      openvino/tools openvino/torch openvino_telemetry* numpy/distutils numpy/f2py numpy/_core/include \
 && for part in intel_gpu_plugin intel_npu_plugin auto_plugin auto_batch_plugin hetero_plugin \
      tensorflow_frontend tensorflow_lite_frontend pytorch_frontend paddle_frontend jax_frontend \
      gguf_frontend c; do rm -f openvino/libs/libopenvino_$part.so*; done \
 && for frontend in jax paddle pytorch tensorflow; do rm -rf openvino/frontend/$frontend; done \
 && find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
 && find . -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.a' \) -delete
# Byte code of everything that can be imported, the base's own modules too (slim images ship none),
# in one folder. It is never compared with its source, so a start reads no source and writes nothing;
# -f: nor is that of the modules which compileall itself has just imported.
COPY imaging/ imaging/
COPY inference/ inference/
# A fixed PYTHONHASHSEED: sets among the constants are written in one order.
RUN PYTHONHASHSEED=0 PYTHONPYCACHEPREFIX=/opt/pycache /opt/venv/bin/python -m compileall -f -q \
      --invalidation-mode unchecked-hash -x '/(config-[^/]*|ensurepip|idlelib|lib2to3|test|tests|tkinter|turtledemo)/' \
      "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
      /opt/venv/lib /workspace/imaging /workspace/inference
# What is in it, as CycloneDX, and the licences of all of it.
COPY LICENSE weights_manifest.json ./
COPY weights/ weights/
COPY train/inventory/ train/inventory/
ARG VERSION
ARG REVISION
ARG SOURCE_DATE_EPOCH
RUN PYTHONDONTWRITEBYTECODE=1 /opt/venv/bin/python -m train.inventory /workspace /opt/inventory \
      --version "$VERSION" --revision "$REVISION" --epoch "$SOURCE_DATE_EPOCH"

FROM ${BASE_IMAGE} AS runtime
ENV FLARE23_PYTHON=/opt/venv/bin/python \
    FLARE23_TIME_LIMIT=15 \
    FLARE23_MEMORY_LIMIT=28000 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/pycache \
    PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /workspace
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/pycache /opt/pycache
COPY --from=builder /opt/inventory/ ./
COPY weights/ weights/
COPY imaging/ imaging/
COPY inference/ inference/
COPY predict.sh weights_manifest.json ./
ARG VERSION
ARG REVISION
ARG MANIFEST_SHA256
LABEL org.opencontainers.image.title="flare23-kit" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      flare23.manifest.sha256="${MANIFEST_SHA256}"
CMD ["sh", "predict.sh"]

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
