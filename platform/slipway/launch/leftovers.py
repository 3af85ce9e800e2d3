"""Variables of a shell that must not reach a job: Slurm, launchers and libraries would obey them unseen.

A dry run shows the script, and the script is what happens: such a variable stands nowhere in it and would override
it. `submission` removes those that sbatch and Slurm's other programs would read; the script itself (deploy/slurm)
removes the rest at its start, so that a script submitted by hand runs the same way. A variable that is wanted is set
in the profile or on the command line: +cluster.environment.NAME=VALUE. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

SLURM_OWN = ("SLURM_", "SLURMD_", "_SLURM_")
"""Variables of another job, if set outside of a job; in a job's script, Slurm's own, which it needs."""
PROGRAMS = ("SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SINFO_", "SACCT_")
"""Options of Slurm's programs; for sbatch, its variables override the #SBATCH lines of a script."""
LAUNCHERS = ("TORCHELASTIC_", "PET_", "OMPI_", "PMI", "PRTE_", "MPI_", "I_MPI_", "MPIEXEC_", "PALS_", "MV2_")
"""Prefixes of the variables in a process that torchrun or an MPI has started as a rank."""
LIBRARIES = (
    *("PYTHON", "APPTAINER", "SINGULARITY"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_"),
    *("CUDA_", "NVIDIA_", "CUBLAS", "CUDNN_", "HIP", "HSA_", "ROCR_", "MIOPEN_"),
    *("NCCL_", "RCCL_", "GLOO_", "UCX_", "UCC_", "FI_", "OFI_", "RDMAV_", "MPICH_"),
    *("TORCH", "PYTORCH_", "TRITON_", "NVTE_"),
)
"""Prefixes of variables that configure Python, containers, threads, devices, networks and torch past the script."""
NAMES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
    *("ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME", "NODE_RANK", "NNODES", "MASTER_ADDR", "MASTER_PORT"),
    *(
        "SLIPWAY_NODE_RANK",
        "SLIPWAY_NNODES",
        "SLIPWAY_NODE_NAME",
        "SLIPWAY_END_TIME",
        "SLIPWAY_DOCTOR_PREPARES",
    ),
)
"""Single variables of launchers."""
SETTINGS = (
    *("GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"),
    *("WANDB_MODE", "WANDB_DISABLED", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_NAME", "WANDB_PROJECT"),
    *("WANDB_RUN_GROUP", "WANDB_DIR", "WANDB_NOTES", "WANDB_TAGS"),
)
"""Single variables of libraries."""
DEVICES = (
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    *("GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"),
)
"""Variables that Slurm sets in a batch script, but not for the ranks: srun sets them anew."""
KEPT = (
    *("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"),
    *("APPTAINER_CACHEDIR", "APPTAINER_TMPDIR", "APPTAINER_CONFIGDIR"),
    *("SINGULARITY_CACHEDIR", "SINGULARITY_TMPDIR", "SINGULARITY_CONFIGDIR"),
)
"""Variables that are kept: how to reach Slurm and as whom, and where a container may put its files."""

# What srun, squeue and the like read from their environment within a job, and neither Slurm nor an option of sbatch
# sets there (srun(1) of Slurm 22.05 and 24.11).
_INPUTS = (
    *(
        "BCAST",
        "CLUSTERS",
        "COMPRESS",
        "CONSTRAINT",
        "CPU_BIND",
        "DEBUG",
        "DISABLE_STATUS",
        "EPILOG",
        "EXACT",
    ),
    *(
        "EXCLUSIVE",
        "EXIT_ERROR",
        "EXIT_IMMEDIATE",
        "GRES",
        "IMMEDIATE",
        "KILL_BAD_EXIT",
        "LABELIO",
        "MPI_TYPE",
    ),
    *("NO_KILL", "OVERLAP", "PMI_KVS_NO_DUP_KEYS", "PROLOG", "REMOTE_CWD", "RESV_PORTS", "SEND_LIBS"),
    *("SRUN_REDUCE_TASK_EXIT_MSG", "STDERRMODE", "STDINMODE", "STDOUTMODE", "STEP_GRES"),
    *("STEP_KILLED_MSG_NODE_ID", "STEP_NUM_TASKS", "TASK_EPILOG", "TASK_PROLOG", "TEST_EXEC", "THREADS"),
    *("TIMELIMIT", "TIME_FORMAT", "UNBUFFEREDIO", "WAIT", "WORKING_DIR"),
)
# What they read, too, and an option of sbatch of that name sets on purpose: --hint, SLURM_HINT.
_BY_OPTION = (
    *("ACCTG_FREQ", "CPUS_PER_GPU", "CPU_FREQ_REQ", "DISTRIBUTION", "DIST_PLANESIZE", "EXPORT_ENV", "GPUS"),
    *("GPUS_PER_NODE", "GPUS_PER_SOCKET", "GPUS_PER_TASK", "GPU_BIND", "GPU_FREQ", "HINT", "MEM_BIND"),
    *("NETWORK", "OPEN_MODE", "OVERCOMMIT", "PROFILE", "THREADS_PER_CORE", "THREAD_SPEC"),
)
_FAMILIES = ("SLURM_CPU_BIND", "SLURM_MEM_BIND")  # followed by _TYPE, _LIST...


def for_slurms_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for squeue, scancel and the like: no options except those on their command lines."""
    return {k: v for k, v in environment.items() if k in KEPT or not k.startswith((*PROGRAMS, *SLURM_OWN))}


def submission(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for sbatch.

    Variables that only ranks read stay: a site's own wrapper of sbatch may need them.
    """
    rest = for_slurms_programs(environment)
    return {k: v for k, v in rest.items() if not k.startswith(LAUNCHERS) and k not in NAMES}


def inputs_in_a_job(options: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the SLURM_* variables that a job's script must unset, as (prefixes, names).

    options: the names of the sbatch options that the script has.
    """
    set_by = tuple("SLURM_" + option.upper().replace("-", "_") for option in options)
    every = [f"SLURM_{name}" for name in _INPUTS]
    every += [name for one in _BY_OPTION if not (name := f"SLURM_{one}").startswith(set_by)]
    return [name for name in every if name in _FAMILIES], sorted(set(every) - set(_FAMILIES))


def found(environment: Mapping[str, str]) -> list[str]:
    """Return which variables of a shell have no effect in a job; more than two of one kind are given as SLURM_*."""
    every = (*PROGRAMS, *SLURM_OWN, *LAUNCHERS, *LIBRARIES)
    names = [k for k in environment if k not in KEPT and (k.startswith(every) or k in (*NAMES, *SETTINGS))]
    return _folded(sorted(names), every)


def sbatchs(environment: Mapping[str, str]) -> list[str]:
    """Return which variables of a shell sbatch itself prefers to what a script says."""
    return sorted(k for k in environment if fnmatchcase(k, "SBATCH_*"))


def _folded(names: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    folded: list[str] = []
    for name in names:
        prefix = next((one for one in prefixes if name.startswith(one)), "")
        many = prefix and sum(other.startswith(prefix) for other in names) > 2
        folded.append(f"{prefix}*" if many else name)
    return list(dict.fromkeys(folded))
