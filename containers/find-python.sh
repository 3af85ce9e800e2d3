#!/bin/sh
# Prints the path of a Python MAJOR.MINOR that runs and can make virtual environments: on PATH, from uv, or from pyenv.
# Usage: find-python.sh 3.11
set -eu
version=${1:?usage: find-python.sh MAJOR.MINOR}

# A command of the right name proves little: pyenv's shims may only print an error, Debian's may lack ensurepip.
path_of() {
    "$@" -c "import sys, venv, ensurepip; assert '%d.%d' % sys.version_info[:2] == '$version'; print(sys.executable)" 2>/dev/null
}

path_of "python$version" && exit
path_of python3 && exit
if command -v uv >/dev/null 2>&1; then
    # --no-python-downloads: what is not here is the user's to install.
    found=$(uv python find --no-python-downloads --system "$version" 2>/dev/null) && path_of "$found" && exit
fi
for found in "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python; do
    path_of "$found" && exit
done

cat >&2 <<END
Python $version, able to make virtual environments, is needed and was not found (tried python$version, python3, uv and pyenv). Install it with one of
    apt install python$version python$version-venv      dnf install python$version      brew install python@$version
    uv python install $version                       pyenv install $version
    module load Python/$version...                   (on a cluster: see 'module avail Python')
or name it: make PYTHON=/path/to/python$version
END
exit 1
