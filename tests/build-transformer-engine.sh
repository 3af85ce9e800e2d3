#!/usr/bin/env bash
# Build Transformer Engine's extension for torch from the registry's source, without a GPU, into an environment whose
# torch is built for CUDA 13; then tests/kernels/test_real_te.py has something to drive.
#
#   tests/build-transformer-engine.sh PYTHON [VERSION]
#
# Needs CUDA's compiler with its headers (CUDA_HOME), g++, and 3 GB of disk. What it makes is not optimized: torch's
# headers are read once for all files, which takes ten minutes of one core instead of an hour. To be used, Transformer
# Engine is installed as its authors say: pip install --no-build-isolation 'transformer_engine[pytorch]'.
set -euo pipefail

python=$1 version=${2:-2.20.2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CUDA_HOME=${CUDA_HOME:-/usr/local/cuda}

pip() { "$python" -m pip --disable-pip-version-check "$@"; }
pip install -q onnx onnxscript einops pydantic packaging pybind11 setuptools wheel ninja
# without what they depend on: the torch that is here stays
pip install -q --no-deps "transformer_engine==$version" "transformer_engine_cu13==$version" nvidia-curand \
    nvidia-cudnn-frontend nvdlfw-inspect
pip download -q --no-deps --no-build-isolation --no-binary transformer_engine_torch -d "$work" \
    "transformer_engine_torch==$version"
tar xzf "$work"/*.tar.gz -C "$work"
source=$(echo "$work"/transformer_engine_torch-*/)

echo '#include "extensions.h"' >"$work/all.h"
cat >"$work/cxx" <<END
#!/usr/bin/env bash
words=() input= output= before=
for word in "\$@"; do
    [ "\$before" = -o ] && output=\$word
    case \$word in -O3) word=-O0 ;; *.cpp) input=\$word ;; esac
    words+=("\$word") before=\$word
done
case \$input in "$source"*) ;; *) exec g++ "\${words[@]}" ;; esac
if [ ! -e "$work/all.h.gch" ]; then
    first=()
    for word in "\${words[@]}"; do
        case \$word in
            "\$input") first+=(-x c++-header "$work/all.h") ;;
            "\$output") first+=("$work/all.h.gch") ;;
            -c) ;;
            *) first+=("\$word") ;;
        esac
    done
    g++ "\${first[@]}"
fi
exec g++ -include "$work/all.h" "\${words[@]}"
END
chmod +x "$work/cxx"

# torch's wheels bring the headers that a small CUDA_HOME lacks; it brings those that they lack
NVTE_PYTORCH_FORCE_BUILD=TRUE NVTE_BUILD_USE_NVIDIA_WHEELS=1 MAX_JOBS=${MAX_JOBS:-1} CXX=$work/cxx \
    CPATH=$CUDA_HOME/include PATH=$(dirname "$python"):$PATH \
    "$python" -m pip install --no-build-isolation --no-deps "$source"
