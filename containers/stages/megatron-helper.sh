#!/bin/bash
# In the image's build: compiles Megatron-core's data helper, where its wheel has none that loads on this machine.
# Usage: megatron-helper.sh PYTHON TOOLS_PYTHON. Megatron-core would do so in the first job, into a read-only image.
set -euo pipefail
python=$1 tools=$2
folder=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/megatron/core/datasets
file=$folder/helpers_cpp$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
loads() { # by itself: Megatron-core around it may want a GPU, which a build has not
    "$python" -c '
import importlib.util as util, sys
spec = util.spec_from_file_location("helpers_cpp", sys.argv[1])
spec.loader.exec_module(util.module_from_spec(spec))' "$file"
}
if ! loads 2>/dev/null; then
    echo "compiling Megatron-core's data helper"
    includes=$("$tools" -m pybind11 --includes)
    # shellcheck disable=SC2086
    "${CXX:-g++}" -O3 -Wall -shared -std=c++17 -fPIC $includes "$folder/helpers.cpp" -o "$file"
    loads
fi
