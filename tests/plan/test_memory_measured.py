"""The plan's memory against what CPU ranks held in a step that they trained (see memory_of_ranks.py).

`SLIPWAY_TESTS=all python -m pytest tests/plan/test_memory_measured.py` takes all cases, otherwise a handful.
`PYTHONPATH=tests SLIPWAY_TESTS=all python tests/plan/test_memory_measured.py` prints the table of the docs.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import breadth
import warm
from slipway.config.compose import compose
from slipway.plan import Plan, make_plan
from slipway.plan.memory import PARTS, StageMemory
from training import SMALL, layout

pytestmark = pytest.mark.slow  # `make test-py312` runs it

CLOSE = 0.1  # relative
DRIVE = Path(__file__).parents[1] / "memory_of_ranks.py"
TEXT = [
    *(*SMALL, "data=stdlib", "data.tokenizer.kind=byte"),
    *("model.hidden_size=128", "model.max_position_embeddings=128"),
]
IMAGERY = [
    *("model=earth_demo", "data=any_imagery", "model.image_size=32", "training.micro_batch_size=1"),
    *("model.patch_size=8", "model.num_layers=6", "model.hidden_size=128", "model.decoder_hidden_size=64"),
    "model.decoder_num_layers=2",
    *("training.global_batch_size=8", "validation.steps=0", "checkpoint.interval=0", *SMALL[-3:]),
]
LLAMA = [
    *("model.activation=swiglu", "model.normalization=RMSNorm", "model.add_bias_linear=false"),
    *("model.num_query_groups=2", "model.ffn_hidden_size=352", "model.position_embedding_type=rope"),
]
MODELS = {
    "gpt": [*TEXT, "model.position_embedding_type=learned_absolute"],
    "dropout": [
        *(*TEXT, "model.position_embedding_type=learned_absolute", "model.hidden_dropout=0.1"),
        "model.attention_dropout=0.1",
    ],
    "llama": [*TEXT, *LLAMA, "model.untie_embeddings_and_output_weights=true"],
    "mixture": [*TEXT, *LLAMA, "model.num_moe_experts=4", "model.moe_router_topk=2"],
    "mae": IMAGERY,
}
LAYOUTS = {
    "alone": dict(ranks=1),
    "dp2": dict(ranks=2),
    "dp4": dict(ranks=4),
    "tp2": dict(ranks=2, tp=2),
    "tp2sp_dp2": dict(ranks=4, tp=2, sp=True),
    "tp4sp": dict(ranks=4, tp=4, sp=True),
    "pp2": dict(ranks=2, pp=2),
    "pp4": dict(ranks=4, pp=4),
    "pp2vpp2": dict(ranks=2, pp=2, vpp=2),
    "pp2vpp2_tp2sp": dict(ranks=4, pp=2, vpp=2, tp=2, sp=True),
    "cp2": dict(ranks=2, cp=2),
    "cp2_dp2": dict(ranks=4, cp=2),
    "cp2_tp2sp": dict(ranks=4, cp=2, tp=2, sp=True),
    # experts on several ranks: each token visits all, so that the ranks have as many
    "ep2": dict(ranks=2, ep=2),
    "ep4": dict(ranks=4, ep=4),
    "ep2_tp2sp": dict(ranks=4, ep=2, tp=2, sp=True),
    "ep2_pp2": dict(ranks=4, ep=2, pp=2),
}
SHARDING = {
    "zero0": [],
    "zero1": layout(distopt=True),
    "zero2": ["parallelism=zero2"],
    "zero3": ["parallelism=zero3"],
}
RECOMPUTE = {
    "none": [],
    "selective": layout(recompute="selective"),
    "norm": ["training.recompute=selective", "training.recompute_modules=[norm]"],
    "mlp": ["training.recompute=selective", "training.recompute_modules=[norm,mlp]"],
    "experts": ["training.recompute=selective", "training.recompute_modules=[norm,experts]"],
    "full": layout(recompute="full"),
}
MORE = {
    "fp32": [],
    "bf16": layout(precision="bf16"),
    "mbs2": layout(mbs=2),
    "batch16": ["training.global_batch_size=16"],
    "muon": ["optimizer=muon"],
    "muon16": ["optimizer=muon", *layout(precision="bf16")],
}


# layout, model, sharding, recomputation, and what else differs
CASES = """
alone-dropout-zero1-none-fp32 alone-llama-zero1-full-fp32 alone-mixture-zero1-full-fp32
dp2-dropout-zero2-selective-fp32 dp2-mixture-zero1-selective-mbs2 dp2-mixture-zero2-selective-bf16
dp4-llama-zero3-full-mbs2 dp4-dropout-zero0-norm-batch16 dp4-dropout-zero0-none-mbs2
tp2-dropout-zero1-norm-mbs2 tp2-dropout-zero0-full-fp32 tp2-llama-zero1-selective-bf16
tp2sp_dp2-dropout-zero2-full-batch16 tp2sp_dp2-mixture-zero3-none-mbs2 tp2sp_dp2-llama-zero3-selective-batch16
tp4sp-dropout-zero0-none-batch16 tp4sp-gpt-zero1-full-mbs2 tp4sp-dropout-zero0-selective-fp32
pp2-gpt-zero0-mlp-mbs2 pp2-gpt-zero1-selective-bf16 pp2-llama-zero1-full-mbs2
pp4-mixture-zero1-selective-mbs2 pp4-mixture-zero0-full-batch16 pp4-llama-zero1-selective-batch16
pp2vpp2-gpt-zero1-norm-mbs2 pp2vpp2-llama-zero1-norm-bf16 pp2vpp2-gpt-zero0-selective-batch16
pp2vpp2_tp2sp-mixture-zero1-none-batch16 pp2vpp2_tp2sp-dropout-zero1-mlp-fp32 pp2vpp2_tp2sp-llama-zero1-none-batch16
cp2-mixture-zero3-none-mbs2 cp2-dropout-zero1-mlp-batch16 cp2-gpt-zero0-none-bf16
cp2_dp2-gpt-zero2-none-fp32 cp2_dp2-dropout-zero2-mlp-batch16 cp2_dp2-gpt-zero0-mlp-mbs2
cp2_tp2sp-mixture-zero0-norm-bf16 cp2_tp2sp-mixture-zero3-selective-mbs2 cp2_tp2sp-dropout-zero3-full-batch16
ep2-mixture-zero0-selective-mbs2 ep2-mixture-zero1-full-bf16 ep2-mixture-zero1-experts-bf16
ep4-mixture-zero0-none-bf16 ep4-mixture-zero0-full-bf16
ep2_tp2sp-mixture-zero1-full-bf16 ep2_tp2sp-mixture-zero1-none-fp32
ep2_pp2-mixture-zero1-none-fp32 ep2_pp2-mixture-zero0-selective-fp32
alone-mae-zero0-none-fp32 alone-mae-zero0-none-bf16 alone-mae-zero0-selective-mbs2 alone-mae-zero1-full-fp32
tp2-mae-zero1-mlp-mbs2 tp2sp_dp2-mae-zero1-none-fp32 tp4sp-mae-zero0-selective-bf16
pp2-mae-zero0-none-fp32 pp4-mae-zero1-full-batch16 pp2vpp2-mae-zero1-norm-bf16 pp2vpp2_tp2sp-mae-zero1-none-batch16
dp2-mae-zero2-selective-bf16 dp4-mae-zero3-full-mbs2 tp2sp_dp2-mae-zero3-none-mbs2
pp2-gpt-zero0-none-muon ep2_tp2sp-mixture-zero0-full-muon16 tp2-mae-zero0-none-muon
dp4-gpt-zero1-none-muon ep2_pp2-mixture-zero1-none-muon16
"""
FEW = [
    "dp2-mixture-zero2-selective-bf16",
    "pp2vpp2-llama-zero1-norm-bf16",
    "cp2-gpt-zero0-none-bf16",
    "ep2-mixture-zero1-experts-bf16",
    "pp2vpp2_tp2sp-mae-zero1-none-batch16",
    "ep2_tp2sp-mixture-zero0-full-muon16",
    "dp4-gpt-zero1-none-muon",
]
CHOSEN = CASES.split() if breadth.ALL else FEW


def overrides(name: str) -> list[str]:
    """What a case's name says."""
    shape, model, sharding, recompute, more = name.split("-")
    every = ["model.moe_router_topk=4"] * shape.startswith("ep")
    sizes = layout(**LAYOUTS[shape])  # type: ignore[arg-type]
    return [
        "training.steps=4",
        *MODELS[model],
        *every,
        *SHARDING[sharding],
        *sizes,
        *RECOMPUTE[recompute],
        *MORE[more],
    ]


