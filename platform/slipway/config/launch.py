"""The way in which a run reaches a scheduler."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, StringConstraints

from slipway.config.notation import Line, Word
from slipway.config.section import Section

# Times as Slurm accepts them: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].
_TIME = re.compile(
    r"(?P<days>\d{1,4})-(?P<dh>\d{1,4})(?::(?P<dm>\d{1,2}))?(?::(?P<ds>\d{1,2}))?"
    r"|(?:(?P<h>\d{1,5}):)?(?P<m>\d{1,6}):(?P<s>\d{1,2})"
)
_NODES = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:\[[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\][A-Za-z0-9_.-]*)*"


def _minutes(value: object) -> object:
    """Return a time in Slurm's notation as whole minutes, rounded up. Raises ValueError if it is none."""
    if not isinstance(value, str):
        return value
    if value.isdecimal():
        return int(value)
    found = _TIME.fullmatch(value)
    if found is None:
        raise ValueError("must be minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS, as Slurm takes it")
    days, dh, dm, ds, hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return days * 1440 + (dh + hours) * 60 + dm + minutes + -(-(ds + seconds) // 60)


def _node_list(value: object) -> object:
    """Return the names in one or several of Slurm's lists of nodes, such as n[1-4,7],m2."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return value
    return [name for text in texts for name in re.split(r",(?![^\[]*\])", text)]


NodeNames = Annotated[str, StringConstraints(pattern=rf"^{_NODES}$", max_length=1000)]
Minutes = Annotated[int, BeforeValidator(_minutes), Field(ge=1)]


class Launch(Section):
    """The request of `slipway launch` to the scheduler; the limits are the profile's."""

    account: Word | None = Field(default=None, description="Project that is charged (Slurm).")
    partition: Word | None = Field(
        default=None,
        description="Queue of the profile, or a partition (Slurm); null: the first queue that fits.",
    )
    qos: Word | None = Field(default=None, description="Quality of service (Slurm); null: the queue's.")
    time_limit: Minutes | None = Field(
        default=None,
        description="Wall time of one segment as Slurm takes it: minutes, MM:SS, HH:MM:SS, D-HH or D-HH:MM:SS; "
        "null: the longest that the queue allows.",
    )
    image: Line | None = Field(
        default=None,
        description="SIF file (Slurm) or image reference (Kubernetes); null: the profile's image.",
    )
    workdir: Line | None = Field(
        default=None,
        description="Folder in which the job runs, bound into the container; null: the current folder (Slurm).",
    )
    chain: PositiveInt = Field(
        default=10, description="Most segments of the run: jobs that resume it after exit code 75."
    )
    exclude: Annotated[list[NodeNames], BeforeValidator(_node_list)] = Field(
        default=[],
        description="Nodes to avoid, by the scheduler's names; on Slurm also lists such as n[1-4,7].",
    )
    preflight: bool = Field(default=False, description="Run `slipway doctor` on every node before training.")
    kind: Literal["job", "jobset", "trainjob"] | None = Field(
        default=None, description="Kind of workload (Kubernetes); null: the profile's."
    )
    queue: Word | None = Field(
        default=None, description="Kueue's LocalQueue or Volcano's queue (Kubernetes); null: none."
    )
