"""What one rank has of a transformer layer and of a microbatch: the sizes from which memory and work follow."""

from typing import NamedTuple

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.transformer import recompute
from slipway.models.transformer.block import Block


class Traits(NamedTuple):
    """How things are computed, where frameworks differ. The defaults are Slipway's."""

    flash: bool = True
    """Attention in one kernel that keeps no scores, and skips what the mask hides."""
    scores_again: bool = False
    """Without flash: scores are computed again in the backward pass."""
    dropout: bool = False
    """Without flash: of attention."""
    attention_pace: float = 1.0
    """Speed of attention's kernel, forward, beside the device's best."""
    attention_backward_pace: float = 1.0
    product_pace: float = 1.0
    """Speed of linear layers' kernels beside the device's best."""
    tensor_async: bool = True
    """In the backward pass, exchanges of tensor-parallel ranks beside the products that do not need them."""
    scattered_sends: bool = False
    """Without sequence parallelism: each tensor-parallel rank sends a part to the next stage, which gathers it."""


class Share(NamedTuple):
    """A layer on one rank of a layout, with one microbatch."""

    config: RunConfig
    layout: Parallelism
    blocks: tuple[Block, ...]
    """All layers of the transformer."""
    block: Block
    """This one."""
    length: int
    """Tokens of a sample, those that only fill up to a multiple of the tensor-parallel size included."""
    apart: bool = False
    """Whether a sample's documents are kept apart."""
    traits: Traits = Traits()

    @property
    def tp(self) -> int:
        """Tensor-parallel size."""
        return self.layout.tensor_model_parallel_size

    @property
    def cp(self) -> int:
        """Context-parallel size."""
        return self.layout.context_parallel_size

    @property
    def outside(self) -> int:
        """Parts of what lies between tensor-parallel regions."""
        return self.tp if self.layout.sequence_parallel else 1

    @property
    def samples(self) -> int:
        """Samples of a microbatch."""
        return self.config.training.micro_batch_size

    @property
    def tokens(self) -> int:
        """Tokens of one microbatch on one context-parallel rank: s b / cp."""
        return self.length * self.samples // self.cp

    @property
    def element_bytes(self) -> int:
        """Bytes of one activation."""
        return 2 if self.config.training.precision == "bf16" else 4

    @property
    def state_bytes(self) -> int:
        """Bytes of what one layer hands to the next."""
        return self.tokens * self.block.hidden_size * self.element_bytes // self.outside

    @property
    def on_cpu(self) -> bool:
        """Whether the device is a CPU, for which kernels differ."""
        return self.config.cluster.device.kind == "cpu"

    @property
    def eager(self) -> bool:
        """Whether operators are kernels of torch's own."""
        kernels = self.config.kernels
        return "unfused" in (kernels.linear, kernels.activation, kernels.rotary)

    @property
    def pads_heads(self) -> bool:
        """Whether queries and values are brought to one size by zeros, for flash kernels of torch.

        Where no kernel is named yet, Transformer Engine's is expected wherever it could be taken.
        """
        kernels = self.config.kernels
        if self.on_cpu or kernels.attention is not None:
            return self.on_cpu or kernels.attention != "te"
        could = kernels.backend in ("auto", "te") and not self.apart
        return not could or self.config.training.precision == "fp32"

    @property
    def recomputed(self) -> tuple[str, ...]:
        """What the backward pass computes again: modules, or recompute.LAYER."""
        return recompute.modules(self.config, self.blocks)
