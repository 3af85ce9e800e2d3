#!/bin/bash
# In the image's build: /opt/slipway, an environment with the variant's locked packages and the base's behind them.
# Usage: dependencies.sh VARIANT. PIP_NO_INDEX=1: only from /wheels. TORCH_INDEX_URL: where a torch for CPU is.
set -euo pipefail
variant=$1
here=$(dirname "$0")
python=/opt/slipway/bin/python
export PIP_FIND_LINKS=/wheels PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
export PYTHONDONTWRITEBYTECODE=1
on_tools() { python3 -m pip --python "$scratch/tools/bin/python" "$@"; }
scratch=/scratch
mkdir "$scratch"
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch
bash "$here/tools.sh" "$scratch/tools"

base_torch=none
if [ "$variant" != cpu ]; then
    base_torch=$(python3 -c 'import torch; print(torch.__version__, torch.__file__)')
fi

# Everything as a wheel, each file checked against the lock; the tools build what has only its source.
on_tools wheel -q --no-deps --require-hashes --no-build-isolation -w "$scratch/wheels" -r "$here/image-$variant.txt"
if [ "$variant" = cpu ]; then
    if [ -n "${TORCH_INDEX_URL:-}" ]; then # no checksums are known: the version is pinned, the index trusted
        pinned=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' "$here/torch-cpu.txt")
        on_tools wheel -q --no-deps -w "$scratch/wheels" --index-url "$TORCH_INDEX_URL" "$pinned"
    else
        on_tools wheel -q --no-deps --require-hashes -w "$scratch/wheels" -r "$here/torch-cpu.txt" || {
            echo "No build of torch for CPU was found: give a folder that holds one with" \
                "--build-context wheels=DIR, or an index with --build-arg TORCH_INDEX_URL=ADDRESS" >&2
            exit 1
        }
    fi
fi

python3 -m venv --without-pip /opt/slipway
shopt -s nullglob
python3 -m pip --python $python install -q --no-deps --no-index --no-compile \
    "$scratch"/wheels/*.whl "$here"/apex-wheels/*.whl
site=$($python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ "$variant" != cpu ]; then
    bash "$here/see-base.sh" /opt/slipway
    found=$($python -c 'import torch; print(torch.__version__, torch.__file__)')
    if [ "$found" != "$base_torch" ]; then
        echo "torch was $base_torch in the base and became $found" >&2
        exit 1
    fi
fi

bash "$here/megatron-helper.sh" $python "$scratch/tools/bin/python"

# What no run uses: the packages' own tests and sources, and what torch brings for compiling (no compiler is here).
find "$site" -type d -name tests -prune -exec rm -rf {} +
rm -rf "$site"/jedi/third_party/{typeshed/stubs,django-stubs}/* # completion looks at the packages themselves
if [ "$variant" = cpu ]; then
    find "$site" -path "$site/torch" -prune -o -type f \( -name '*.[ach]' -o -name '*.cc' -o -name '*.[ch]pp' \
        -o -name '*.pxd' -o -name '*.pyx' \) -exec rm -f {} +
    rm -rf "$site"/torch/{test,include,share}
    find "$site/torch/bin" -type f ! -name torch_shm_manager -delete
fi

# pip notes where each wheel lay, which is nowhere any more.
find "$site" -path '*.dist-info/direct_url.json' -delete
sed -i '/direct_url\.json,/d' "$site"/*.dist-info/RECORD

# What the base asks of the loader, so that env.sh can put it back where a host changed it.
mkdir -p /opt/slipway/etc /opt/slipway/plugins
tr ':' '\n' <<<"${LD_LIBRARY_PATH:-}" >/opt/slipway/etc/ld_library_path
# By content, not by time: whatever becomes of the files' times, Python takes these. Some are for other Pythons.
$python -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$site" || true
rm -rf /opt/slipway/share/build/__pycache__
