#!/bin/bash
# In the image's build: /opt/slipway, an environment with the variant's locked packages and the base's behind them.
# Usage: dependencies.sh VARIANT. PIP_NO_INDEX=1: only from /wheels. TORCH_INDEX_URL: where a torch for CPU is.
set -euo pipefail
variant=$1
lock=/containers/lock
export PIP_FIND_LINKS=/wheels
on_tools() { python3 -m pip --python /opt/tools/bin/python "$@"; }

base_torch=none
if [ "$variant" != cpu ]; then
    base_torch=$(python3 -c 'import torch; print(torch.__version__, torch.__file__)')
fi

# Everything as a wheel, each file checked against the lock; the tools build what has only its source.
on_tools wheel -q --no-deps --require-hashes --no-build-isolation -w /tmp/wheels -r "$lock/image-$variant.txt"
if [ "$variant" = cpu ]; then
    if [ -n "${TORCH_INDEX_URL:-}" ]; then # no checksums are known: the version is pinned, the index trusted
        pinned=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' "$lock/torch-cpu.txt")
        on_tools wheel -q --no-deps -w /tmp/wheels --index-url "$TORCH_INDEX_URL" "$pinned"
    else
        on_tools wheel -q --no-deps --require-hashes -w /tmp/wheels -r "$lock/torch-cpu.txt" || {
            echo "No build of torch for CPU was found: give a folder that holds one with" \
                "--build-context wheels=DIR, or an index with --build-arg TORCH_INDEX_URL=ADDRESS" >&2
            exit 1
        }
    fi
fi

python3 -m venv --without-pip /opt/slipway
shopt -s nullglob
python3 -m pip --python /opt/slipway/bin/python install -q --no-deps --no-index --no-compile \
    /tmp/wheels/*.whl /opt/apex-wheels/*.whl
rm -rf /tmp/wheels
python=/opt/slipway/bin/python
if [ "$variant" != cpu ]; then
    bash /containers/stages/see-base.sh /opt/slipway
    found=$($python -c 'import torch; print(torch.__version__, torch.__file__)')
    if [ "$found" != "$base_torch" ]; then
        echo "torch was $base_torch in the base and became $found" >&2
        exit 1
    fi
fi

# Megatron-core's data helper, compiled: its wheels carry it for common machines.
helper='import megatron.core.datasets.helpers_cpp'
if ! $python -c "$helper" 2>/dev/null; then
    bash /containers/stages/megatron-helper.sh $python
    $python -c "$helper"
fi

# What the base asks of the loader, so that env.sh can put it back where a host changed it.
mkdir -p /opt/slipway/etc /opt/slipway/plugins
printf '%s' "${LD_LIBRARY_PATH:-}" >/opt/slipway/etc/ld_library_path
# By content, not by time: whatever becomes of the files' times, Python takes these.
$python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$($python -c \
    'import sysconfig; print(sysconfig.get_path("purelib"))')" || echo "some modules are not for this Python"
