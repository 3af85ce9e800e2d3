"""What a model family says of itself without torch: the pure half of its package, in `family.FAMILY`.

Rules, plan, elastic layouts, launch and report know a model only by this: layers in pipeline order with their
parameters, bytes and work, and samples with their units and FLOP. Nothing here knows tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.work import Work


class Shard(NamedTuple):
    """Parameters that one rank holds of some layers.

    `dense` are replicated over data-parallel x context-parallel ranks, `expert` over expert-data-parallel ones.
    """

    dense: int
    expert: int = 0

    @property
    def total(self) -> int:
        """Parameters in the rank's memory."""
        return self.dense + self.expert

    def __add__(self, other: "Shard") -> "Shard":  # type: ignore[override]
        return Shard(self.dense + other.dense, self.expert + other.expert)


class Layer(NamedTuple):
    """One layer, as one rank of its pipeline stage holds it. Bytes are activations of one microbatch.

    A `block` is what the model repeats: pipeline stages begin with one, recomputation and FSDP take one at a time.
    Other layers (embeddings, heads) stay with the block beside them.
    """

    name: str
    parameters: Shard
    kept_bytes: int = 0
    """From a microbatch's forward pass to its backward pass; counted for every microbatch in flight."""
    held_bytes: int = 0
    """Needed once, however many microbatches are in flight: logits, or a decoder on the last stage, for example."""
    inside_bytes: int = 0
    """There besides kept_bytes in its backward pass, in one layer of a stage at a time: what is computed again, and
    gradients."""
    shared_bytes: int = 0
    """Of buffers that layers use one after the other: there once."""
    sent_bytes: int = 0
    """What it hands to the next layer; a stage that ends with it may keep it until the backward pass."""
    block: bool = True
    matrices: Shard = Shard(0)
    """Of the parameters, those in hidden matrices (see slipway.optimizers.matrix)."""


class KeyValues(NamedTuple):
    """Bytes of keys and values that a model keeps of one text, in the precision that it is trained in."""

    per_token: int
    """Of the first token; less of later ones where a layer's window is full."""
    context: int
    """The longest text, in tokens."""
    whole: int
    """Of so long a text."""
    least_per_token: int
    """The same as per_token, where programs that serve models keep less: latent states."""


class Sample(NamedTuple):
    """What one sample is. Where samples differ in size, the expected values."""

    units: int
    """Units (see Family.unit) of one sample; 1 where the sample is the unit."""
    flops: int
    """Floating-point operations of forward and backward pass; recomputation is not counted."""
    active_parameters: int
    """Parameters that one unit meets: all, but for experts it is not sent to."""
    recomputed_flops: int = 0
    """Operations that the backward pass does again (see Family.recomputed)."""
    attention_flops: int = 0
    """The part of `flops` that is less where documents are kept apart: times `models.network.ATTENDED`."""
    key_values: KeyValues | None = None
    """What it keeps while it goes on with a sample; None: nothing."""
    palm_flops: int | None = None
    """The same FLOP by PaLM's convention (arXiv 2204.02311, appendix B); None: it has no meaning for this family."""


class Measure(NamedTuple):
    """A number that steps and validations report: a mean over samples or units."""

    name: str
    unit: str = ""
    lower_is_better: bool = True


class Spread(NamedTuple):
    """What a model hands out among parts that should all have some: tokens among the experts of each mixture layer."""

    parts: str
    """What it is handed out to, in the plural: experts."""
    places: tuple[str, ...]
    """Where, in the model's order: `layer 3`."""
    size: int
    """Parts in each place."""
    chosen: int
    """Parts that one thing goes to: where all go to the same ones, as many have some."""


@runtime_checkable
class Spreading(Protocol):
    """A family may also say what its models hand out; `FAMILY` has this method then, and `NETWORK` counts it.

    It is written into metrics.jsonl, shown by the report, and watched by the guard (guard.on_collapse).
    """

    def spread(self, config: RunConfig) -> Spread | None:
        """Return what the configured model hands out; None: nothing."""
        ...


class Family(Protocol):
    """The pure half of a model family."""

    @property
    def engine(self) -> str:
        """The engine that trains it: a name of slipway.engine.ENGINES."""
        ...

    @property
    def data_kinds(self) -> tuple[str, ...]:
        """The kinds of data that it can read (data.kind); a plan for which none is chosen assumes the first."""
        ...

    @property
    def unit(self) -> str:
        """What throughput is counted in, in the singular: token, patch, image."""
        ...

    @property
    def loss(self) -> Measure:
        """What it minimizes."""
        ...

    def measures(self, config: RunConfig) -> Sequence[Measure]:
        """Return what its steps and validations report besides the loss."""
        ...

    @property
    def operators(self) -> frozenset[str]:
        """The operators of `kernels` that it uses, besides the optimizer; the others are not chosen or reported."""
        ...

    def check(self, config: RunConfig) -> None:
        """Raise UserError for the first thing that the family cannot do."""
        ...

    def check_data(self, config: RunConfig, traits: Mapping[str, Any]) -> None:
        """Raise UserError where prepared samples do not fit the model. traits: of DataKind.traits."""
        ...

    def layers(self, config: RunConfig, layout: Parallelism) -> list[Layer]:
        """Return all layers in pipeline order, as ranks of a layout hold them. `Parallelism()` gives the whole model."""
        ...

    def work(self, config: RunConfig, layout: Parallelism) -> Sequence[Work]:
        """Return what each of `layers` computes and exchanges on one rank for one microbatch.

        Layers that do the same are one object: the plan puts it on the clock once.
        """
        ...

    def spans(self, config: RunConfig, layout: Parallelism) -> list[range]:
        """Return layers of each model chunk, in pipeline order: pipeline x virtual stages of them.

        Chunk v x P + p is virtual stage v of pipeline stage p. Raises UserError where the layers cannot be shared out.
        """
        ...

    def sample(self, config: RunConfig) -> Sample:
        """Return what one sample is."""
        ...

    def recomputed(self, config: RunConfig) -> Sequence[str]:
        """Return what is computed again in the backward pass, by `training.recompute`; empty where nothing is.

        Raises UserError for `training.recompute_modules` that the model does not have.
        """
        ...

    def chance(self, config: RunConfig) -> float | None:
        """Return the loss of a model that has learnt nothing, for pictures; None: not known."""
        ...

    def notes(self, config: RunConfig) -> Sequence[str]:
        """Return what a user should know of the model before it is trained, each in a line; mostly nothing."""
        ...

    def shape(self, config: RunConfig) -> Mapping[str, Any]:
        """Return the fields of `model` that weights in a checkpoint depend on: a continued run must have the same."""
        ...

    def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
        """Return why this configuration of the family cannot use a backend for an operator; None where it can."""
        ...
