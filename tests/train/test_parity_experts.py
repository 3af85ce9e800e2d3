"""Mixtures of experts: every layout trains the same model as one rank, to rounding.

The load-balancing loss is that of whole sequences, also where ranks share them.
"""

from pathlib import Path

import pytest

import breadth
from breadth import some
from training import layout, training_lines

pytestmark = pytest.mark.slow  # `make test-py312` runs it in CI

STEPS = 8 if breadth.ALL else 4
LOSS = 1e-5  # relative, fp32
GRADIENT_NORM = 1e-4  # relative

EXPERTS = ["model.num_moe_experts=4", "model.moe_router_topk=2", "model.add_bias_linear=false"]
EXPERTS += ["model.activation=swiglu"]  # as Mixtral: the gate and the rest are cut separately
TODAY = [*EXPERTS, "model.num_moe_experts=8", "model.moe_ffn_hidden_size=32", "model.normalization=RMSNorm"]
TODAY += ["model.position_embedding_type=rope", "model.moe_aux_loss_coeff=0.1"]
DEEPSEEK = [*TODAY, "model.moe_router_topk=4", "model.moe_shared_expert_intermediate_size=64"]
DEEPSEEK += ["model.first_k_dense_replace=1", "model.moe_router_score_function=sigmoid"]
DEEPSEEK += ["model.moe_router_enable_expert_bias=true", "model.moe_router_bias_update_rate=0.01"]
DEEPSEEK += ["model.moe_router_num_groups=4", "model.moe_router_group_topk=2"]
DEEPSEEK += ["model.moe_router_topk_scaling_factor=2.5", "model.moe_z_loss_coeff=0.01"]
QWEN = [*TODAY, "model.qk_layernorm=true"]
FIVE = "model.num_layers=5"  # which two stages share unevenly
ALLGATHER = "parallelism.moe_token_dispatcher_type=allgather"  # the rule is alltoall
LAYOUTS = {
    "ep2": layout(ranks=2, ep=2),
    "unfused_ep2": ["kernels.moe=unfused", *layout(ranks=2, ep=2)],
    "unfused_ep2_dp4": ["kernels.moe=unfused", *layout(ranks=4, ep=2)],
    "ep4_distopt": layout(ranks=4, ep=4, distopt=True),
    "ep2_dp4": layout(ranks=4, ep=2),
    "pp2_ep2": layout(ranks=4, pp=2, ep=2),
    "tp2_ep2": layout(ranks=4, tp=2, sp=True, ep=2),
    "cp2_ep2": layout(ranks=4, cp=2, ep=2),
    "allgather_ep2_dp4": [ALLGATHER, *layout(ranks=4, ep=2)],
    "allgather_tp2_ep2": [ALLGATHER, *layout(ranks=4, tp=2, sp=True, ep=2)],
    "tp2_pp2_ep2_distopt": layout(ranks=8, tp=2, pp=2, sp=True, ep=2, distopt=True),
}
# each dimension, dispatcher and kind of product is in one of these, and experts that several replicas hold
LAYOUTS = some(
    LAYOUTS,
    [
        *("unfused_ep2_dp4", "ep4_distopt", "cp2_ep2", "allgather_ep2_dp4", "allgather_tp2_ep2"),
        "tp2_pp2_ep2_distopt",
    ],
)


