"""The Plan, how it is made from a configuration, and how it is kept."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway import secrets
from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.files import write_whole
from slipway.models import part
from slipway.plan import elastic, rules
from slipway.plan.cost import TimeEstimate, estimate
from slipway.plan.layout import Grid, chunk_layers
from slipway.plan.memory import StageMemory, chunk_shards, device_bytes, stage_memory


class Frozen(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RankPlan(Frozen):
    """One rank: its machine, its coordinates, its share of the model."""

    rank: int
    node: int
    local_rank: int
    tp: int
    cp: int
    ep: int
    dp: int
    pp: int
    layers: list[tuple[int, int]]
    """First layer (from 0) and number of layers of each model chunk."""
    parameters: int


class Memory(Frozen):
    """First-order memory per device."""

    stages: list[StageMemory]
    largest: int
    """Bytes on the fullest device."""
    device: int | None
    """Bytes a device has; None: the cluster profile does not say."""
    fits: bool | None


class Wish(Frozen):
    """What the user asked for before it was fitted to the devices (resources.elastic)."""

    parallelism: Parallelism
    micro_batch_size: int


class Plan(Frozen):
    """Everything that follows from a configuration. Data only: ranks read it, none composes again."""

    config: RunConfig
    """As it is trained: with resources.elastic, the layout that was fitted."""
    changes: list[str] = []
    """One line per field that was fitted."""
    wish: Wish | None = None
    """Where something was changed: what other devices are fitted to, so that a run that shrank grows again."""
    world_size: int
    model_parallel_size: int
    """tensor x pipeline x context."""
    data_parallel_size: int
    num_microbatches: int
    tokens_per_sample: int
    samples: int
    """Samples of the whole run, repeated ones counted again."""
    tokens: int
    """Tokens of the whole run."""
    parameters: int
    active_parameters: int
    """Parameters one token meets: all, without experts."""
    flops_per_token: float
    flops_per_sample: int
    flops_per_step: int
    memory: Memory
    time: TimeEstimate
    ranks: list[RankPlan]

    def write(self, path: Path) -> None:
        """Write plan.json, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read plan.json; UserError where it is not there or not a plan."""
        try:
            plan = cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise UserError(path, f"the plan cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "file"
            raise UserError(path, f"is not a plan of this version: {where}: {first['msg']}") from error
        secrets.check_plain(plan.config.model_dump(mode="json"), os.environ, "config")
        return plan


def make_plan(config: RunConfig) -> Plan:
    """The plan of a configuration; UserError, with the arithmetic, where its sections disagree."""
    wished, changes = config, []
    if config.resources.elastic:
        config, changes = elastic.fit(config)
    rules.check(config)
    world, microbatches = rules.world_size(config), rules.num_microbatches(config)
    grid = Grid.of(config.parallelism, world)
    counts = part(config.model.family, "counts")
    tokens = counts.tokens_per_sample(config.model, config.training)
    flops = counts.flops_per_sample(config.model, config.training)
    parameters = counts.parameters(config.model)
    batch, steps = config.training.global_batch_size, config.training.steps
    return Plan(
        config=config,
        changes=changes,
        wish=_wish(wished) if changes else None,
        world_size=world,
        model_parallel_size=grid.tp * grid.cp * grid.pp,
        data_parallel_size=grid.dp,
        num_microbatches=microbatches,
        tokens_per_sample=tokens,
        samples=steps * batch,
        tokens=steps * batch * tokens,
        parameters=parameters.total,
        active_parameters=parameters.active,
        flops_per_token=flops / tokens,
        flops_per_sample=flops,
        flops_per_step=flops * batch,
        memory=_memory(config, grid, microbatches),
        time=estimate(config, world, microbatches, flops * batch),
        ranks=_ranks(config, grid),
    )


def replan(plan: Plan, nodes: int, devices_per_node: int) -> Plan:
    """The plan of the same run (and the same wish) on other machines; for resources.elastic."""
    config = elastic.on_machines(plan.config, nodes, devices_per_node)
    if plan.wish:
        micro_batch = {"micro_batch_size": plan.wish.micro_batch_size}
        training = config.training.model_copy(update=micro_batch)
        config = config.model_copy(update={"parallelism": plan.wish.parallelism, "training": training})
    return make_plan(config)


def _wish(config: RunConfig) -> Wish:
    return Wish(parallelism=config.parallelism, micro_batch_size=config.training.micro_batch_size)


def _memory(config: RunConfig, grid: Grid, microbatches: int) -> Memory:
    stages = [stage_memory(config, grid, stage, microbatches) for stage in range(grid.pp)]
    largest = max(stage.total for stage in stages)
    device = device_bytes(config)
    return Memory(
        stages=stages, largest=largest, device=device, fits=None if device is None else largest <= device
    )


def _ranks(config: RunConfig, grid: Grid) -> list[RankPlan]:
    virtual = config.parallelism.virtual_stages
    num_layers = part(config.model.family, "counts").num_layers(config.model)
    layers = [
        [
            (span.start, len(span))
            for span in (chunk_layers(num_layers, grid.pp, virtual, stage, chunk) for chunk in range(virtual))
        ]
        for stage in range(grid.pp)
    ]
    shards = [sum(shard.total for shard in chunk_shards(config, grid, stage)) for stage in range(grid.pp)]
    ranks = []
    for rank in range(grid.world_size):
        node, local = divmod(rank, config.resources.devices_per_node)
        at = grid.coordinates(rank)
        ranks.append(
            RankPlan(
                rank=rank,
                node=node,
                local_rank=local,
                tp=at.tp,
                cp=at.cp,
                ep=at.ep,
                dp=at.dp,
                pp=at.pp,
                layers=layers[at.pp],
                parameters=shards[at.pp],
            )
        )
    return ranks
