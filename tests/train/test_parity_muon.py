"""Muon: every layout trains the same model as one rank, to rounding; matrices are whole wherever their parts lie."""

from pathlib import Path

import pytest

import breadth
from breadth import some
from training import layout, training_lines

pytestmark = pytest.mark.slow  # `make test-py312` runs it; on 3.11 tests/reference has some of the layouts

STEPS = 8 if breadth.ALL else 4
LOSS = 1e-5  # relative, fp32
GRADIENT_NORM = 1e-4  # relative

MUON = ["optimizer=muon", "optimizer.lr=5e-3"]
GATED = ["model.activation=swiglu", "model.add_bias_linear=false", "model.num_query_groups=2"]
EXPERTS = [*GATED, "model.num_moe_experts=4", "model.moe_router_topk=2"]
# as DeepSeek-V3: latent attention, a dense layer before mixtures, shared experts, a prediction layer
DEEP = ["model.multi_latent_attention=true", "model.qk_layernorm=true", "model.q_lora_rank=24"]
DEEP += [
    "model.kv_lora_rank=16",
    "model.qk_head_dim=12",
    "model.qk_pos_emb_head_dim=8",
    "model.v_head_dim=16",
]
DEEP += ["model.add_bias_linear=false", "model.normalization=RMSNorm", "model.activation=swiglu"]
DEEP += ["model.untie_embeddings_and_output_weights=true", "model.first_k_dense_replace=1"]
DEEP += ["model.num_moe_experts=4", "model.moe_router_topk=2", "model.moe_ffn_hidden_size=48"]
DEEP += ["model.moe_shared_expert_intermediate_size=48", "model.moe_router_score_function=sigmoid"]
DEEP += ["model.moe_router_enable_expert_bias=true", "model.moe_router_load_balancing_type=seq_aux_loss"]
DEEP += ["model.mtp_num_layers=1"]
THREE = ["model.num_layers=3"]  # which no two replicas of the experts share without cutting a matrix
LAYOUTS = {
    "tp2": layout(ranks=2, tp=2),
    "tp2_sp": layout(ranks=2, tp=2, sp=True),
    "tp4_sp_dp2": layout(ranks=8, tp=4, sp=True),
    "pp2": layout(ranks=2, pp=2),
    "pp2_interleaved": layout(ranks=2, pp=2, vpp=2),
    "dp2": layout(ranks=2),
    "dp3_distopt": ["training.global_batch_size=9", *layout(ranks=3, distopt=True)],
    "dp4_distopt_overlapped": layout(ranks=4, distopt=True, grad_overlap=True, param_overlap=True),
    "cp2_dp2_distopt": layout(ranks=4, cp=2, distopt=True),
    "tp2_pp2_interleaved_dp2_sp_distopt": layout(ranks=8, tp=2, pp=2, vpp=2, sp=True, distopt=True),
    "tp2_cp2_dp2_sp": layout(ranks=8, tp=2, cp=2, sp=True),
}
MIXTURES = {
    "ep2": layout(ranks=2, ep=2),
    "unfused_ep2": ["kernels.moe=unfused", *layout(ranks=2, ep=2)],
    "tp2_pp2_ep2_distopt": layout(ranks=8, tp=2, pp=2, sp=True, ep=2, distopt=True),
    "ep2_dp4_distopt_of_three_layers": [*THREE, *layout(ranks=4, ep=2, distopt=True)],
    "tp2_ep2_dp4": layout(ranks=8, tp=2, sp=True, ep=2),
}
DEEPS = {
    "tp2_pp2_ep2_distopt": layout(ranks=8, tp=2, pp=2, sp=True, ep=2, distopt=True),
    "pp2_dp2": layout(ranks=4, pp=2),
    "ep2_dp4_distopt": layout(ranks=4, ep=2, distopt=True),
}
# each dimension alone, and each way to bring matrices together, is in one of these, too
LAYOUTS = some(
    LAYOUTS,
    ["tp2_pp2_interleaved_dp2_sp_distopt", "tp4_sp_dp2", "cp2_dp2_distopt"],
    ["dp3_distopt"],
)
MIXTURES = some(MIXTURES, ["tp2_pp2_ep2_distopt", "ep2_dp4_distopt_of_three_layers"], ["unfused_ep2"])
DEEPS = some(DEEPS, ["tp2_pp2_ep2_distopt"])
BATCHES = {"dp3_distopt": "one_of_nine"}
JOBS = {name: [*MUON, *words] for name, words in LAYOUTS.items()}
JOBS |= {f"mixture_{name}": [*MUON, *EXPERTS, *words] for name, words in MIXTURES.items()}
JOBS |= {f"deep_{name}": [*MUON, *DEEP, *words] for name, words in DEEPS.items()}
WHOLE = {
    "one_deep": [*MUON, *DEEP, *layout(ranks=1)],
    "one": [*MUON, *layout(ranks=1)],
    "one_of_nine": [*MUON, *layout(ranks=1), "training.global_batch_size=9"],
    "one_mixture": [*MUON, *EXPERTS, *layout(ranks=1)],
    "one_mixture_of_three_layers": [*MUON, *EXPERTS, *THREE, *layout(ranks=1)],
}


def whole(name: str) -> str:
    """The run on one rank that a layout is compared with."""
    if name.startswith("mixture"):
        return "one_mixture_of_three_layers" if name.endswith("three_layers") else "one_mixture"
    return "one_deep" if name.startswith("deep") else BATCHES.get(name, "one")


@pytest.fixture(scope="module")
def runs(
    train_many, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, list[dict]]:
    """Training lines of every layout that a selected test asks for, and of one rank."""
    selected = {item.name for item in request.session.items if item.path == request.path}
    folder = tmp_path_factory.mktemp("muon")
    jobs = {name: words for name, words in JOBS.items() if any(f"[{name}]" in test for test in selected)}
    jobs |= {name: WHOLE[name] for name in map(whole, list(jobs))}
    steps = f"training.steps={STEPS}"
    codes = train_many([[f"run.dir={folder / name}", steps, *words] for name, words in jobs.items()])
    assert codes == [0] * len(jobs), dict(zip(jobs, codes, strict=True))
    return {name: training_lines(Path(folder / name)) for name in jobs}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", JOBS)
def test_layout_trains_the_same_model(runs: dict[str, list[dict]], name: str) -> None:
    expected, got = runs[whole(name)], runs[name]
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(expected, got, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=LOSS), f"loss of step {one['step']}"
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=GRADIENT_NORM), f"step {one['step']}"
