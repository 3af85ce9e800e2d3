# The image in which Slipway trains, for VARIANT cpu, cuda or rocm; docs/image.md says how to build and run it.
#
# Written for BuildKit and for buildah 1.28 (podman 4.3) alike: no heredocs, no COPY --link. The defaults of *_BASE
# and APEX_COMMIT are pins of pyproject.toml: `make lock` writes them, `make check` compares. BASE_IMAGE replaces
# the variant's base. Old podman finds the stages only where VARIANT is given with --build-arg, even for cpu.
ARG VARIANT=cpu
ARG BASE_IMAGE
ARG CPU_BASE=docker.io/library/python:3.11-slim-bookworm
ARG CUDA_BASE=nvcr.io/nvidia/pytorch:26.06-py3@sha256:43c018d6a12963f1a1bad85ef8574b5c2a978eec2be0ebcacfb87f69e0d210e1
ARG ROCM_BASE=docker.io/rocm/pytorch:rocm7.2.4_ubuntu24.04_py3.12_pytorch_release_2.10.0@sha256:4449f856653602317e4101a76fce599c7fcd58ccec2e539951fce5f73083179e
ARG APEX_COMMIT=10417aceddd7d5d05d7cbf7b0fc2daad1105f8b4

FROM ${BASE_IMAGE:-$CPU_BASE} AS base-cpu
FROM ${BASE_IMAGE:-$CUDA_BASE} AS base-cuda
FROM ${BASE_IMAGE:-$ROCM_BASE} AS base-rocm

# Named contexts that a build may replace: wheels for a build without network, the source tree of apex.
FROM scratch AS wheels
FROM scratch AS apex-source

# --- apex: NVIDIA's, only for CUDA and only where the base has none ---------------------------------------------
# hadolint ignore=DL3006 # a stage above, no image
FROM base-${VARIANT} AS apex
ARG VARIANT
ARG APEX_COMMIT
ARG TORCH_CUDA_ARCH_LIST
ARG PIP_NO_INDEX
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY containers/lock/image-build.txt containers/stages/ /build/
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,from=apex-source,target=/apex-source \
    --mount=type=cache,target=/root/.cache/pip \
    bash /build/apex.sh "$VARIANT" "$APEX_COMMIT"

# --- dependencies: the locked packages in an environment of their own, beside the base's ------------------------
# The image goes on from here: a copy of so many files would be read again by every build. What is copied is what
# decides the result, so that old podman, which does not look into mounts, knows when to build anew. It also
# removes what was mounted on: never mount on a folder that the base has.
# hadolint ignore=DL3006 # a stage above, no image
FROM base-${VARIANT} AS dependencies
ARG VARIANT
ARG TORCH_INDEX_URL
ARG PIP_NO_INDEX
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# A base may hold pip to its own versions (NGC does): here the locks decide.
ENV PIP_CONSTRAINT=""
COPY containers/lock/image-build.txt containers/lock/torch-cpu.txt containers/lock/image-${VARIANT}.txt \
     containers/stages/ /opt/slipway/share/build/
COPY --from=apex /apex-wheels /opt/slipway/share/build/apex-wheels
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip \
    bash /opt/slipway/share/build/dependencies.sh "$VARIANT"

# --- package: slipway itself, so that a change of its source leaves all above as it is --------------------------
FROM dependencies AS package
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip \
    bash /opt/slipway/share/build/tools.sh
COPY pyproject.toml README.md CHANGELOG.md LICENSE /source/
COPY conf /source/conf
COPY deploy /source/deploy
COPY platform /source/platform
COPY containers/env.sh containers/entry.sh containers/slipway.sh containers/smoke.py /source/containers/
RUN bash /opt/slipway/share/build/package.sh /source /staging

# --- the image --------------------------------------------------------------------------------------------------
FROM dependencies AS runtime
# Also for those who start it without its entry script; env.sh says why. HOME is for users without one.
ENV PATH=/opt/slipway/bin:$PATH \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
COPY --from=package /staging/opt/slipway /opt/slipway
WORKDIR /work
USER 1000:1000
# Process 1 hands signals to the trainer and reaps what it leaves.
ENTRYPOINT ["/opt/slipway/bin/dumb-init", "--single-child", "--", "/opt/slipway/bin/slipway-entry"]
CMD ["slipway", "--help"]

ARG VARIANT
ARG VERSION
ARG REVISION
ARG SOURCE
ARG BASE_NAME
ARG PINS
LABEL org.opencontainers.image.title="slipway" \
      org.opencontainers.image.description="Trains foundation models with 3D parallelism" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.base.name="$BASE_NAME" \
      org.slipway.variant="$VARIANT" \
      org.slipway.pins="$PINS"
