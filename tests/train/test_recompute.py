"""Recomputation changes no number: losses and gradient norms bit for bit those of the same layout without it.

But for RMSNorm, which torch computes in steps on a CPU: there the gradients of its input, and of the residual beside
it, are added in another order.
"""

from pathlib import Path

import pytest

import breadth
from training import layout, training_lines

pytestmark = pytest.mark.slow  # `make test-py312` runs it

STEPS = 4 if breadth.ALL else 3
ROUNDING = 1e-6  # relative, fp32
LLAMA = [
    *("model.activation=swiglu", "model.normalization=RMSNorm", "model.add_bias_linear=false"),
    *("model.num_query_groups=2", "model.untie_embeddings_and_output_weights=true"),
]
EXPERTS = [*LLAMA, "model.num_moe_experts=4", "model.moe_router_topk=2"]
TODAY = [*EXPERTS, "model.moe_ffn_hidden_size=64", "model.moe_shared_expert_intermediate_size=64"]
TODAY += ["model.first_k_dense_replace=1"]
TODAY += ["model.moe_router_score_function=sigmoid", "model.moe_router_enable_expert_bias=true"]
DROPOUT = ["model.hidden_dropout=0.1", "model.attention_dropout=0.1"]
WIDE = layout(ranks=8, tp=2, pp=2, vpp=2, sp=True, distopt=True)
# layout, and what is computed again in it, each in a run of its own
RUNS: dict[str, tuple[list[str], list[str]]] = {
    "gpt_tp2_pp2_interleaved_distopt": ([*DROPOUT, *WIDE], ["rule", "norm,mlp,attention", "activation"]),
    "llama_tp2_cp2_dp2": ([*LLAMA, *layout(ranks=8, tp=2, cp=2, sp=True)], ["norm,mlp", "rule"]),
    "llama_tp2_pp2": ([*LLAMA, *layout(ranks=4, tp=2, pp=2)], ["rule", "mlp", "norm"]),
    "llama_zero3_cp2": (["parallelism=zero3", *LLAMA, *layout(ranks=4, cp=2)], ["rule", "norm,mlp", "full"]),
    "gpt_zero2_bf16": (["parallelism=zero2", *layout(ranks=2, precision="bf16")], ["rule", "norm,mlp"]),
    "unfused_tp2": ([*LLAMA, "kernels.linear=unfused", *layout(ranks=2, tp=2)], ["rule", "norm,mlp"]),
    "experts_tp2_ep2_pp2_distopt": (
        [*EXPERTS, *layout(ranks=8, tp=2, pp=2, ep=2, sp=True, distopt=True)],
        ["rule", "norm,experts", "experts"],
    ),
    "today_tp2_ep2": (
        [*TODAY, *layout(ranks=4, tp=2, ep=2, sp=True)],
        ["rule", "norm,experts,shared_experts", "shared_experts", "mlp", "full"],
    ),
    "experts_zero3_ep2": (["parallelism=zero3", *EXPERTS, *layout(ranks=4, ep=2)], ["norm,experts", "rule"]),
    "documents_apart": (["data.reset_attention_mask=true", *LLAMA, *layout(ranks=2, cp=2)], ["rule"]),
}
if not breadth.ALL:  # the same on fewer ranks, and fewer modules by themselves
    RUNS = {
        "gpt_tp2_pp2_interleaved": ([*DROPOUT, *layout(ranks=4, tp=2, pp=2, vpp=2, sp=True)], ["rule"]),
        "llama_zero3_cp2": (["parallelism=zero3", *LLAMA, *layout(ranks=2, cp=2)], ["norm,mlp"]),
        "experts_tp2_ep2_distopt": (
            [*EXPERTS, *layout(ranks=4, tp=2, ep=2, sp=True, distopt=True)],
            ["norm,experts"],
        ),
        "today_tp2_ep2": ([*TODAY, *layout(ranks=4, tp=2, ep=2, sp=True)], ["norm,experts,shared_experts"]),
    }
CASES = [(name, modules) for name, (_, again) in RUNS.items() for modules in again]


def words(modules: str) -> list[str]:
    """Overrides for what is computed again; rule: what the rule chooses."""
    if modules in ("none", "full"):
        return [f"training.recompute={modules}"]
    chosen = [] if modules == "rule" else [f"training.recompute_modules=[{modules}]"]
    return ["training.recompute=selective", *chosen]


@pytest.fixture(scope="module")
def runs(train_many, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[dict]]:
    """Training lines of every layout, without recomputation and with."""
    folder = tmp_path_factory.mktemp("recompute")
    jobs = {
        (name, modules): [*RUNS[name][0], *words(modules)]
        for name, modules in [*((name, "none") for name in RUNS), *CASES]
    }
    places = {key: folder / str(number) for number, key in enumerate(jobs)}
    codes = train_many(
        [[f"run.dir={places[key]}", f"training.steps={STEPS}", *of_one] for key, of_one in jobs.items()]
    )
    assert codes == [0] * len(jobs), dict(zip(jobs, codes, strict=True))
    return {key: training_lines(Path(place)) for key, place in places.items()}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "modules"), CASES, ids=[f"{name}-{modules}" for name, modules in CASES])
def test_no_number_changes(runs: dict[tuple[str, str], list[dict]], name: str, modules: str) -> None:
    expected, got = runs[name, "none"], runs[name, modules]
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    in_steps = "model.normalization=RMSNorm" in RUNS[name][0] and modules not in (
        "activation",
        "mlp",
        "experts",
    )
    for kind in ("loss", "grad_norm"):
        numbers, same = ([line[kind] for line in lines] for lines in (got, expected))
        assert numbers == (pytest.approx(same, rel=ROUNDING) if in_steps else same)
