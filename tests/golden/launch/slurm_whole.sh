#!/usr/bin/env bash
# Slipway: gpt3_1_3b, 16 nodes x 1 devices on slurm
# Written by `slipway launch`. A job is one segment of the run: it trains until all is done, its time is up, a signal
# comes or something fails, and the next segment goes on from the newest checkpoint: 10 segments at most.
#SBATCH --job-name=gpt3_1_3b
#SBATCH --account=project1
#SBATCH --nodes=16
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:1
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
{
 "config": {
  "run": {
   "name": "gpt3_1_3b",
   "dir": "runs/gpt3_1_3b",
   "time_limit_minutes": null
  },
  "resources": {
   "nodes": 16,
   "devices_per_node": 1,
   "elastic": false
  },
  "model": {
   "family": "gpt",
   "name": "gpt3_1_3b",
   "mtp_num_layers": null,
   "mtp_loss_scaling_factor": 0.1,
   "num_moe_experts": null,
   "moe_ffn_hidden_size": null,
   "moe_shared_expert_intermediate_size": null,
   "first_k_dense_replace": 0,
   "moe_router_topk": 2,
   "moe_router_score_function": "softmax",
   "moe_router_pre_softmax": false,
   "moe_router_topk_scaling_factor": null,
   "moe_router_num_groups": null,
   "moe_router_group_topk": null,
   "moe_router_enable_expert_bias": false,
   "moe_router_bias_update_rate": 0.001,
   "moe_router_load_balancing_type": "seq_aux_loss",
   "moe_aux_loss_coeff": 0.01,
   "moe_z_loss_coeff": null,
   "num_attention_heads": 16,
   "num_query_groups": null,
   "kv_channels": 128,
   "qk_layernorm": false,
   "add_qkv_bias": false,
   "position_embedding_type": "learned_absolute",
   "rotary_base": 10000.0,
   "rope_scaling": null,
   "window_size": null,
   "window_attn_skip_freq": null,
   "attention_dropout": 0.0,
   "multi_latent_attention": false,
   "q_lora_rank": null,
   "kv_lora_rank": null,
   "qk_head_dim": null,
   "qk_pos_emb_head_dim": null,
   "v_head_dim": null,
   "num_layers": 24,
   "hidden_size": 2048,
   "ffn_hidden_size": null,
   "vocab_size": 50257,
   "make_vocab_size_divisible_by": 128,
   "max_position_embeddings": 2048,
   "normalization": "LayerNorm",
   "norm_epsilon": 1e-05,
   "activation": "gelu",
   "add_bias_linear": true,
   "untie_embeddings_and_output_weights": false,
   "hidden_dropout": 0.0,
   "init_method_std": 0.02
  },
  "data": {
   "kind": "text",
   "name": "stdlib",
   "sources": {
    "stdlib": {
     "weight": 1.0,
     "inputs": [
      "stdlib"
     ],
     "text_key": "text"
    }
   },
   "readers": 1,
   "demo_units": 3000000,
   "allow_large_models": true,
   "dir": "data/stdlib",
   "sequence_length": 2048,
   "tokenizer": {
    "kind": "bpe",
    "vocab_size": 8192,
    "path": null,
    "end_of_document": "<|endoftext|>"
   },
   "split": [
    0.98,
    0.01,
    0.01
   ],
   "reset_attention_mask": false,
   "reset_position_ids": false,
   "eod_mask_loss": false,
   "workers": null
  },
  "training": {
   "steps": 286102,
   "samples": null,
   "units": null,
   "stop_after_step": null,
   "global_batch_size": 32,
   "micro_batch_size": 2,
   "seed": 1234,
   "precision": "bf16",
   "fp8": null,
   "fp8_recipe": null,
   "recompute": "none",
   "recompute_modules": null,
   "manual_gc_interval": 100
  },
  "validation": {
   "interval": 1000,
   "steps": 8
  },
  "evaluation": {
   "interval": 0,
   "files": [],
   "text_key": "text",
   "stride": null,
   "limit": null,
   "end_marks": false
  },
  "checkpoint": {
   "interval": 1000,
   "keep_last": 3,
   "keep_every": null,
   "keep_best": 0,
   "async_save": true,
   "timeout_minutes": 30.0
  },
  "watch": {
   "hang_timeout_minutes": 10.0,
   "straggler_interval": 100,
   "straggler_ratio": 1.5
  },
  "guard": {
   "on_nonfinite": "stop",
   "on_spike": "ignore",
   "spike_deviations": 10.0,
   "spike_window": 64,
   "on_collapse": "warn",
   "collapse_evenness": 0.1,
   "collapse_steps": 50,
   "rollback_batches": 1,
   "limit": 10
  },
  "kernels": {
   "backend": "auto",
   "norm": null,
   "attention": null,
   "linear": null,
   "activation": null,
   "product": null,
   "rotary": null,
   "cross_entropy": null,
   "grad_accumulation": null,
   "optimizer": null,
   "moe": null
  },
  "parallelism": {
   "tensor_model_parallel_size": 1,
   "pipeline_model_parallel_size": 1,
   "virtual_pipeline_model_parallel_size": null,
   "pipeline_layout": null,
   "context_parallel_size": 1,
   "expert_model_parallel_size": 1,
   "sequence_parallel": false,
   "use_distributed_optimizer": true,
   "data_parallel_sharding_strategy": null,
   "overlap_grad_reduce": true,
   "overlap_param_gather": true,
   "overlap_p2p_comm": null,
   "deallocate_pipeline_outputs": null,
   "bucket_size": null,
   "pad_buckets_for_high_nccl_busbw": null,
   "moe_token_dispatcher_type": null,
   "tp_comm_overlap": null,
   "cuda_graph_impl": null
  },
  "optimizer": {
   "name": "adamw",
   "lr": 0.0002,
   "min_lr": 2e-05,
   "lr_warmup_steps": 358,
   "lr_warmup_fraction": null,
   "lr_decay_style": "cosine",
   "lr_wsd_decay_steps": null,
   "lr_wsd_decay_fraction": null,
   "weight_decay": 0.1,
   "clip_grad": 1.0,
   "beta1": 0.9,
   "beta2": 0.95,
   "eps": 1e-08
  },
  "logging": {
   "interval": 1,
   "profile_step": null,
   "load_interval": null,
   "tensorboard": false,
   "wandb": {
    "mode": "disabled",
    "project": "slipway",
    "entity": null
   }
  },
  "cluster": {
   "name": "slurm",
   "description": "Any Slurm cluster",
   "device": {
    "kind": "cuda",
    "name": "GPU",
    "memory_gib": null,
    "compute_capability": null,
    "peak_tflops_bf16": null,
    "peak_tflops_fp32": null,
    "peak_tflops_fp8": null,
    "measured": null
   },
   "network": {
    "intra_node_gb_per_s": null,
    "inter_node_gb_per_s": null,
    "fabric": null,
    "interfaces": [],
    "adapters": []
   },
   "node": {
    "cores": null,
    "cores_per_device": null,
    "memory_gib": null,
    "architecture": "x86_64",
    "cpu_masks": []
   },
   "nodes": null,
   "devices_per_node": null,
   "expected_mfu": null,
   "storage_gb_per_s": null,
   "container": {
    "runtime": "apptainer",
    "modules": [],
    "options": [
     "--nv"
    ],
    "binds": [],
    "image": "slipway.sif"
   },
   "environment": {},
   "internet": null,
   "file_systems": {},
   "notes": [
    "Give resources.devices_per_node: how many GPUs a node has is not known here.",
    "The queue is the site's default one; launch.partition may name any other."
   ],
   "warnings": [],
   "slurm": {
    "queues": {
     "default": {
      "partition": null,
      "qos": null,
      "min_nodes": 1,
      "max_nodes": null,
      "max_hours": null
     }
    },
    "account_required": false,
    "account_suffix": "",
    "qos_required": false,
    "gpu_request": "gres",
    "gpu_type": null,
    "exclusive": true,
    "memory": null,
    "cpu_bind": "cores",
    "show_all_devices": false,
    "constraint": null,
    "requeue": false,
    "host_suffix": "",
    "resolve_address": false,
    "sbatch_options": [],
    "srun_options": [],
    "signal_seconds": 300,
    "max_array_size": null
   },
   "kubernetes": null,
   "unverified": [],
   "sources": []
  },
  "launch": {
   "account": "project1",
   "partition": null,
   "qos": null,
   "time_limit": null,
   "image": null,
   "workdir": null,
   "chain": 10,
   "exclude": [],
   "preflight": false,
   "kind": null,
   "queue": null
  },
  "auto": []
 },
 "changes": [],
 "wish": null,
 "choice": null,
 "world_size": 16,
 "model_parallel_size": 1,
 "data_parallel_size": 16,
 "num_microbatches": 1,
 "unit": "token",
 "units_per_sample": 2048,
 "samples": 9155264,
 "units": 18749980672,
 "loss_unit": "nats per token",
 "chance_loss": 10.82490511970208,
 "parameters": 1315819520,
 "active_parameters": 1315819520,
 "flops_per_sample": 18583249747968,
 "flops_per_step": 594663991934976,
 "key_values": {
  "per_token": 196608,
  "context": 2048,
  "whole": 402653184,
  "least_per_token": 196608
 },
 "memory": {
  "stages": [
   {
    "stage": 0,
    "parameters": 2631639040,
    "gradients": 5263278080,
    "optimizer_states": 986864640,
    "activations": 6448742400,
    "head": 1063780352,
    "gathered": 0,
    "buffers": 0,
    "framework": 1945376768,
    "fragmentation": 1502504550
   }
  ],
  "largest": 19842185830,
  "device": null,
  "fits": null
 },
 "time": {
  "peak_tflops": null,
  "step": null,
  "seconds_per_step": null,
  "mfu": null,
  "tflops_per_device": null,
  "pipeline_bubble": 0.0,
  "recompute_factor": 1.0,
  "hours": null,
  "device_hours": null,
  "energy_kwh": null,
  "assumption": "nothing is known of the device GPU"
 },
 "stages": [
  {
   "stage": 0,
   "spans": [
    [
     0,
     26
    ]
   ],
   "blocks": [
    [
     0,
     24
    ]
   ],
   "parameters": 1315819520
  }
 ],
 "kernels": {},
 "switches": {}
}
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
container=(
    apptainer exec --no-home
    --nv
    --bind /project/me
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
    srun --export=ALL --kill-on-bad-exit=1 \
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
