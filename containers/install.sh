#!/bin/sh
# Makes a virtual environment from the locks, then installs slipway itself from this checkout.
# Usage: install.sh FOLDER PYTHON [LOCK]
#   LOCK: lock/LOCK.txt in place of lock/base.txt, for other libraries with the same torch; slipway is not installed
#   TORCH_INDEX_URL: another package index that has the wanted build of torch
set -eu
venv=${1:?usage: install.sh FOLDER PYTHON [LOCK]}
python=${2:?usage: install.sh FOLDER PYTHON [LOCK]}
name=${3:-base}
root=$(cd "$(dirname "$0")/.." && pwd)
lock=$root/containers/lock

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
log=$venv/install.log
: >"$log"

must() { # a command whose log is shown where it fails
    "$@" >>"$log" 2>&1 || {
        tail -n 25 "$log" >&2
        echo "The installation failed; the whole log is in $log" >&2
        exit 1
    }
}
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check "$@"
}
# No dependency is looked up: the lock is complete, which `pip check` proves at the end. uv takes a tenth of pip's time;
# pip takes over if uv is not available or does not get at the packages.
locked() { # FILE: what it names, with these checksums
    "$venv/bin/python" "$root/containers/with_uv.py" --no-deps --require-hashes -r "$1" ||
        pip install --no-deps --require-hashes -r "$1"
}

echo "Installing the locked packages into $venv (minutes the first time; log: $log)"
if ! grep -q '^torch==' "$lock/$name.txt"; then
    : # an environment without torch
elif [ -n "${TORCH_INDEX_URL:-}" ]; then
    # Builds that the lock has no checksum of: the version is pinned, the index is trusted.
    "$venv/bin/python" "$lock.py" --torch >"$venv/torch.txt"
    must pip install --extra-index-url "$TORCH_INDEX_URL" -r "$venv/torch.txt"
elif ! nvidia-smi -L >/dev/null 2>&1; then
    # pip prefers links that carry a checksum, so a build for CPU in a plain folder has to be asked for by name.
    locked "$lock/torch-cpu.txt" >>"$log" 2>&1 ||
        echo "pip sees no build of torch for CPU only: taking the registry's (see containers/README.md)"
fi
must locked "$lock/$name.txt"
case $("$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null) in
"" | *+*) ;; # none, or a build for another kind of machine
*)
    echo "This is torch for CUDA: installing NVIDIA's libraries (about 3 GB)"
    must locked "$lock/cuda.txt"
    ;;
esac
[ "$name" != base ] || must pip install --no-deps --no-build-isolation --editable "$root"
must pip check
