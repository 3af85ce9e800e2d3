#!/usr/bin/env bash
# Slipway: gpt3_1_3b, 16 nodes x 4 devices on jupiter_booster
# Written by `slipway launch`. A job is one segment of the run: it trains until all is done, its time is up, a signal
# comes or something fails, and the next segment goes on from the newest checkpoint: 10 segments at most.
#SBATCH --job-name=gpt3_1_3b
#SBATCH --account=project1
#SBATCH --partition=booster
#SBATCH --nodes=16
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=72
#SBATCH --gres=gpu:4
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@300
#SBATCH --open-mode=append
#SBATCH --output=/project/me/slurm-%j.out
#SBATCH --exclusive
#SBATCH --no-requeue

set -u

# --- where: relative paths are below this folder; the container sees it under the same name
cd /project/me || exit 1
run_dir=runs/gpt3_1_3b
changes=()
job=$SLURM_JOB_ID
own_index=()

# --- what is printed: Slurm opens this job's log before its run has a folder, so the log moves there now
mkdir -p "$run_dir/logs" || exit 1
log=$run_dir/logs/slurm-$SLURM_JOB_ID.out
ln "slurm-$job.out" "$log" 2>/dev/null || exec >>"$log" 2>&1 # it is there already after a requeue
rm -f "slurm-$job.out"

# --- whose environment: what this script says, and the modules that it loads. The submitting shell may hold names by
# which Slurm, MPI, torchrun, Python, containers and libraries take orders that stand nowhere here: they are taken away.
clean() {
    local name
    for name in "${!SBATCH_@}" "${!SALLOC_@}" "${!SRUN_@}" "${!SQUEUE_@}" "${!SCANCEL_@}" "${!SCONTROL_@}" \
        "${!SINFO_@}" "${!SACCT_@}" "${!SLURM_CPU_BIND@}" "${!SLURM_MEM_BIND@}" "${!TORCHELASTIC_@}" \
        "${!PET_@}" "${!OMPI_@}" "${!PMI@}" "${!PRTE_@}" "${!MPI_@}" "${!I_MPI_@}" "${!MPIEXEC_@}" \
        "${!PALS_@}" "${!MV2_@}" "${!PYTHON@}" "${!APPTAINER@}" "${!SINGULARITY@}" "${!OMP_@}" \
        "${!GOMP_@}" "${!KMP_@}" "${!MKL_@}" "${!OPENBLAS_@}" "${!CUDA_@}" "${!NVIDIA_@}" "${!CUBLAS@}" \
        "${!CUDNN_@}" "${!HIP@}" "${!HSA_@}" "${!ROCR_@}" "${!MIOPEN_@}" "${!NCCL_@}" "${!RCCL_@}" \
        "${!GLOO_@}" "${!UCX_@}" "${!UCC_@}" "${!FI_@}" "${!OFI_@}" "${!RDMAV_@}" "${!MPICH_@}" \
        "${!TORCH@}" "${!PYTORCH_@}" "${!TRITON_@}" "${!NVTE_@}"; do
        case $name in
        APPTAINER_CACHEDIR | APPTAINER_TMPDIR | APPTAINER_CONFIGDIR | SINGULARITY_CACHEDIR | \
        SINGULARITY_TMPDIR | SINGULARITY_CONFIGDIR) ;;
        *) unset "$name" && taken="$taken $name" ;;
        esac
    done
    unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK GROUP_WORLD_SIZE ROLE_RANK ROLE_WORLD_SIZE \
        ROLE_NAME NODE_RANK NNODES MASTER_ADDR MASTER_PORT SLIPWAY_NODE_RANK SLIPWAY_NNODES \
        SLIPWAY_NODE_NAME SLIPWAY_END_TIME SLIPWAY_DOCTOR_PREPARES WANDB_MODE WANDB_DISABLED WANDB_RUN_ID \
        WANDB_RESUME WANDB_NAME WANDB_PROJECT WANDB_RUN_GROUP WANDB_DIR WANDB_NOTES WANDB_TAGS \
        SLURM_ACCTG_FREQ SLURM_BCAST SLURM_CLUSTERS SLURM_COMPRESS SLURM_CONSTRAINT SLURM_CPUS_PER_GPU \
        SLURM_CPU_FREQ_REQ SLURM_DEBUG SLURM_DISABLE_STATUS SLURM_DISTRIBUTION SLURM_DIST_PLANESIZE \
        SLURM_EPILOG SLURM_EXACT SLURM_EXCLUSIVE SLURM_EXIT_ERROR SLURM_EXIT_IMMEDIATE SLURM_EXPORT_ENV \
        SLURM_GPUS SLURM_GPUS_PER_NODE SLURM_GPUS_PER_SOCKET SLURM_GPUS_PER_TASK SLURM_GPU_BIND \
        SLURM_GPU_FREQ SLURM_GRES SLURM_HINT SLURM_IMMEDIATE SLURM_KILL_BAD_EXIT SLURM_LABELIO \
        SLURM_MPI_TYPE SLURM_NETWORK SLURM_NO_KILL SLURM_OVERCOMMIT SLURM_OVERLAP \
        SLURM_PMI_KVS_NO_DUP_KEYS SLURM_PROFILE SLURM_PROLOG SLURM_REMOTE_CWD SLURM_RESV_PORTS \
        SLURM_SEND_LIBS SLURM_SRUN_REDUCE_TASK_EXIT_MSG SLURM_STDERRMODE SLURM_STDINMODE SLURM_STDOUTMODE \
        SLURM_STEP_GRES SLURM_STEP_KILLED_MSG_NODE_ID SLURM_STEP_NUM_TASKS SLURM_TASK_EPILOG \
        SLURM_TASK_PROLOG SLURM_TEST_EXEC SLURM_THREADS SLURM_THREADS_PER_CORE SLURM_THREAD_SPEC \
        SLURM_TIMELIMIT SLURM_TIME_FORMAT SLURM_UNBUFFEREDIO SLURM_WAIT SLURM_WORKING_DIR
}
# Slurm sets these for this script, which needs none, and srun anew for each task.
unset CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ZE_AFFINITY_MASK
taken=""
clean
[ -z "$taken" ] || echo "slipway: taken out of the submitting shell's environment:$taken"
case $taken in *" SBATCH_"*)
    echo "slipway: sbatch prefers SBATCH_* to what this script asks for; 'slipway launch --submit' lets it see none" ;;
