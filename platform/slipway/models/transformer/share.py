"""One rank's share of a transformer layer and of a microbatch: the sizes from which memory and work follow."""

from typing import NamedTuple

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.transformer import recompute
from slipway.models.transformer.block import Block
from slipway.models.transformer.moves import EAGER, FUSED, ON_CPU, Both, Moves


class Traits(NamedTuple):
    """The ways in which frameworks compute differently. The defaults are Slipway's."""

    flash: bool = True
    """Whether attention is one kernel that keeps no scores and skips what the mask hides."""
    scores_again: bool = False
    """Without flash: whether the backward pass recomputes the scores."""
    dropout: bool = False
    """Without flash: whether attention has dropout."""
    attention_pace: float = 1.0
    """Speed of attention's forward kernel relative to the device's best."""
    attention_backward_pace: float = 1.0
    product_pace: float = 1.0
    """Speed of linear layers' kernels relative to the device's best."""
    tensor_async: bool = True
    """Whether, in the backward pass, tensor-parallel exchanges overlap with products that do not need them."""
    scattered_sends: bool = False
    """Without sequence parallelism: whether each tensor-parallel rank sends a part to the next stage.

    The next stage gathers the parts.
    """


class Share(NamedTuple):
    """One rank's share of a layer in a layout, with one microbatch."""

    config: RunConfig
    layout: Parallelism
    blocks: tuple[Block, ...]
    """All layers of the transformer."""
    block: Block
    """This layer."""
    length: int
    """Tokens of a sample, including padding to a multiple of the tensor-parallel size."""
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
        """The number of ranks that split what lies between tensor-parallel regions."""
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
        """Bytes that one layer hands to the next."""
        return self.tokens * self.block.hidden_size * self.element_bytes // self.outside

    @property
    def on_cpu(self) -> bool:
        """Whether the device is a CPU, whose kernels differ."""
        return self.config.cluster.device.kind == "cpu"

    @property
    def moves(self) -> Moves:
        """What operators without a product move."""
        kernels = self.config.kernels
        if self.on_cpu:
            return ON_CPU
        return EAGER if "unfused" in (kernels.linear, kernels.activation, kernels.rotary) else FUSED

    @property
    def norm(self) -> Both:
        """What one of the layer's norms moves."""
        return self.moves.rms_norm if self.block.normalization == "RMSNorm" else self.moves.layer_norm

    @property
    def activation(self) -> Both:
        """What the activation of an MLP moves, for each of its hidden channels."""
        return self.moves.swiglu if self.block.activation == "swiglu" else self.moves.gelu

    @property
    def pads_heads(self) -> bool:
        """Whether queries and values are padded with zeros to one size, for flash kernels of torch.

        If no kernel is chosen yet, Transformer Engine's is assumed wherever it could be used.
        """
        kernels = self.config.kernels
        if self.on_cpu or kernels.attention is not None:
            return self.on_cpu or kernels.attention != "te"
        could = kernels.backend in ("auto", "te") and not self.apart
        return not could or self.config.training.precision == "fp32"

    @property
    def recomputed(self) -> tuple[str, ...]:
        """The modules that the backward pass recomputes, or recompute.LAYER."""
        return recompute.modules(self.config, self.blocks)