def run(result: Path) -> dict[str, Any]:
    """Bytes of each rank, by case; result: a file that does not exist yet."""
    cases = {name: overrides(name) for name in CHOSEN}
    done = warm.run(
        [sys.executable, str(DRIVE), str(result)], input=json.dumps(cases), capture_output=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("memory") / "result.json")


def of_rank(plan: Plan, rank: int) -> StageMemory:
    return plan.memory.stages[plan.grid.coordinates(rank).pp]


def planned_peak(stage: StageMemory) -> int:
    """All that a step makes and gives back."""
    return stage.activations + stage.head + stage.gathered + stage.buffers


def rounding(plan: Plan, held: list[dict[str, int]], part: str) -> int:
    """By how much the plan's sum over all ranks is above what they held: shares of whole elements."""
    planned = sum(getattr(of_rank(plan, rank), part) for rank in range(plan.world_size))
    return planned - sum(one[part] for one in held)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", CHOSEN)
def test_ranks_hold_what_the_plan_says(measured: dict[str, Any], name: str) -> None:
    """Weights, gradients and optimizer exactly, over the replicas where they share; all else within 10%."""
    held, plan = measured[name], make_plan(compose(overrides(name)))
    assert isinstance(held, list), held["error"]
    for part in PARTS[: 2 if uneven(name) else 3]:
        assert 0 <= rounding(plan, held, part) < 16 * plan.world_size, part
    for rank, one in enumerate(held):
        assert planned_peak(of_rank(plan, rank)) == pytest.approx(one["peak"], rel=CLOSE), rank


