"""The plan's memory of a published row, counted as the row's source counted it.

What a framework keeps of each parameter, and of each logit, is by its code. Fitted, on the half `fit` alone, are the
share of fragmentation (`slipway.plan.overheads.FRAGMENTED`) and what a framework takes by itself, for each kind of
device (`OWN_GIB`).
"""

from typing import Literal

from published.cases import Case, case_of
from published.rows import Row, sayable
from slipway.models import family
from slipway.models.family import Layer
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.share import share_of
from slipway.plan.keeps import Keeps
from slipway.plan.memory import GIB, Share, StageMemory, stage_memory

OWN_GIB = {"A100": 5.0, "V100": 1.0}
"""Of DeepSpeed on a kind of device, beside what overheads.py has."""
FAR = 0.2
"""Relative error from which on a row is named."""
LOGIT = {"torchtitan (FSDP2)": 12}
"""Bytes of each logit, by torch's own cross entropy: in bf16 and in fp32, and the gradients of both."""


def measured() -> list[Row]:
    """Rows with a peak whose recomputation is known: without it nothing can be said of activations."""
    return [row for row in sayable() if row.peak_gib is not None and row.text("recompute")]


def counted_as(case: Case) -> Literal["allocated", "reserved", "device"]:
    """What the source's number is: tensors, the allocator's blocks, or all that the device has given away."""
    kind = case.row.text("mem_kind")
    if kind.startswith(("nvidia-smi", "rounded GB as printed")):
        return "device"
    return "reserved" if "reserved over ranks" in kind or "peak reserved" in kind else "allocated"


def planned_gib(case: Case) -> float:
    """GiB on the fullest rank, as the source counts."""
    worst = max(stages(case), key=lambda stage: stage.total)
    counted = {
        "allocated": worst.allocated,
        "reserved": worst.allocated + worst.fragmentation,
        "device": worst.total,
    }[counted_as(case)]
    return counted / GIB + (_own_gib(case, worst) if counted_as(case) == "device" else 0.0)


def errors(rows: list[Row]) -> dict[str, float]:
    """Relative error of the plan, by row."""
    return {row.name: planned_gib(case_of(row)) / (row.peak_gib or 0) - 1 for row in rows}


def stages(case: Case) -> list[StageMemory]:
    """What each pipeline stage needs."""
    config, grid = case.config, case.grid
    training = config.training
    layers = _layers(case)
    then = {id(layer): _as_then(case, layer) for layer in layers}  # what is one object stays one
    layers = [then[id(layer)] for layer in layers]
    share = Share(layers, case.spans)
    microbatches = max(1, training.global_batch_size // (training.micro_batch_size * grid.dp))
    keeps = _keeps(case)
    return [stage_memory(config, share, grid, stage, microbatches, keeps) for stage in range(grid.pp)]


def _own_gib(case: Case, stage: StageMemory) -> float:
    """What DeepSpeed takes besides: a constant, and the copy of a bucket of gradients that it reduces.

    A bucket has 5 x 10^8 elements, or is one parameter that has more (`deepspeed/runtime/engine.py`,
    `MEMORY_OPT_ALLREDUCE_SIZE`, and `reduce_bucket_size`).
    """
    if _framework(case) != "Megatron-DeepSpeed":
        return 0.0
    model, precise = gpt_of(case.config), case.row.text("precision").startswith("bf16")
    table = model.padded_vocab_size * model.hidden_size // case.grid.tp
    elements = min(max(5 * 10**8, table), stage.parameters // 2)
    constant = OWN_GIB["V100" if "V100" in case.row.text("gpu") else "A100"]
    return constant + (4 if precise else 2) * elements / GIB


def _framework(case: Case) -> str:
    return case.row.text("framework")


def _layers(case: Case) -> list[Layer]:
    return family(case.config).layers(case.config, case.config.parallelism)


def _keeps(case: Case) -> Keeps:
    """Bytes of each parameter."""
    ours, framework = Keeps.of(case.config), _framework(case)
    if framework == "Megatron-DeepSpeed":
        # ZeRO-1 in fp16: gradients in fp16, and in fp32 of the part that this rank updates; in bf16 an fp32 sum beside
        return Keeps(2, 6, 12) if case.row.text("precision").startswith("bf16") else Keeps(2, 2, 16)
    if "FSDP" in framework or "FSDP" in case.row.text("dp_shard"):
        # parameters in fp32, gathered in bf16; of a block in use and the next one's; reduced block by block
        block = max(layer.parameters.total for layer in _layers(case) if layer.block)
        return Keeps(4, 4, 8, whole=2, ahead=block, waiting=2 * block)
    return ours


def _as_then(case: Case, layer: Layer) -> Layer:
    """A layer with what the framework of the time keeps besides."""
    config, tp = case.config, case.grid.tp
    model, tokens = gpt_of(config), share_of(config, config.parallelism).tokens
    if layer.block and not case.framework.traits.flash:
        # softmax, its dropout and what it returns: 5 a s^2 b (arXiv 2205.05198, section 4.1)
        scores = 5 * model.num_attention_heads * tokens * case.row.number("seq") // tp
        again = config.training.recompute == "full" or case.framework.traits.scores_again
        return layer._replace(
            kept_bytes=layer.kept_bytes + (0 if again else scores),
            inside_bytes=layer.inside_bytes + again * scores,
        )
    if layer.held_bytes and _framework(case) in LOGIT:
        logits = LOGIT[_framework(case)] * tokens * model.padded_vocab_size // tp
        return layer._replace(held_bytes=logits + 2 * 2 * tokens * model.hidden_size)
    return layer
