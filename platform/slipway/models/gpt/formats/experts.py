"""A mixture of experts in transformers' files, which name the layers of each expert whatever computes them."""

from collections.abc import Iterator

from slipway.models.formats import Part, same
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import tensors
from slipway.models.gpt.keys import layer_key


def mixture(
    model: Config,
    layer: int,
    there: str,
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> Iterator[Part]:
    """The router and the experts of a layer; names: of an expert's gate, what it multiplies, and its last layer."""
    assert model.num_moe_experts
    key, at = layer_key(model, layer)
    router = (model.num_moe_experts, model.hidden_size)
    yield same(f"{key}.mlp.router.weight", at, router, f"{there}.gate.weight")
    for expert in range(model.num_moe_experts):
        # checkpoints have these keys whoever multiplies the experts (kernels.moe), and an axis for the expert
        ours, place = f"{key}.mlp.experts.experts", (*at, expert)
        yield from tensors.gated(model, ours, place, f"{there}.experts.{expert}", model.expert_size, names)
