"""The checks of what Slurm gave the job."""

import time

from slipway.doctor.finding import Finding, judged, skipped
from slipway.doctor.here import Here

LEAST_MINUTES = 10.0


def time_left(here: Here, now: float | None = None) -> Finding:
    """Return whether enough wall time is left, from the variables that the trainer reads, too. now: Unix seconds."""
    text = here.environment.get("SLIPWAY_END_TIME") or here.environment.get("SLURM_JOB_END_TIME")
    slurm = here.config.cluster.slurm
    if not text or not text.isdecimal():
        return skipped("time-left", "the launcher says no end (SLIPWAY_END_TIME, SLURM_JOB_END_TIME)")
    minutes = (int(text) - (time.time() if now is None else now)) / 60
    wanted = max(LEAST_MINUTES, 2 * slurm.signal_seconds / 60 if slurm else 0)
    advice = "ask for more time (launch.time_limit): the ranks are told to stop long before the end"
    expected = f"{wanted:.0f} minutes or more"
    return judged(minutes >= wanted, "time-left", f"{minutes:.0f} minutes", expected, advice, "warning")


def cpus_per_task(here: Here) -> Finding:
    """Return whether SRUN_CPUS_PER_TASK is SLURM_CPUS_PER_TASK: srun inherits it from no sbatch since Slurm 22.05."""
    job = here.environment.get("SLURM_CPUS_PER_TASK")
    if "SLURM_JOB_ID" not in here.environment:
        return skipped("cpus-per-task", "not in a Slurm job")
    if job is None:
        return skipped("cpus-per-task", "the job asks for none per task")
    step = here.environment.get("SRUN_CPUS_PER_TASK")
    saw = f"SLURM_CPUS_PER_TASK={job}, SRUN_CPUS_PER_TASK={step or 'not set'}"
    cores = here.config.cluster.node.cores_per_device
    good = step == job or (here.place is not None and cores is not None and int(job) >= cores)
    advice = "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK before srun"
    return judged(good, "cpus-per-task", saw, "the same", advice, "warning")
