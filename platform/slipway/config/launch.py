"""How a run reaches a scheduler."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from slipway.config.cluster import Line, Word
from slipway.config.section import Section

_TIME = re.compile(
    r"(?:(?P<days>\d{1,3})-)?(?P<hours>\d{1,3})(?::(?P<minutes>[0-5]\d))(?::(?P<seconds>[0-5]\d))?"
)


def _minutes(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.isdecimal():
        return int(value)
    found = _TIME.fullmatch(value)
    if found is None:
        raise ValueError("must be minutes, HH:MM, HH:MM:SS or D-HH:MM:SS")
    days, hours, minutes, seconds = (
        int(found[name] or 0) for name in ("days", "hours", "minutes", "seconds")
    )
    return days * 1440 + hours * 60 + minutes + (seconds > 0)


Minutes = Annotated[int, BeforeValidator(_minutes), Field(ge=1)]


class Launch(Section):
    """What `slipway launch` asks of the scheduler; limits are the profile's."""

    account: Word | None = Field(default=None, description="The project that pays (Slurm).")
    partition: Word | None = Field(
        default=None,
        description="A queue of the profile or a partition (Slurm); null: the first queue that fits.",
    )
    qos: Word | None = Field(default=None, description="Slurm; null: the queue's.")
    time_limit: Minutes | None = Field(
        default=None,
        description="Wall time of one segment: minutes, HH:MM:SS or D-HH:MM:SS; null: the queue's largest.",
    )
    image: Line | None = Field(
        default=None,
        description="A SIF file (Slurm) or an image's reference (Kubernetes); null: the profile's.",
    )
    workdir: Line | None = Field(
        default=None,
        description="Where the job runs, bound into the container; null: the current folder (Slurm).",
    )
    chain: PositiveInt = Field(
        default=10, description="Segments at most: jobs that continue the run after exit code 75."
    )
    exclude: list[Word] = Field(default=[], description="Nodes not to use, by the scheduler's names.")
    preflight: bool = Field(default=False, description="`slipway doctor` on every node before the training.")
    kind: Literal["job", "jobset", "trainjob"] | None = Field(
        default=None, description="Kubernetes; null: the profile's."
    )
    queue: Word | None = Field(
        default=None, description="Kueue's LocalQueue or Volcano's queue (Kubernetes); null: none."
    )
