"""The interface of a model family without torch: the pure half of its package, in `family.FAMILY`.

Rules, plan, elastic layouts, launch and report know a model only through it: layers in pipeline order with their
parameters, bytes and work, and samples with their units and FLOP. Nothing here knows tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.work import Work


class Shard(NamedTuple):
    """The parameters of some layers that one rank holds.

    `dense` ones are replicated over data-parallel x context-parallel ranks, `expert` ones over expert-data-parallel
    ranks.
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
    """One layer as one rank of its pipeline stage holds it. Bytes are activations of one microbatch.

    A `block` is what the model repeats: pipeline stages begin with one, recomputation and FSDP take one at a time.
    Other layers (embeddings, heads) stay with the block next to them.
    """

    name: str
    parameters: Shard
    kept_bytes: int = 0
    """Bytes from a microbatch's forward pass to its backward pass; counted for every microbatch in flight."""
    held_bytes: int = 0
    """Bytes needed once, however many microbatches are in flight: for logits, or a decoder on the last stage."""
    inside_bytes: int = 0
    """Bytes in use besides kept_bytes in its backward pass, in one layer of a stage at a time: what is recomputed, and
    gradients."""
    shared_bytes: int = 0
    """Bytes of buffers that layers use one after another, so that they exist once."""
    sent_bytes: int = 0
    """Bytes that it hands to the next layer; a stage that ends with it may keep them until the backward pass."""
    block: bool = True
    matrices: Shard = Shard(0)
    """Those of the parameters that are in hidden matrices (see slipway.optimizers.matrix)."""


class KeyValues(NamedTuple):
    """Bytes of keys and values that a model keeps for one text, in the precision that it is trained in."""

    per_token: int
    """Bytes for the first token; later tokens take less once a layer's window is full."""
    context: int
    """The longest text, in tokens."""
    whole: int
    """Bytes for a text of that length."""
    least_per_token: int
    """Bytes of one token in programs that serve models and keep latent states only; otherwise like per_token."""


class Sample(NamedTuple):
    """The size and the work of one sample: expected values if samples differ in size."""

    units: int
    """Units (see Family.unit) of one sample; 1 if the sample is the unit."""
    flops: int
    """Floating-point operations of forward and backward pass; recomputation is not counted."""
    active_parameters: int
    """Parameters that one unit passes through: all except those of experts that it is not sent to."""
    recomputed_flops: int = 0
    """Operations that the backward pass repeats (see Family.recomputed)."""
    attention_flops: int = 0
    """The part of `flops` that shrinks if documents are kept apart: it is multiplied by `models.network.ATTENDED`."""
    key_values: KeyValues | None = None
    """Keys and values that it keeps while it continues a sample; None: nothing."""
    palm_flops: int | None = None
    """The FLOP by PaLM's convention (arXiv 2204.02311, appendix B); None: it has no meaning for this family."""


class Measure(NamedTuple):
    """A number that steps and validations report: a mean over samples or units."""

    name: str
    unit: str = ""
    lower_is_better: bool = True


class Spread(NamedTuple):
    """Items that a model distributes among parts that should all be used: tokens among a mixture layer's experts."""

    parts: str
    """The name of the parts, in the plural: experts."""
    places: tuple[str, ...]
    """The layers where this happens, in the model's order: `layer 3`."""
    size: int
    """Parts in each place."""
    chosen: int
    """Parts that one item goes to: if all items go to the same ones, only this many are used."""


@runtime_checkable
class Spreading(Protocol):
    """A family that says what its models distribute; `FAMILY` then has this method, and `NETWORK` counts it.

    The counts are written to metrics.jsonl, shown by the report, and watched by the guard (guard.on_collapse).
    """

    def spread(self, config: RunConfig) -> Spread | None:
        """Return what the configured model distributes; None: nothing."""
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
        """The unit of throughput, in the singular: token, patch, image."""
        ...

    @property
    def loss(self) -> Measure:
        """The loss that it minimizes."""
        ...

    def measures(self, config: RunConfig) -> Sequence[Measure]:
        """Return the measures that its steps and validations report besides the loss."""
        ...

    @property
    def operators(self) -> frozenset[str]:
        """The operators of `kernels` that it uses, besides the optimizer; the others are not chosen or reported."""
        ...

    def check(self, config: RunConfig) -> None:
        """Raise UserError for the first setting that the family does not support."""
        ...

    def check_data(self, config: RunConfig, traits: Mapping[str, Any]) -> None:
        """Raise UserError if prepared samples do not fit the model. traits: DataKind.traits of the data."""
        ...

    def layers(self, config: RunConfig, layout: Parallelism) -> list[Layer]:
        """Return all layers in pipeline order, as a rank of a layout holds them; `Parallelism()`: the whole model."""
        ...

    def work(self, config: RunConfig, layout: Parallelism) -> Sequence[Work]:
        """Return what each of `layers` computes and exchanges on one rank for one microbatch.

        Layers that do the same are one object: the plan times it only once.
        """
        ...

    def spans(self, config: RunConfig, layout: Parallelism) -> list[range]:
        """Return the layers of each model chunk, in pipeline order: pipeline x virtual stages of them.

        Chunk v x P + p is virtual stage v of pipeline stage p. Raises UserError if the layers cannot be divided so.
        """
        ...

    def sample(self, config: RunConfig) -> Sample:
        """Return the sizes and operations of one sample."""
        ...

    def recomputed(self, config: RunConfig) -> Sequence[str]:
        """Return the modules that `training.recompute` computes again in the backward pass; empty: none.

        Raises UserError for `training.recompute_modules` that the model does not have.
        """
        ...

    def chance(self, config: RunConfig) -> float | None:
        """Return the loss of a model that has learnt nothing, to draw in plots; None: not known."""
        ...

    def notes(self, config: RunConfig) -> Sequence[str]:
        """Return what a user should know about the model before training, each in one line; usually empty."""
        ...

    def shape(self, config: RunConfig) -> Mapping[str, Any]:
        """Return the fields of `model` that a checkpoint's weights depend on; a resumed run must have the same."""
        ...

    def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
        """Return why this configuration cannot use a backend for an operator; None: it can."""
        ...
