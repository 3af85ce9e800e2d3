#!/bin/sh
# Makes a virtual environment from the locks, then installs slipway itself from this checkout.
# Usage: install.sh FOLDER PYTHON        TORCH_INDEX_URL: another package index that has the wanted build of torch
set -eu
venv=${1:?usage: install.sh FOLDER PYTHON}
python=${2:?usage: install.sh FOLDER PYTHON}
root=$(cd "$(dirname "$0")/.." && pwd)
lock=$root/containers/lock
base=$lock/base.txt

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
log=$venv/install.log
: >"$log"

# No dependency is looked up: the lock is complete, which `pip check` proves at the end.
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check "$@" >>"$log" 2>&1 || {
        tail -n 25 "$log" >&2
        echo "The installation failed; the whole log is in $log" >&2
        exit 1
    }
}

if [ -n "${TORCH_INDEX_URL:-}" ]; then
    # Builds that the lock has no checksum of: the version is pinned, the index is trusted.
    echo "Installing torch from TORCH_INDEX_URL"
    "$venv/bin/python" "$root/containers/lock.py" --torch >"$venv/torch.txt"
    pip install --extra-index-url "$TORCH_INDEX_URL" -r "$venv/torch.txt"
elif nvidia-smi -L >/dev/null 2>&1; then
    # There is a GPU: `===` leaves out builds for CPU only, which pip would otherwise prefer where it sees them.
    base=$venv/base.txt
    sed 's/^torch==/torch===/' "$lock/base.txt" >"$base"
fi

echo "Installing the locked packages into $venv (several minutes the first time; log: $log)"
pip install --no-deps --require-hashes -r "$base"
case $("$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))') in
*+*) ;; # a build for one kind of machine, complete in itself
*)
    echo "This is torch for CUDA: installing NVIDIA's libraries (about 3 GB)"
    pip install --no-deps --require-hashes -r "$lock/cuda.txt"
    ;;
esac
pip install --no-deps --no-build-isolation --editable "$root"
pip check
