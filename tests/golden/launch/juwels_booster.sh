#!/usr/bin/env bash
# Slipway: gpt3_1_3b, 16 nodes x 4 devices on juwels_booster
# Written by `slipway launch`. A job is one segment of the run: it trains until all is done, its time is up, a signal
# comes or something fails, and the next segment goes on from the newest checkpoint: 10 segments at most.
#SBATCH --job-name=gpt3_1_3b
#SBATCH --account=project1
#SBATCH --partition=booster
#SBATCH --nodes=16
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=12
#SBATCH --gres=gpu:4
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300
#SBATCH --open-mode=append
#SBATCH --output=/project/me/runs/gpt3_1_3b/logs/slurm-%j.out
#SBATCH --exclusive
#SBATCH --no-requeue
#SBATCH --threads-per-core=1

set -u

# --- where: relative paths are below this folder; the container sees it under the same name
cd /project/me || exit 1
run_dir=runs/gpt3_1_3b
changes=()
job=$SLURM_JOB_ID
own_index=()
mkdir -p "$run_dir/logs" || exit 1

# --- which segment: Slurm counts requeues, SLIPWAY_SEGMENT the jobs that continue others
chain=10
segment=$((${SLIPWAY_SEGMENT:-1} + ${SLURM_RESTART_COUNT:-0}))
echo "slipway: segment $segment of at most $chain, job $job on $SLURM_JOB_NODELIST, $(date --iso-8601=seconds)"
if [ "$segment" -gt "$chain" ]; then
    echo "slipway: launch.chain $chain is used up; 'slipway launch --submit' continues the run"
    exit 1
fi

# --- what: the run as it was composed and checked, so that ranks compose nothing; and this script, for what follows
beside=$run_dir/.launch.$SLURM_JOB_ID
cat >"$beside" <<'SLIPWAY_RUN_JSON' || exit 1
{...}
SLIPWAY_RUN_JSON
mv "$beside" "$run_dir/run.json" || exit 1
cp "$0" "$beside" && mv "$beside" "$run_dir/job.sh" || exit 1

# --- what comes next
# Nodes that are not to be used: launch.exclude, and those that the trainer or `slipway doctor` found bad.
excluded() {
    {
        [ ! -f "$run_dir/bad_nodes" ] || grep -oE '^[A-Za-z0-9][A-Za-z0-9_-]*' "$run_dir/bad_nodes"
    } | sort -u | paste -sd , -
}

# The job that continues this one once this one has failed: all but exit code 0 counts as that. Prints its id.
submit_next() (
    for name in "${!SLURM_@}"; do # this job's variables must not reach the next one
        [ "$name" = SLURM_CONF ] || unset "$name"
    done
    export SLIPWAY_SEGMENT=$((segment + 1))
    exclude=$(excluded)
    next=$(sbatch --parsable --dependency="afternotok:$job" --kill-on-invalid-dep=yes ${exclude:+--exclude="$exclude"} \
        ${own_index[@]+"${own_index[@]}"} "$run_dir/job.sh") || exit 1
    next=${next%%;*}
    echo "$next" >>"$run_dir/launch.continuations"
    echo "$next"
)

# It is submitted now: a node's crash leaves no time for it later.
next=""
if [ "$segment" -lt "$chain" ]; then
    next=$(submit_next) && echo "slipway: job $next continues this one if need be"
fi

# No further segment; $1 says why, $2 is the exit code.
end_chain() {
    echo "slipway: $1"
    [ -z "$next" ] || scancel "$next"
    exit "$2"
}

# The next segment, please; $1 says why, $2 is the exit code.
continue_run() {
    [ "$segment" -lt "$chain" ] ||
        end_chain "$1, but launch.chain $chain is used up; 'slipway launch --submit' continues the run" "$2"
    if [ "$(excluded)" != "$excluded_before" ]; then # only a new job can be kept from a node
        [ -z "$next" ] || scancel "$next"
        next=$(submit_next) || end_chain "$1; the next segment could not be submitted" "$2"
        echo "slipway: $1; job $next continues, without $(excluded)"
        exit "$2"
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
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_ADDR=${MASTER_ADDR%%.*}i # the address of the fast network, on this site
address=$(getent ahostsv4 "$MASTER_ADDR" | awk 'NR == 1 { print $1 }')
MASTER_ADDR=${address:-$MASTER_ADDR}
MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000)) # below the ports that the kernel hands out
export MASTER_ADDR MASTER_PORT

# --- until when: the ranks stop in time to save; the last half minute is for what comes after
unset SLIPWAY_END_TIME
end=$(SLURM_TIME_FORMAT=standard squeue --noheader --jobs="$job" --format=%e | head -n 1)
if [ -n "$end" ] && end=$(date --date="$end" +%s 2>/dev/null); then
    export SLIPWAY_END_TIME=$((end - 30))
fi

# --- with what
export NCCL_SOCKET_IFNAME==ib0
export GLOO_SOCKET_IFNAME=ib0
export NCCL_IB_HCA==mlx5_0,mlx5_1,mlx5_2,mlx5_3
export WANDB_MODE=offline
export SRUN_CPUS_PER_TASK=12
export NCCL_SOCKET_FAMILY=AF_INET
container=(
    env CUDA_VISIBLE_DEVICES=0,1,2,3
    apptainer exec --no-home
    --nv
    --bind /project/me
    --bind /p
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
[ "$code" -eq 0 ] || { set -o noclobber; echo "$code rank $SLURM_PROCID on $(hostname)" >"$1"; } 2>/dev/null
[ "$code" -eq 75 ] || exit "$code"
'

# Run a command in the container, once per device. Sets code.
on_all() {
    local ended=$run_dir/.ended.$SLURM_JOB_ID.$segment.$1 what=$1
    rm -f "$ended"
    srun --kill-on-bad-exit=1 \
        bash -c "$task" slipway "$ended" "${container[@]}" slipway "$@"
    code=$?
    if [ -s "$ended" ]; then
        read -r code who <"$ended"
        echo "slipway: $what ended with exit code $code, first in $who"
        rm -f "$ended"
    fi
}

# --- the training
on_all train --run "$run_dir/run.json" ${changes[@]+"${changes[@]}"}

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
