# The environment in the image: what a host must not decide, and where caches go. POSIX sh, may be sourced again.
# Sourced by the entry script, by the command `slipway`, and by Apptainer, which hands on the host's environment.

# Empty, not unset: Apptainer would put the host's value back. Python and the loader take empty for unset.
export PYTHONPATH= PYTHONHOME= PYTHONSTARTUP= PYTHONUSERBASE= LD_PRELOAD= LD_AUDIT= PIP_CONSTRAINT=
export PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1
case ${PATH:-} in
/opt/slipway/bin:*) ;;
*) export PATH="/opt/slipway/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" ;;
esac

# The loader: what a site lends, then the base's own, then what `apptainer --nv` brings. A host's folder that is
# really meant is named in SLIPWAY_LD_LIBRARY_PATH; plugins (of NCCL, libfabric) are bound below /opt/slipway/plugins.
LD_LIBRARY_PATH=${SLIPWAY_LD_LIBRARY_PATH:-}
slipway_add_libraries() {
    [ ! -d "$1" ] || LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$1
}
for slipway_folder in /opt/slipway/plugins/*/lib /opt/slipway/plugins/*/lib64; do
    slipway_add_libraries "$slipway_folder"
done
if [ -r /opt/slipway/etc/ld_library_path ]; then
    while read -r slipway_folder; do
        case $slipway_folder in
        */cuda*/compat*) # the driver's library that --nv brings must win over the base's older or newer one
            [ -e /.singularity.d/libs/libcuda.so.1 ] && [ -z "${SLIPWAY_CUDA_COMPAT:-}" ] && continue ;;
        esac
        slipway_add_libraries "$slipway_folder"
    done </opt/slipway/etc/ld_library_path
fi
slipway_add_libraries /.singularity.d/libs
export LD_LIBRARY_PATH
unset slipway_folder

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
