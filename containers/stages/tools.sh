#!/bin/bash
# In the image's build: /opt/tools, the pinned tools that build packages, with the base's packages in sight.
set -euo pipefail
export PIP_FIND_LINKS=/wheels
python3 -m venv --without-pip /opt/tools
python3 -m pip --python /opt/tools/bin/python install -q --no-deps --require-hashes \
    -r /containers/lock/image-build.txt
bash /containers/stages/see-base.sh /opt/tools