KINDS = {"deepseek": DEEPSEEK, "qwen": QWEN, "five": [*DEEPSEEK, FIVE]}
OF_TODAY = {
    "ep2": layout(ranks=2, ep=2),
    "ep4": layout(ranks=4, ep=4),
    "unfused_ep2": ["kernels.moe=unfused", *layout(ranks=2, ep=2)],
    "allgather_ep2": [ALLGATHER, *layout(ranks=2, ep=2)],
    "tp2": layout(ranks=2, tp=2, sp=True),
    "tp2_ep2": layout(ranks=4, tp=2, sp=True, ep=2),
    "allgather_tp2_ep2": [ALLGATHER, *layout(ranks=4, tp=2, sp=True, ep=2)],
    "pp2_ep2": layout(ranks=4, pp=2, ep=2),
    "pp2_vpp2": layout(ranks=2, pp=2, vpp=2),
    "cp2_ep2": layout(ranks=4, cp=2, ep=2),
    "ep2_distopt": layout(ranks=2, ep=2, distopt=True, grad_overlap=True, param_overlap=True),
    "tp2_mbs4": layout(ranks=2, tp=2, sp=True, mbs=4),
    "mbs4": layout(ranks=1, mbs=4),
}
TABLE = {f"{kind}_{name}": (kind, words) for kind in ("deepseek", "qwen") for name, words in OF_TODAY.items()}
TABLE |= {f"five_{name}": ("five", OF_TODAY[name]) for name in ("pp2_ep2", "pp2_vpp2", "tp2")}
TABLE["five_pp2_vpp2_ep2"] = ("five", layout(ranks=4, pp=2, vpp=2, ep=2))
FEW = some(TABLE, ["deepseek_tp2_mbs4", "five_pp2_vpp2_ep2", "qwen_cp2_ep2"], ["deepseek_ep2_distopt"])


@pytest.fixture(scope="module")
def today(train_many, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    """Training lines of mixtures of today: by kind of one rank, and by row of the table."""
    folder = tmp_path_factory.mktemp("today")
    kinds = dict.fromkeys(kind for kind, _ in FEW.values())
    jobs = {kind: (kind, layout(ranks=1)) for kind in kinds} | FEW
    steps = f"training.steps={STEPS}"
    codes = train_many(
        [[f"run.dir={folder / name}", steps, *KINDS[kind], *ranks] for name, (kind, ranks) in jobs.items()]
    )
    assert codes == [0] * len(jobs), dict(zip(jobs, codes, strict=True))
    return {name: training_lines(Path(folder / name)) for name in jobs}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FEW)
def test_layout_trains_the_same_mixture_of_today(today: dict[str, list[dict]], name: str) -> None:
    """With losses for even loads that are large enough to tell, and with microbatches of another size."""
    expected, got = today[FEW[name][0]], today[name]
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(expected, got, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=LOSS), f"loss of step {one['step']}"
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=GRADIENT_NORM), f"step {one['step']}"


@pytest.fixture(scope="module")
def runs(train_many, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    """Training lines of one rank and of every layout."""
    folder = tmp_path_factory.mktemp("experts")
    jobs = {"one": layout(ranks=1), **LAYOUTS}
    steps = f"training.steps={STEPS}"
    codes = train_many(
        [[f"run.dir={folder / name}", steps, *EXPERTS, *of_one] for name, of_one in jobs.items()]
    )
    assert codes == [0] * len(jobs), dict(zip(jobs, codes, strict=True))
    return {name: training_lines(Path(folder / name)) for name in jobs}


@pytest.mark.timeout(600)
def test_checkpoints_fit_grouped_experts_and_single_ones(runs, train_many, tmp_path: Path) -> None:
    """Half by torch's grouped products on two ranks, the rest one by one on one rank; then the other way round."""
    steps = [f"training.steps={STEPS}", *EXPERTS]
    ways = {"to_single": ("torch", "unfused"), "to_grouped": ("unfused", "torch")}
    spread, alone = layout(ranks=2, ep=2, distopt=True), layout(ranks=1)
    for index, ranks in enumerate((spread, alone)):
        stop = [f"training.stop_after_step={STEPS // 2}"] if index == 0 else []
        jobs = [
            [f"run.dir={tmp_path / way}", *steps, *stop, *ranks, f"kernels.moe={kinds[index]}"]
            for way, kinds in ways.items()
        ]
        assert train_many(jobs) == [0] * len(jobs)
    for way in ways:
        for one, other in zip(runs["one"], training_lines(tmp_path / way), strict=True):
            assert other["loss"] == pytest.approx(one["loss"], rel=LOSS), f"{way}, step {one['step']}"
            assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=GRADIENT_NORM)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_trains_the_same_experts(runs: dict[str, list[dict]], name: str) -> None:
    expected, got = runs["one"], runs[name]
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(expected, got, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=LOSS), f"loss of step {one['step']}"
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=GRADIENT_NORM), f"step {one['step']}"
