#!/bin/bash
# In the image's build: compiles Megatron-core's data helper where its wheel has none for this machine.
# Usage: megatron-helper.sh PYTHON TOOLS_PYTHON. Megatron-core would do so in the first job, into a read-only image.
set -euo pipefail
python=$1 tools=$2
folder=$("$python" -c 'import importlib.util as u; print(u.find_spec("megatron.core.datasets").submodule_search_locations[0])')
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
includes=$("$tools" -m pybind11 --includes)
# shellcheck disable=SC2086
"${CXX:-g++}" -O3 -Wall -shared -std=c++17 -fPIC $includes "$folder/helpers.cpp" -o "$folder/helpers_cpp$suffix"
