# The environment in the image: what a host must not decide, and where caches go.
# Sourced by the entry script, and by Apptainer, which hands on the host's environment.

unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONSAFEPATH LD_PRELOAD LD_AUDIT
export PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 PIP_CONSTRAINT=

# The base's libraries, and those that a site binds below /opt/slipway/plugins (a plugin of NCCL, libfabric).
# A folder that is really meant goes into SLIPWAY_LD_LIBRARY_PATH.
LD_LIBRARY_PATH=
if [ -r /opt/slipway/etc/ld_library_path ]; then
    read -r LD_LIBRARY_PATH </opt/slipway/etc/ld_library_path || true
fi
for folder in /opt/slipway/plugins/*/lib /opt/slipway/plugins/*/lib64; do
    if [ -d "$folder" ]; then
        LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    fi
done
if [ -n "${SLIPWAY_LD_LIBRARY_PATH:-}" ]; then
    LD_LIBRARY_PATH=$SLIPWAY_LD_LIBRARY_PATH${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
export LD_LIBRARY_PATH

# The image is read-only. One variable moves all caches; the default is one folder for each user and job.
if [ -z "${SLIPWAY_CACHE:-}" ]; then
    SLIPWAY_CACHE=/tmp
    if [ -n "${TMPDIR:-}" ] && [ -d "$TMPDIR" ] && [ -w "$TMPDIR" ]; then
        SLIPWAY_CACHE=$TMPDIR
    fi
    SLIPWAY_CACHE=$SLIPWAY_CACHE/slipway-$(id -u)-${SLURM_JOB_ID:-local}
fi
export SLIPWAY_CACHE
if [ ! -w "${HOME:-/nonexistent}" ]; then # of users whom the image does not know
    export HOME=/tmp
fi
export XDG_CACHE_HOME="$SLIPWAY_CACHE" \
    XDG_CONFIG_HOME="$SLIPWAY_CACHE/config" \
    MPLCONFIGDIR="$SLIPWAY_CACHE/matplotlib" \
    TRITON_HOME="$SLIPWAY_CACHE" \
    TRITON_CACHE_DIR="$SLIPWAY_CACHE/triton" \
    TORCHINDUCTOR_CACHE_DIR="$SLIPWAY_CACHE/inductor" \
    TORCH_EXTENSIONS_DIR="$SLIPWAY_CACHE/torch-extensions" \
    TORCH_HOME="$SLIPWAY_CACHE/torch" \
    CUDA_CACHE_PATH="$SLIPWAY_CACHE/cuda" \
    MIOPEN_USER_DB_PATH="$SLIPWAY_CACHE/miopen" \
    MIOPEN_CUSTOM_CACHE_DIR="$SLIPWAY_CACHE/miopen" \
    HF_HOME="$SLIPWAY_CACHE/huggingface" \
    WANDB_CACHE_DIR="$SLIPWAY_CACHE/wandb" \
    WANDB_CONFIG_DIR="$SLIPWAY_CACHE/wandb-config" \
    WANDB_DATA_DIR="$SLIPWAY_CACHE/wandb-data"
