#!/bin/bash
# In the image's build: NVIDIA's apex as a wheel in /apex-wheels, or an empty folder where none is needed.
# Usage: apex.sh VARIANT COMMIT. A tree at /apex-source is taken as it is; without one, the commit is fetched.
set -euo pipefail
variant=$1 commit=$2
here=$(dirname "$0")
mkdir -p /apex-wheels
if [ "$variant" != cuda ]; then
    echo "apex: not for $variant"
    exit
fi
if python3 "$here/apex_setup.py" --there; then
    echo "apex: the base has it, with all extensions that are of use"
    exit
fi
bash "$here/tools.sh"
tree=/tmp/apex
if [ -e /apex-source/setup.py ]; then
    cp -r /apex-source "$tree"
else
    git init -q "$tree"
    git -C "$tree" fetch -q --depth 1 https://github.com/NVIDIA/apex "$commit"
    git -C "$tree" checkout -q FETCH_HEAD
    test "$(git -C "$tree" rev-parse HEAD)" = "$commit"
fi
cd "$tree"
export APEX_CPP_EXT=1 APEX_CUDA_EXT=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}" NVCC_APPEND_FLAGS="--threads 4"
/tools/bin/python "$here/apex_setup.py" --dist-dir /apex-wheels
cd / && rm -rf "$tree"
ls /apex-wheels/*.whl
