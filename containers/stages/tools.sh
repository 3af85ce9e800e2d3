#!/bin/bash
# In the image's build: /tools, the pinned tools that build packages, with the base's packages in sight.
set -euo pipefail
here=$(dirname "$0")
export PIP_FIND_LINKS=/wheels PIP_CONSTRAINT="" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
tools=${1:-/tools}
python3 -m venv --without-pip "$tools"
python3 -m pip --python "$tools/bin/python" install -q --no-deps --require-hashes -r "$here/image-build.txt"
bash "$here/see-base.sh" "$tools"
