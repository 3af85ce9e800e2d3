"""The models whose speed is measured, and how many of their layers fit into a device. Imports no torch."""

from pathlib import Path
from typing import NamedTuple

from slipway.bench.gpu.device import Here
from slipway.bench.options import configuration
from slipway.models.gpt.config import gpt_of
from slipway.plan import Plan, make_plan
from slipway.plan.memory import GIB

MICROBATCHES = 4  # in a step: so the optimizer has the share that it has with large batches
USABLE = 0.9  # share of a device's memory: the estimate leaves out workspaces, buffers and fragmentation
CONTEXT_GIB = 0.75  # for each process, taken by CUDA and its libraries
FEWEST = 2  # layers: with one there is no neighbour whose work could overlap


class Shape(NamedTuple):
    """A model at a sequence length. Overrides for GPUs, and those that make it tiny for a rehearsal."""

    name: str
    words: tuple[str, ...]
    layers: int
    """At most: the model's own number."""
    tokens: int
    micro_batch: int
    tiny: tuple[str, ...]


GPT = ("model=gpt3_1_3b", "training.recompute=none")
LLAMA = ("model=llama3_8b", "training.recompute=none")
# many small experts, as in DeepSeekMoE (arXiv 2401.06066): 16 of a Llama 3 8B's MLP would be 50 GiB a layer
EXPERTS = (
    *(
        "model=mixtral_8x7b",
        "model.hidden_size=2048",
        "model.num_attention_heads=16",
        "model.num_query_groups=4",
    ),
    *("model.ffn_hidden_size=4096", "model.num_moe_experts=16", "model.moe_router_topk=2"),
    *("training.recompute=none", "training.steps=100", "optimizer.lr=1e-4"),
)
TINY_GPT = (
    "model.hidden_size=64",
    "model.num_attention_heads=4",
    "model.kv_channels=16",
    "model.vocab_size=512",
)
TINY_LLAMA = (*TINY_GPT, "model.num_query_groups=2", "model.ffn_hidden_size=128")

SHAPES = {
    shape.name: shape
    for shape in [
        Shape("gpt-2048", GPT, 24, 2048, 4, TINY_GPT),
        Shape("gpt-4096", GPT, 24, 4096, 2, TINY_GPT),
        Shape("llama-2048", LLAMA, 32, 2048, 2, TINY_LLAMA),
        Shape("llama-4096", LLAMA, 32, 4096, 1, TINY_LLAMA),
        Shape("experts", EXPERTS, 16, 4096, 1, TINY_LLAMA),
    ]
}
TINY_LAYERS = 3
TINY_TOKENS = 64  # for 2,048 tokens of the shape, and in proportion for others


class Fit(NamedTuple):
    """The part of a shape that fits into one device; memory in GiB."""

    layers: int
    beside: bool
    """Whether the plain model of the same size fits beside it."""
    planned: float
    """Slipway's, by the plan."""
    plain: float
    """The plain model's, as estimated here."""


def overrides(shape: Shape, here: Here, layers: int, devices: int = 1) -> list[str]:
    """Return the overrides for so many layers on so many devices, in bf16."""
    tokens = shape.tokens * TINY_TOKENS // 2048 if here.rehearse else shape.tokens
    batch = shape.micro_batch * MICROBATCHES * devices
    return [
        *shape.words,
        *(shape.tiny if here.rehearse else ()),
        *here.cluster(),
        "parallelism=single",
        f"resources.devices_per_node={devices}",
        f"model.num_layers={layers}",
        f"model.max_position_embeddings={tokens}",
        "training.precision=bf16",
        f"training.micro_batch_size={shape.micro_batch}",
        f"training.global_batch_size={batch}",
        "validation.steps=0",
    ]


def planned(shape: Shape, here: Here, layers: int, folder: Path) -> Plan:
    """Return the plan of so many layers on one device."""
    return make_plan(configuration([], overrides(shape, here, layers), folder))


def fit(shape: Shape, here: Here, folder: Path, *, compared: bool = True) -> Fit | None:
    """Return as many layers as fit into one device, beside the plain model if possible; None if too few fit.

    compared: whether there is a plain model.
    """
    one, two = (planned(shape, here, layers, folder) for layers in (1, 2))
    most = TINY_LAYERS if here.rehearse else shape.layers
    for beside in (True, False) if compared else (False,):
        room = usable_gib(here.memory_gib, 2 if beside else 1)
        needs = [_gib(plan) + (plain_gib(plan) if beside else 0.0) for plan in (one, two)]
        layers = min(most, layers_within(room, needs[0], needs[1] - needs[0]))
        if layers >= FEWEST:
            plan = planned(shape, here, layers, folder)
            return Fit(layers, beside, _gib(plan), plain_gib(plan))
    return None


def usable_gib(memory_gib: float, processes: int) -> float:
    """Return how many GiB of a device the estimates may fill if so many processes share it."""
    return max(0.0, USABLE * (memory_gib - processes * CONTEXT_GIB))


def layers_within(room: float, first: float, each: float) -> int:
    """Return how many layers fit into `room` if one alone needs `first`, and each further one `each`."""
    return 0 if room < first else 1 + int((room - first) / each)


def plain_gib(plan: Plan) -> float:
    """Return a first-order estimate of the plain model's memory (bench/plain_gpt.py) under autocast, in GiB.

    Parameters, gradients and AdamW's two moments in fp32, and the copies in bf16 that autocast keeps: 18 bytes each.
    Activations as the plan has them, once more because the residual stream stays in fp32. The logits whole: in bf16, in
    fp32, and the gradient of both.
    """
    model, training = gpt_of(plan.config), plan.config.training
    tokens = plan.units_per_sample * training.micro_batch_size
    layers = sum(stage.activations for stage in plan.memory.stages)
    logits = tokens * model.padded_vocab_size * 2 * (2 + 4)
    return (18 * plan.parameters + 2 * layers + logits) / GIB


def _gib(plan: Plan) -> float:
    """Return the GiB of tensors; what else a process takes is CONTEXT_GIB, and what USABLE leaves."""
    return max(stage.allocated for stage in plan.memory.stages) / GIB


def least_gib(shape: Shape, here: Here, folder: Path) -> float:
    """Return the GiB that a device needs for the fewest layers, without the plain model."""
    return _gib(planned(shape, here, FEWEST, folder)) / USABLE + CONTEXT_GIB


def describe(plan: Plan, whole: int) -> str:
    """Return layers and parameters in words: `24 of 24 layers, 1.32 G parameters`."""
    from slipway.words import quantity

    return (
        f"{gpt_of(plan.config).num_layers} of {whole} layers, {quantity(plan.parameters)} parameters".replace(
            "  ", " "
        )
    )
