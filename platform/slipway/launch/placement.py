"""The place of a run on its cluster: queue, account, wall time; refused if the profile does not allow it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slipway.config.cluster import Cluster, Queue, Slurm
from slipway.config.explain import nearest
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan.rules import check_resources

Scheduler = Literal["slurm", "kubernetes", "local"]

# Settings of section `launch` that mean nothing to a scheduler: they are refused if they are given.
_MEANINGLESS: Mapping[Scheduler, tuple[str, ...]] = {
    "slurm": ("kind", "queue"),
    "kubernetes": ("account", "partition", "qos", "workdir"),
    "local": ("account", "partition", "qos", "exclude", "kind", "queue", "time_limit"),
}
_TITLE = {"slurm": "Slurm", "kubernetes": "Kubernetes", "local": "this machine"}


@dataclass(frozen=True)
class Placement:
    """The request to the scheduler besides nodes and devices."""

    queue_name: str | None
    """Name of the queue in the profile; None: not one of its queues, or no Slurm."""
    partition: str | None
    qos: str | None
    account: str | None
    minutes: int | None
    """Wall time of a segment in minutes; None: the scheduler's default."""
    image: str
    scheduler: Scheduler


def place(config: RunConfig) -> Placement:
    """Return the placement of a run on its cluster.

    Raises UserError, with the arithmetic and what would fit, if the run breaks a limit of the profile, if `launch`
    sets what the cluster's scheduler does not have, or if an account or QoS is required and missing.
    """
    cluster, launch = config.cluster, config.launch
    scheduler = scheduler_of(cluster)
    for name in _MEANINGLESS[scheduler]:
        value = getattr(launch, name)
        if value not in (None, []):
            raise UserError(
                f"launch.{name}",
                f"has no effect on {_TITLE[scheduler]} (cluster {cluster.name})",
                value=value,
                do="omit it",
            )
    check_resources(config)
    image = launch.image or cluster.container.image
    if cluster.slurm is None:
        return Placement(None, None, None, None, launch.time_limit, image, scheduler)
    name, queue = _choose(config, cluster.slurm)
    qos = launch.qos or queue.qos
    if cluster.slurm.qos_required and qos is None:
        raise UserError(
            "launch.qos", f"is required by cluster {cluster.name}", use=f"launch.qos=NAME{_own('qos')}"
        )
    minutes = launch.time_limit or _minutes(queue)
    return Placement(name, queue.partition, qos, _account(config, cluster.slurm), minutes, image, scheduler)


def scheduler_of(cluster: Cluster) -> Scheduler:
    """Return which scheduler a cluster has, by the section in its profile. Raises UserError if it has both sections."""
    if cluster.slurm is not None and cluster.kubernetes is not None:
        raise UserError(
            "cluster",
            "has both sections, slurm and kubernetes",
            value=cluster.name,
            do="set one of them to null",
        )
    return "slurm" if cluster.slurm else "kubernetes" if cluster.kubernetes else "local"


def _account(config: RunConfig, slurm: Slurm) -> str | None:
    account = config.launch.account
    if account is None:
        if slurm.account_required:
            raise UserError(
                "launch.account",
                f"is required: cluster {config.cluster.name} charges a project",
                use=f"launch.account=PROJECT{_own('account')}",
            )
        return None
    return account if account.endswith(slurm.account_suffix) else account + slurm.account_suffix


def _own(field: str) -> str:
    return f" (yours: sacctmgr show associations user=$USER format={field})"


def _choose(config: RunConfig, slurm: Slurm) -> tuple[str | None, Queue]:
    """Return the first queue that was asked for and takes the job, with its name."""
    asked = _asked(config, slurm)
    for name, queue in asked.items():
        if not _objection(config, queue):
            return name or None, queue
    raise _refusal(config, slurm, asked)


