"""Latent attention: every layout trains the same model as one rank, to rounding.

Covers the trap of Megatron-core's tensor parallelism, which is silent: with products down to the latent states that
are cut over the ranks, or without sequence parallelism, gradient norms are off by 4e-3 and 2e-3.
"""

from pathlib import Path

import pytest

import breadth
from breadth import some
from training import layout, training_lines

pytestmark = pytest.mark.slow  # `make test-py312` runs it in CI

STEPS = 10 if breadth.ALL else 4
LOSS = 1e-5  # relative, fp32
GRADIENT_NORM = 1e-4  # relative

LATENT = [
    *("model.multi_latent_attention=true", "model.q_lora_rank=24", "model.kv_lora_rank=16"),
    *(
        "model.qk_head_dim=12",
        "model.qk_pos_emb_head_dim=8",
        "model.v_head_dim=16",
        "model.qk_layernorm=true",
    ),
    *("model.add_bias_linear=false", "model.normalization=RMSNorm", "model.activation=swiglu"),
]
WITHOUT_QUERY_STATE = ["model.q_lora_rank=null"]
YARN = [
    "model.rope_scaling={type:yarn,factor:4,original_max_position_embeddings:8,mscale:1.0,mscale_all_dim:0.7}"
]
LAYOUTS = {
    "tp2_sp": layout(ranks=2, tp=2, sp=True),
    # of Megatron-core's own linear layers, which it would cut without a word
    "unfused_tp2_sp": ["kernels.linear=unfused", *layout(ranks=2, tp=2, sp=True)],
    "pp2": layout(ranks=2, pp=2),
    "pp2_interleaved": layout(ranks=2, pp=2, vpp=2),
    "pp2_uneven": ["parallelism.pipeline_layout=Et|tttL", *layout(ranks=2, pp=2)],
    "cp2": layout(ranks=2, cp=2),
    "dp2_distopt": layout(ranks=2, distopt=True),
    "tp2_pp2_dp2_distopt": layout(ranks=8, tp=2, pp=2, sp=True, distopt=True),
    "zero3": ["parallelism=zero3", *layout(ranks=2)],
    "recompute_full": layout(ranks=2, tp=2, sp=True, recompute="full"),
    "recompute_selective": layout(ranks=2, tp=2, sp=True, recompute="selective"),
    "recompute_up_cp2_tp2": [
        "training.recompute_modules=[mla_up_proj,norm,mlp]",
        *layout(ranks=4, tp=2, cp=2, sp=True, recompute="selective"),
    ],
    "documents_tp2_cp2": ["data.reset_attention_mask=true", *layout(ranks=4, tp=2, cp=2, sp=True)],
    "yarn_tp2_pp2": [*YARN, *layout(ranks=4, tp=2, pp=2, sp=True)],
    "without_query_state_tp2_pp2": [*WITHOUT_QUERY_STATE, *layout(ranks=4, tp=2, pp=2, sp=True)],
}
LAYOUTS = some(
    LAYOUTS,
    ["tp2_pp2_dp2_distopt", "pp2_interleaved", "unfused_tp2_sp", "recompute_up_cp2_tp2", "yarn_tp2_pp2"],
)
WHOLE = {
    "without_query_state": WITHOUT_QUERY_STATE,
    "yarn": YARN,
    "documents": ["data.reset_attention_mask=true"],
}


def whole_of(name: str) -> str:
    """The one rank that a layout is compared with."""
    return next((f"one_{kind}" for kind in WHOLE if name.startswith(kind)), "one")


@pytest.fixture(scope="module")
def runs(
    train_many, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, list[dict]]:
    """Training lines of one rank and of every layout that a selected test asks for."""
    selected = {item.name for item in request.session.items if item.path == request.path}
    folder = tmp_path_factory.mktemp("latent")
    jobs = {name: words for name, words in LAYOUTS.items() if any(f"[{name}]" in test for test in selected)}
    for one in {whole_of(name) for name in jobs}:
        jobs[one] = [*WHOLE.get(one.removeprefix("one_"), []), *layout(ranks=1)]
    codes = train_many(
        [
            [f"run.dir={folder / name}", f"training.steps={STEPS}", *LATENT, *words]
            for name, words in jobs.items()
        ]
    )
    assert codes == [0] * len(jobs), dict(zip(jobs, codes, strict=True))
    return {name: training_lines(Path(folder / name)) for name in jobs}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_trains_the_same_latent_attention(runs: dict[str, list[dict]], name: str) -> None:
    expected, got = runs[whole_of(name)], runs[name]
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(expected, got, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=LOSS), f"loss of step {one['step']}"
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=GRADIENT_NORM), f"step {one['step']}"
