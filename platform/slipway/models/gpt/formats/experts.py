"""A mixture of experts in transformers' files, which name the layers of each expert separately."""

from collections.abc import Iterator
from typing import Any

from slipway.models.formats import Part, same
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import like_llama, tensors
from slipway.models.gpt.formats.tensors import Place


def mlp_or_experts(model: Config, layer: int, where: Place) -> Iterator[Part]:
    """Yield the parts between a layer's second norm and its end: experts, or in the first layers an MLP."""
    if model.num_moe_experts is None or layer < model.first_k_dense_replace:
        return like_llama.mlp(model, where)
    return mixture(model, where)


def mixture(
    model: Config,
    where: Place,
    name: str = "mlp",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> Iterator[Part]:
    """Yield the parts of a layer's router and experts, including shared experts.

    name: the prefix of both there. names: an expert's gate, the layer that it multiplies, and its last layer.
    """
    assert model.num_moe_experts
    key, at, there = f"{where.key}.mlp", where.at, f"{where.there}.{name}"
    router = (model.num_moe_experts, model.hidden_size)
    yield same(f"{key}.router.weight", at, router, f"{there}.gate.weight")
    if model.moe_router_enable_expert_bias:
        bias = f"{there}.gate.e_score_correction_bias"
        yield same(f"{key}.router.expert_bias", at, router[:1], bias, buffer=True)
    for expert in range(model.num_moe_experts):
        # checkpoints have these keys, and an axis for the expert, with every backend of kernels.moe
        one = Place(f"{key}.experts.experts", (*at, expert), f"{there}.experts.{expert}")
        yield from tensors.gated(model, one, model.expert_size, names)
    if model.moe_shared_expert_intermediate_size:
        shared = Place(f"{key}.shared_experts", at, f"{there}.shared_experts")
        yield from tensors.gated(model, shared, model.moe_shared_expert_intermediate_size)


def written_balance(model: Config) -> float:
    """Return the weight of the loss for even loads, as config.json has it."""
    return 0.0 if model.moe_router_load_balancing_type == "none" else model.moe_aux_loss_coeff


def read_balance(weight: float) -> dict[str, Any]:
    """Return the fields that a weight of this loss implies; no config.json says over which tokens it is taken."""
    none = {"moe_router_load_balancing_type": "none"} if weight == 0 else {}
    return {"moe_aux_loss_coeff": weight, **none}
