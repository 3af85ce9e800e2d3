from pathlib import Path

import pytest

from doctor.looking import looking
from slipway.doctor.checks import slurm


@pytest.mark.parametrize(
    ("end", "status"), [("7200", "ok"), ("1000", "warning"), ("", "skipped"), ("soon", "skipped")]
)
def test_time_left(end: str, status: str) -> None:
    here = looking(Path("/"), environment={"SLURM_JOB_END_TIME": end})
    assert slurm.time_left(here, now=500.0).status == status


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({}, "skipped"),
        ({"SLURM_JOB_ID": "1"}, "skipped"),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "12"}, "warning"),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "12", "SRUN_CPUS_PER_TASK": "12"}, "ok"),
    ],
)
def test_cpus_per_task(variables: dict[str, str], status: str) -> None:
    assert slurm.cpus_per_task(looking(environment=variables)).status == status
