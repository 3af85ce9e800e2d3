#!/bin/sh
# Prints the Python that `make test-gpu` runs: one with a torch of its own, and what Slipway needs beside it.
# Usage: gpu-python.sh [PYTHON]        PYTHON: take this one; else the active environment's, a loaded module's, .venv's
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
needed="torch, megatron.core, hydra, pydantic, numpy, psutil, matplotlib, rich, tokenizers"

has_all() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c "
import sys, importlib.util as look
assert (3, 11) <= sys.version_info < (3, 13)
missing = [name for name in '$needed'.split(', ') if look.find_spec(name.partition('.')[0]) is None]
assert not missing" 2>/dev/null
}

for python in ${1:+"$1"} python3 python "$root/.venv/bin/python"; do
    if has_all "$python"; then
        command -v "$python"
        exit
    fi
    [ -z "${1:-}" ] || break # the one that was asked for, or none
done

cat >&2 <<END
No Python 3.11 or 3.12 has all that is needed (${1:-tried python3, python and .venv/bin/python}): $needed.
On a machine with a network: make setup
With a torch of its own, for example a cluster's module: make wheels-gpu where there is a network, then here
    python3 -m venv --system-site-packages env
    PIP_CONSTRAINT= env/bin/python -m pip install --no-deps -r dist/gpu/requirements.txt
    make test-gpu PYTHON=env/bin/python
END
exit 1