def uneven(name: str) -> bool:
    """Whether replicas share unlike parameters: of matrices Muon keeps less."""
    return "zero1" in name and "muon" in name


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name in CHOSEN if uneven(name)])
def test_the_fullest_replica_holds_the_optimizer_that_the_plan_says(
    measured: dict[str, Any], name: str
) -> None:
    """One that has few matrices; embeddings and norms do not lie side by side, so that it is not met exactly."""
    held, plan = measured[name], make_plan(compose(overrides(name)))
    for stage in plan.memory.stages:
        ranks = [rank for rank in range(plan.world_size) if of_rank(plan, rank) == stage]
        fullest = max(held[rank]["optimizer_states"] for rank in ranks)
        assert 0.95 * stage.optimizer_states < fullest <= stage.optimizer_states
    if plan.grid.ep == 1:  # all together hold one replica's
        whole = make_plan(compose([*overrides(name), *layout(distopt=False)])).memory.stages
        together = sum(one["optimizer_states"] for one in held)
        assert together == sum(stage.optimizer_states for stage in whole) * plan.grid.tp


def main() -> None:
    """Print a line for each case: what weights, gradients and optimizer differ by, and the error of the peak."""
    with TemporaryDirectory() as folder:
        found = run(Path(folder) / "result.json")
    print("| case | ranks | weights, gradients, optimizer | peak of the rest, measured (MB) | planned |")
    print("|---|---|---|---|---|")
    for name, held in found.items():
        plan = make_plan(compose(overrides(name)))
        apart = sum(rounding(plan, held, part) for part in PARTS[:3])
        peaks = [(planned_peak(of_rank(plan, rank)), one["peak"]) for rank, one in enumerate(held)]
        ours, theirs = max(peaks, key=lambda pair: abs(pair[0] / pair[1] - 1))
        print(f"| {name} | {len(held)} | {apart:+} bytes | {theirs / 1e6:.2f} | {ours / theirs - 1:+.1%} |")


if __name__ == "__main__":
    main()