esac

# --- which segment: the job that submits another to continue it tells it the number, Slurm counts requeues
chain=10
segment=$((${1:-1} + ${SLURM_RESTART_COUNT:-0}))
echo "slipway: segment $segment of at most $chain, job $job on $SLURM_JOB_NODELIST, $(date --iso-8601=seconds)"
if [ "$segment" -gt "$chain" ]; then
    echo "slipway: launch.chain $chain is used up; 'slipway launch --submit' continues the run"
    exit 1
fi
continuations=$run_dir/launch.continuations
[ $# -eq 0 ] || grep -qxF "$job" "$continuations" 2>/dev/null || echo "$job" >>"$continuations"

# --- what: the plan as it was made and checked, so that ranks compose and plan nothing; and this script, for people to read
beside=$run_dir/.launch.$SLURM_JOB_ID
cat >"$beside" <<'SLIPWAY_PLAN_JSON' || exit 1
{...}
SLIPWAY_PLAN_JSON
mv "$beside" "$run_dir/job_plan.json" || exit 1
cp "$0" "$beside" && mv "$beside" "$run_dir/job.sh"

# --- what comes next
# Nodes that are not to be used: launch.exclude, and those that the trainer or `slipway doctor` found bad.
excluded() {
    {
        [ ! -f "$run_dir/bad_nodes" ] || grep -oE '^[A-Za-z0-9][A-Za-z0-9._-]*' "$run_dir/bad_nodes"
    } | sort -u
}
commas() { paste -sd , -; }

# Those of them that Slurm knows: it refuses a job that is to leave out another.
known() {
    excluded | while read -r node; do
        if scontrol show node "$node" >/dev/null 2>&1 </dev/null; then echo "$node"; fi
    done
}

# Submit the job that continues this one once this one has failed: all but exit code 0 counts as that. It leaves out the
# nodes $1. Prints its number: sbatch's last line of that form (a site may have it print more), else the queue's.
submit() (
    clean
    for name in "${!SLURM_@}" "${!SLURMD_@}" "${!_SLURM_@}"; do # this job's variables must not reach the next one
        case $name in SLURM_CONF | SLURM_CONF_SERVER | SLURM_JWT) ;; *) unset "$name" ;; esac
    done
    said=$(sbatch --parsable --dependency="afternotok:$job" --kill-on-invalid-dep=yes ${1:+--exclude="$1"} \
        ${own_index[@]+"${own_index[@]}"} "$0" "$((segment + 1))") || exit 1
    next=$(printf '%s\n' "$said" |
        sed -nE 's/^(Submitted batch job )?([0-9]+)(;.*| on cluster .*)?\s*$/\2/p' | tail -n 1)
    [ -n "$next" ] || next=$(squeue --noheader --me --format="%F %E" |
        sed -nE "s/^([0-9]+) +afternotok:$job([^0-9].*)?$/\1/p" | tail -n 1)
    if [ -z "$next" ]; then
        echo "slipway: no job's number in what sbatch printed, and none in the queue that waits for job $job: $said" >&2
        exit 1
    fi
    echo "$next" >>"$continuations"
    echo "$next"
)
submit_next() {
    local all few
    all=$(excluded | commas)
    submit "$all" && return
    few=$(known | commas)
    [ "$few" != "$all" ] || return 1
    echo "slipway: Slurm does not know all of the nodes $all; leaving out ${few:-none}" >&2
    submit "$few"
}

