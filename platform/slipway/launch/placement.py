"""Where on a cluster a run goes: a stand-in until the real one is merged."""

from dataclasses import dataclass
from typing import Literal

from slipway.config.schema import RunConfig


@dataclass(frozen=True)
class Placement:
    queue_name: str | None
    partition: str | None
    qos: str | None
    account: str | None
    minutes: int | None
    image: str
    scheduler: Literal["slurm", "kubernetes", "local"]


def place(config: RunConfig) -> Placement:
    cluster, launch = config.cluster, config.launch
    scheduler = "slurm" if cluster.slurm else "kubernetes" if cluster.kubernetes else "local"
    name, queue = next(iter(cluster.slurm.queues.items())) if cluster.slurm else (None, None)
    return Placement(
        queue_name=name,
        partition=queue.partition if queue else None,
        qos=launch.qos or (queue.qos if queue else None),
        account=launch.account,
        minutes=launch.time_limit or (int(queue.max_hours * 60) if queue and queue.max_hours else None),
        image=launch.image or cluster.container.image,
        scheduler=scheduler,
    )