def _asked(config: RunConfig, slurm: Slurm) -> dict[str, Queue]:
    """Return the queues that launch.partition and launch.qos leave, by name; "" names one that the profile lacks."""
    launch, queues = config.launch, slurm.queues
    if launch.partition is not None:
        named = launch.partition
        if named in queues:
            queues = {named: queues[named]}
        else:
            queues = {name: queue for name, queue in queues.items() if queue.partition == named}
        if not queues and any(queue.partition is None for queue in slurm.queues.values()):
            return {"": Queue(partition=named)}  # a profile that does not know the site's partitions
        if not queues:
            names = {*slurm.queues, *(queue.partition for queue in slurm.queues.values() if queue.partition)}
            raise UserError(
                "launch.partition",
                f"is not a queue of cluster {config.cluster.name}",
                value=named,
                do=f"{nearest(named, names)}; add another with +cluster.slurm.queues.{named}={{partition:{named}}} and "
                "its limits max_nodes and max_hours",
            )
    if launch.qos is None:
        return queues
    # A QoS that the profile knows has the limits of its own queue; another one is the user's to know.
    partitions = {queue.partition for queue in queues.values()}
    every = slurm.queues.items()
    return {name: q for name, q in every if q.qos == launch.qos and q.partition in partitions} or queues


def _minutes(queue: Queue) -> int | None:
    return None if queue.max_hours is None else int(queue.max_hours * 60)


def _most_nodes(queue: Queue, cluster: Cluster) -> int | None:
    return queue.max_nodes or cluster.nodes


def _objection(config: RunConfig, queue: Queue) -> Literal["nodes", "time"] | None:
    """Return which limit of a queue a run breaks; None if the queue takes it."""
    nodes, most = config.resources.nodes, _most_nodes(queue, config.cluster)
    if nodes < queue.min_nodes or (most is not None and nodes > most):
        return "nodes"
    limit = _minutes(queue)
    return "time" if limit is not None and (config.launch.time_limit or 0) > limit else None


def _refusal(config: RunConfig, slurm: Slurm, asked: Mapping[str, Queue]) -> UserError:
    """Return an error that says why no queue that was asked for takes the job, and which other one would."""
    cluster, nodes, minutes = config.cluster.name, config.resources.nodes, config.launch.time_limit
    broken = {name: _objection(config, queue) for name, queue in asked.items()}
    # The queue that is nearest to taking it: one with room for the nodes, else the largest.
    name = next((name for name, what in broken.items() if what == "time"), None)
    if name is not None and minutes is not None:
        name = max((n for n, what in broken.items() if what == "time"), key=lambda n: asked[n].max_hours or 0)
        hours = asked[name].max_hours or 0
        return UserError(
            "launch.time_limit",
            f"= {minutes / 60:g} h is more than the {hours:g} h of queue {name} of {cluster}",
            value=f"{minutes} min",
            use=_fitting(config, slurm) or f"up to {hours:g} h, and a chain of jobs for a longer run",
        )
    name = max(asked, key=lambda n: _most_nodes(asked[n], config.cluster) or 0)
    queue = asked[name]
    most = _most_nodes(queue, config.cluster)
    if nodes < queue.min_nodes:
        problem = f"is fewer than the {queue.min_nodes} nodes that queue {name} of {cluster} requires"
    else:
        problem = f"is more than the {most} nodes of queue {name} of {cluster}"
    return UserError(
        "resources.nodes", problem, value=nodes, use=_fitting(config, slurm) or _all_sizes(config, slurm)
    )


def _fitting(config: RunConfig, slurm: Slurm) -> str:
    """Return `launch.partition=NAME (...)` for the first queue that takes the job; an empty text if none does."""
    for name, queue in slurm.queues.items():
        if not _objection(config, queue):
            other = config.launch.qos not in (None, queue.qos)
            qos = f" launch.qos={queue.qos or 'null'}" if other else ""
            return f"launch.partition={name}{qos} ({_takes(config, queue)})"
    return ""


def _takes(config: RunConfig, queue: Queue) -> str:
    most = _most_nodes(queue, config.cluster)
    nodes = f"{queue.min_nodes} to {most} nodes" if most else f"{queue.min_nodes} nodes or more"
    return nodes + (f" for up to {queue.max_hours:g} h" if queue.max_hours else "")


def _all_sizes(config: RunConfig, slurm: Slurm) -> str:
    return "; ".join(f"{name}: {_takes(config, queue)}" for name, queue in slurm.queues.items())