next=""
# It is submitted now: a node's crash leaves no time for it later.
if [ "$segment" -lt "$chain" ]; then
    next=$(submit_next) && echo "slipway: job $next continues this one if need be"
fi

# No further segment; $1 says why, $2 is the exit code.
end_chain() {
    echo "slipway: $1"
    [ -z "$next" ] || scancel "$next"
    exit "$2"
}

# The next segment, please; $1 says why, $2 is the exit code. What waits is given up only for what is better.
continue_run() {
    local waits=$next
    [ "$segment" -lt "$chain" ] ||
        end_chain "$1, but launch.chain $chain is used up; 'slipway launch --submit' continues the run" "$2"
    if [ "$(excluded)" != "$excluded_before" ]; then # only a new job can be kept from a node
        if next=$(submit_next); then
            echo "slipway: $1; job $next continues, without $(excluded | commas)"
            [ -z "$waits" ] || scancel "$waits"
            exit "$2"
        fi
        next=$waits
        echo "slipway: no job could be submitted that leaves out $(excluded | commas)"
    fi
    [ -n "$next" ] || next=$(submit_next) || end_chain "$1; the next segment could not be submitted" "$2"
    echo "slipway: $1; job $next continues"
    exit "$2"
}

# The last step on record; a fault without a further one would only come again.
last_step() {
    [ ! -f "$run_dir/metrics.jsonl" ] ||
        sed -n 's/^.*"kind": "train".*"step": \([0-9][0-9]*\).*$/\1/p' "$run_dir/metrics.jsonl" | tail -n 1
}

excluded_before=$(excluded)
step_before=$(last_step)

# --- how the ranks find each other: rank 0 is the first task on the first node
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | grep -xE '[A-Za-z0-9][A-Za-z0-9._-]*' |
    tail -n "${SLURM_JOB_NUM_NODES:-1}" | head -n 1)
[ -n "$MASTER_ADDR" ] || end_chain "scontrol named none of the nodes $SLURM_JOB_NODELIST" 1
MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000)) # below the ports that the kernel hands out
export MASTER_ADDR MASTER_PORT

# --- until when: the ranks stop in time to save; the last half minute is for what comes after
end=$(SLURM_TIME_FORMAT=%s squeue --noheader --jobs="$job" --format=%e | grep -xE '[0-9]{9,} *' | tail -n 1)
if [ -n "$end" ]; then
    export SLIPWAY_END_TIME=$((end - 30))
else
    echo "slipway: squeue names no end of this job: only Slurm's signal tells the ranks to stop"
fi

# --- with what
export NCCL_IB_HCA==mlx5_0,mlx5_1,mlx5_2,mlx5_3
export WANDB_MODE=offline
export SRUN_CPUS_PER_TASK=72
container=(
    env CUDA_VISIBLE_DEVICES=0,1,2,3
    apptainer exec --no-home
    --nv
    --bind /project/me
    --bind /e
    --pwd /project/me
    slipway.sif
)

# One task per device. A signal is for the rank, which saves and exits with 75; this shell must outlive it. srun would
# kill the other ranks at the first exit code that is not 0, so 75 goes by a file, as does the first failure's code.
# shellcheck disable=SC2016 # expanded by the task
task='
trap "" USR1
trap : TERM
"${@:2}"
code=$?
[ "$code" -eq 0 ] || { set -o noclobber; echo "$code rank $SLURM_PROCID on ${SLURMD_NODENAME:-$(hostname)}" >"$1"; } 2>/dev/null
[ "$code" -eq 75 ] || exit "$code"
'

# Run a command in the container, once per device. Sets code.
on_all() {
    local ended=$run_dir/.ended.$SLURM_JOB_ID.$segment.$1 what=$1
    rm -f "$ended"
    srun --export=ALL --kill-on-bad-exit=1 --mpi=none \
        bash -c "$task" slipway "$ended" "${container[@]}" slipway "$@"
    code=$?
    if [ -s "$ended" ]; then
        read -r code who <"$ended"
        echo "slipway: $what ended with exit code $code, first in $who"
        rm -f "$ended"
    fi
}

# --- the training
on_all train --plan "$run_dir/job_plan.json" ${changes[@]+"${changes[@]}"}

case $code in
0) end_chain "done" 0 ;;
75) continue_run "stopped early, with a checkpoint" 75 ;;
2) end_chain "a mistake that another start would only repeat" 2 ;;
esac
if [ "$(excluded)" != "$excluded_before" ]; then
    continue_run "failed with $code, a bad node is named" "$code"
elif [ "$(last_step)" != "$step_before" ]; then
    continue_run "failed with $code after step $(last_step)" "$code"
fi
end_chain "failed with $code without a step since the last start: not tried again" "$code"
