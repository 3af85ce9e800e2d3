"""The table of operators and backends that `slipway bench kernels` measures, of the GPT family: a line for each."""

from collections.abc import Callable
from typing import Any, NamedTuple

from slipway.bench import kernel_counts as counts
from slipway.bench.kernel_cases import (
    Build,
    build_adamw,
    build_attention,
    build_cross_entropy,
    build_experts,
    build_mlp,
    build_norm,
    build_plain_norm,
    build_products,
    build_rotary,
    build_swiglu,
)
from slipway.bench.kernel_counts import Cost
from slipway.config.schema import RunConfig
from slipway.kernels.choice import TABLE
from slipway.kernels.probe import Machine
from slipway.models.gpt.config import gpt_of

EXPERTS = 8  # if the model is dense


class Operator(NamedTuple):
    """An operator of the table.

    part: its name in the table of kernels. fields: of the model, as the operator needs them.
    """

    part: str
    cost: Callable[[RunConfig], Cost]
    fields: dict[str, Any] = {}


class Case(NamedTuple):
    """A backend of an operator.

    build(scene, backend) returns a function that runs it; the caller times that.
    """

    operator: str
    backend: str
    build: Build


def _gelu(config: RunConfig) -> Cost:
    return counts.mlp(counts.shape_of(config), gated=False)


def _swiglu(config: RunConfig) -> Cost:
    return counts.mlp(counts.shape_of(config), gated=True)


OPERATORS: dict[str, Operator] = {
    "layer_norm": Operator(
        "norm", lambda c: counts.norm(counts.shape_of(c), "layer_norm"), {"normalization": "LayerNorm"}
    ),
    "rms_norm": Operator(
        "norm", lambda c: counts.norm(counts.shape_of(c), "rms_norm"), {"normalization": "RMSNorm"}
    ),
    "attention_forward": Operator("attention", lambda c: counts.attention_forward(counts.shape_of(c))),
    "attention": Operator("attention", lambda c: counts.attention(counts.shape_of(c))),
    "attention_documents": Operator(
        "attention", lambda c: counts.attention(counts.shape_of(c), counts.DOCUMENTS)
    ),
    "mlp_gelu": Operator("linear", _gelu, {"activation": "gelu", "add_bias_linear": True}),
    "mlp_products": Operator("product", _gelu, {"activation": "gelu", "add_bias_linear": True}),
    "mlp_swiglu": Operator("linear", _swiglu, {"activation": "swiglu", "add_bias_linear": False}),
    "swiglu": Operator("activation", lambda c: counts.swiglu(counts.shape_of(c)), {"activation": "swiglu"}),
    "experts": Operator("moe", counts.experts, {"activation": "swiglu", "add_bias_linear": False}),
    "rotary": Operator("rotary", lambda c: counts.rotary(counts.shape_of(c))),
    "cross_entropy": Operator("cross_entropy", lambda c: counts.cross_entropy(counts.shape_of(c))),
    "adamw": Operator("optimizer", counts.adamw),
}


def of_operator(config: RunConfig, operator: str) -> RunConfig:
    """Return the configuration with the model's fields as the operator needs them.

    The model is dense, except for a mixture's experts.
    """
    experts = gpt_of(config).num_moe_experts or EXPERTS
    fields = OPERATORS[operator].fields | {"num_moe_experts": experts if operator == "experts" else None}
    return config.model_copy(update={"model": gpt_of(config).model_copy(update=fields)})


def trouble(case: Case, machine: Machine, config: RunConfig) -> str | None:
    """Return why a case cannot be measured here; None if it can."""
    for backend in TABLE[OPERATORS[case.operator].part]:
        if backend.name == case.backend:
            return backend.trouble(machine, of_operator(config, case.operator))
    return None  # for comparison only: torch runs it everywhere


CASES = [
    Case("layer_norm", "te", build_norm),
    Case("layer_norm", "triton", build_norm),
    Case("layer_norm", "apex", build_norm),
    Case("layer_norm", "torch", build_norm),
    Case("layer_norm", "unfused", build_plain_norm),
    Case("rms_norm", "te", build_norm),
    Case("rms_norm", "triton", build_norm),
    Case("rms_norm", "torch", build_norm),
    Case("rms_norm", "unfused", build_plain_norm),
    Case("attention_forward", "te", build_attention(backward=False)),
    Case("attention_forward", "torch", build_attention(backward=False)),
    Case("attention_forward", "unfused", build_attention(backward=False)),
    Case("attention", "te", build_attention(backward=True)),
    Case("attention", "torch", build_attention(backward=True)),
    Case("attention", "unfused", build_attention(backward=True)),
    Case("attention_documents", "torch", build_attention(backward=True, documents=counts.DOCUMENTS)),
    Case("attention_documents", "unfused", build_attention(backward=True, documents=counts.DOCUMENTS)),
    Case("mlp_gelu", "te", build_mlp),
    Case("mlp_gelu", "torch", build_mlp),
    Case("mlp_gelu", "unfused", build_mlp),
    Case("mlp_products", "onednn", build_products),
    Case("mlp_products", "torch", build_products),
    Case("mlp_swiglu", "te", build_mlp),
    Case("mlp_swiglu", "torch", build_mlp),
    Case("mlp_swiglu", "unfused", build_mlp),
    Case("swiglu", "triton", build_swiglu),
    Case("swiglu", "torch", build_swiglu),
    Case("swiglu", "unfused", build_swiglu),
    Case("experts", "te", build_experts),
    Case("experts", "torch", build_experts),
    Case("experts", "unfused", build_experts),
    Case("rotary", "te", build_rotary),
    Case("rotary", "triton", build_rotary),
    Case("rotary", "torch", build_rotary),
    Case("rotary", "unfused", build_rotary),
    Case("cross_entropy", "te", build_cross_entropy),
    Case("cross_entropy", "torch", build_cross_entropy),
    Case("cross_entropy", "unfused", build_cross_entropy),
    Case("adamw", "te", build_adamw),
    Case("adamw", "apex", build_adamw),
    Case("adamw", "torch", build_adamw),
    Case("adamw", "unfused", build_adamw),
]
