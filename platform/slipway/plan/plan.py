"""The Plan, and how it is made from a configuration."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from slipway.config.schema import Parallelism, RunConfig
from slipway.models import family as family_of
from slipway.plan import elastic, rules, summary
from slipway.plan.cost import TimeEstimate, estimate
from slipway.plan.layout import Grid
from slipway.plan.memory import Share, StageMemory, device_bytes, stage_memory
from slipway.plan.search.auto import Choice, choose


class Frozen(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StagePlan(Frozen):
    """One pipeline stage: all of its ranks hold as many parameters of the same layers."""

    stage: int
    spans: list[tuple[int, int]]
    """First layer (from 0) and number of layers of each model chunk, embeddings and heads counted."""
    blocks: list[tuple[int, int]]
    """The same for the blocks alone (see slipway.models.family.Layer)."""
    parameters: int
    """Parameters of one rank."""


class Memory(Frozen):
    """Memory per device."""

    stages: list[StageMemory]
    largest: int
    """Bytes on the fullest device."""
    device: int | None
    """Bytes that a device has; None: the cluster profile does not state them."""
    fits: bool | None


class KeyValues(Frozen):
    """Bytes of keys and values; see slipway.models.family.KeyValues."""

    per_token: int
    context: int
    whole: int
    least_per_token: int


class Wish(Frozen):
    """The layout that the user asked for before it was fitted to the devices (resources.elastic)."""

    parallelism: Parallelism
    micro_batch_size: int


class Plan(Frozen):
    """Everything that follows from a configuration. Data only: ranks read it, none composes again."""

    config: RunConfig
    """The configuration as it is trained: with resources.elastic, with the layout that was fitted."""
    changes: list[str] = []
    """One line per field that was fitted."""
    wish: Wish | None = None
    """Set if something was changed: other devices are fitted to it, so that a run that shrank grows again."""
    choice: Choice | None = None
    """The choice for what was left open (parallelism=auto), and why the planner took this layout."""
    world_size: int
    model_parallel_size: int
    """tensor x pipeline x context."""
    data_parallel_size: int
    num_microbatches: int
    unit: str
    """The unit of throughput, in the singular: token, patch, image."""
    units_per_sample: int
    samples: int
    """Samples of the whole run, repeated ones counted again."""
    units: int
    """Units of the whole run."""
    loss_unit: str
    """Unit of the loss: nats per token."""
    chance_loss: float | None
    """The loss of a model that has learnt nothing; None: not known."""
    parameters: int
    active_parameters: int
    """Parameters one unit meets: all, without experts."""
    flops_per_sample: int
    """FLOP of forward and backward pass; the expected value if samples differ in size."""
    flops_per_step: int
    key_values: KeyValues | None = None
    """Bytes that the model keeps while it continues a text; None: it keeps none."""
    memory: Memory
    time: TimeEstimate
    stages: list[StagePlan]
    """The pipeline stages; `grid.coordinates(rank)` gives the stage of a rank."""
    kernels: dict[str, str] = {}
    """Operator -> the backend that computes it, fp8 -> its recipe; empty until the machine is known that trains."""
    switches: dict[str, bool | int | str] = {}
    """Switch -> its value (see slipway.plan.switches); empty until the machine is known that trains."""

    @model_validator(mode="before")
    @classmethod
    def _of_summary(cls, plain: Any) -> Any:
        """Take what `slipway plan --json` prints: its numbers follow from the rest."""
        return summary.without(plain, str(plain.get("unit"))) if isinstance(plain, dict) else plain

    @property
    def grid(self) -> Grid:
        """Sizes of the grid of ranks, and the coordinates of each."""
        return Grid.of(self.config.parallelism, self.world_size)

    def with_kernels(self, backends: Mapping[str, str]) -> "Plan":
        """Return the plan as it is trained on a machine that computes each operator with these backends."""
        return self.model_copy(update={"kernels": dict(backends)})._with_memory()

    def with_switches(self, values: Mapping[str, bool | int | str]) -> "Plan":
        """Return the plan as it is trained on a machine for which the rules choose these switches."""
        return self.model_copy(update={"switches": dict(values)})._with_memory()

    def _with_memory(self) -> "Plan":
        """Return the plan with the memory that follows from what was chosen for the machine."""
        config = self.trained
        memory = _memory(config, Share.of(config), self.grid, self.num_microbatches)
        return self.model_copy(update={"memory": memory})

    @property
    def trained(self) -> RunConfig:
        """The configuration that builds the model: every operator's backend, FP8's recipe, every switch named."""
        chosen = dict(self.kernels)
        recipe = chosen.pop("fp8", self.config.training.fp8_recipe)
        named = {name: value for name, value in self.switches.items() if name in Parallelism.model_fields}
        return self.config.model_copy(
            update={
                "kernels": self.config.kernels.model_copy(update=chosen),
                "training": self.config.training.model_copy(update={"fp8_recipe": recipe}),
                "parallelism": self.config.parallelism.model_copy(update=named),
            }
        )


def make_plan(config: RunConfig) -> Plan:
    """Return the plan of a configuration. Raises UserError, with the arithmetic, if its sections disagree."""
    choice = None
    if config.auto:
        config, choice = choose(config)
    wished, changes = config, []
    if config.resources.elastic:
        config, changes = elastic.fit(config)
    rules.check(config)
    world, microbatches = rules.world_size(config), rules.num_microbatches(config)
    grid, share, family = Grid.of(config.parallelism, world), Share.of(config), family_of(config)
    sample = family.sample(config)
    whole = sum((layer.parameters.total for layer in family.layers(config, Parallelism())), 0)
    batch, steps = config.training.global_batch_size, config.training.steps
    return Plan(
        config=config,
        changes=changes,
        wish=_wish(wished) if changes else None,
        choice=choice,
        world_size=world,
        model_parallel_size=grid.tp * grid.cp * grid.pp,
        data_parallel_size=grid.dp,
        num_microbatches=microbatches,
        unit=family.unit,
        units_per_sample=sample.units,
        samples=steps * batch,
        units=steps * batch * sample.units,
        loss_unit=family.loss.unit,
        chance_loss=family.chance(config),
        parameters=whole,
        active_parameters=sample.active_parameters,
        flops_per_sample=sample.flops,
        flops_per_step=sample.flops * batch,
        key_values=sample.key_values and KeyValues(**sample.key_values._asdict()),
        memory=_memory(config, share, grid, microbatches),
        time=estimate(config, share, grid, microbatches, sample),
        stages=[_stage(share, grid, stage) for stage in range(grid.pp)],
    )


def replan(plan: Plan, nodes: int, devices_per_node: int) -> Plan:
    """Return the plan of the same run (and the same wish) on other machines; for resources.elastic."""
    config = elastic.on_machines(plan.config, nodes, devices_per_node)
    if plan.wish:
        micro_batch = {"micro_batch_size": plan.wish.micro_batch_size}
        training = config.training.model_copy(update=micro_batch)
        config = config.model_copy(update={"parallelism": plan.wish.parallelism, "training": training})
    return make_plan(config).model_copy(update={"choice": plan.choice})


def _wish(config: RunConfig) -> Wish:
    return Wish(parallelism=config.parallelism, micro_batch_size=config.training.micro_batch_size)


def _memory(config: RunConfig, share: Share, grid: Grid, microbatches: int) -> Memory:
    stages = [stage_memory(config, share, grid, stage, microbatches) for stage in range(grid.pp)]
    largest = max(stage.total for stage in stages)
    device = device_bytes(config)
    return Memory(
        stages=stages, largest=largest, device=device, fits=None if device is None else largest <= device
    )


def _stage(share: Share, grid: Grid, stage: int) -> StagePlan:
    before = [0]  # blocks in front of each layer
    for layer in share.layers:
        before.append(before[-1] + layer.block)
    chunks = share.chunks(grid, stage)
    return StagePlan(
        stage=stage,
        spans=[(span.start, len(span)) for span in chunks],
        blocks=[(before[span.start], before[span.stop] - before[span.start]) for span in chunks],
        parameters=share.parameters(grid, stage).total,
    )
