"""Every layout trains the same masked auto-encoder: the losses and gradient norms of one rank, to rounding.

The sequences, 9 and 33 tokens, divide by no number of tensor-parallel ranks: sequence parallelism pads them.
"""

import json
from pathlib import Path

import pytest

import chips
from breadth import some
from training import layout, train_in_one_process, training_lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # tests/reference has layouts, too, on every Python

STEPS = 4
LOSS = 1e-5  # relative, fp32
GRADIENT_NORM = 1e-4
BF16_LOSS, BF16_GRADIENT_NORM = 2e-3, 1e-2

METADATA = ["model.metadata=[time,location]", "model.metadata_drop=0.3"]
EVEN = ["model.mask_ratio=0.78125"]  # 7 visible patches: 8 tokens, which are shared without padding
MODELS = {
    "": [*METADATA],
    "plain": ["model.metadata=[]", "model.metadata_drop=0", "model.normalize_patches=true", *EVEN],
    "bf16": [*METADATA, "training.precision=bf16"],
}
LAYOUTS = {
    "tp2": layout(ranks=2, tp=2),
    "tp2_sp": layout(ranks=2, tp=2, sp=True),
    "tp4_sp_dp2": layout(ranks=8, tp=4, sp=True),
    "pp2": layout(ranks=2, pp=2),
    "pp4_mbs2": layout(ranks=4, pp=4, mbs=2),
    "pp2_interleaved": layout(ranks=2, pp=2, vpp=2),
    "pp3": layout(ranks=3, pp=3),
    "pp2_forced": ["parallelism.pipeline_layout=[3,1]", *layout(ranks=2, pp=2)],
    "dp2": layout(ranks=2),
    "dp2_distopt_overlapped": layout(ranks=2, distopt=True, grad_overlap=True, param_overlap=True),
    "zero2": ["parallelism=zero2", *layout(ranks=2)],
    "zero3": ["parallelism=zero3", *layout(ranks=2)],
    "zero3_tp2_sp_full": ["parallelism=zero3", *layout(ranks=4, tp=2, sp=True, recompute="full")],
    "recompute_full": layout(ranks=2, tp=2, sp=True, recompute="full"),
    "recompute_selective_interleaved": [
        "parallelism.overlap_p2p_comm=false",  # where the rule overlaps, which releases no outputs before 0.19
        *layout(ranks=4, pp=2, vpp=2, recompute="selective"),
    ],
    "tp2_pp2_dp2_sp_distopt": layout(ranks=8, tp=2, pp=2, sp=True, distopt=True),
    "tp2_pp2_interleaved_dp2_sp_distopt_full_forced": [
        "parallelism.pipeline_layout=E|ttt|t|L",
        *layout(ranks=8, tp=2, pp=2, vpp=2, sp=True, distopt=True, recompute="full"),
    ],
    "plain_tp2_sp_pp2": layout(ranks=4, tp=2, pp=2, sp=True),
    "plain_zero2_tp2": ["parallelism=zero2", *layout(ranks=4, tp=2)],
    "bf16_tp2_pp2_dp2_sp_distopt": layout(ranks=8, tp=2, pp=2, sp=True, distopt=True),
    "bf16_zero3": ["parallelism=zero3", *layout(ranks=2)],
}
LAYOUTS = some(
    LAYOUTS,
    ["tp2_pp2_interleaved_dp2_sp_distopt_full_forced", "plain_tp2_sp_pp2", "bf16_tp2_pp2_dp2_sp_distopt"],
    second=["zero3_tp2_sp_full"],
)


def _model(name: str) -> str:
    first = name.partition("_")[0]
    return first if first in MODELS else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The run directories of one rank, `one` and the model's name, and of every layout that is selected."""
    selected = {item.name for item in request.session.items if item.path == request.path}
    names = [name for name in LAYOUTS if any(f"[{name}]" in test for test in selected)]
    root = tmp_path_factory.mktemp("parity")
    data = chips.write(root / "chips")
    whole = [(f"one{model}", model, layout(ranks=1)) for model in {_model(name) for name in names}]
    every = [*whole, *((name, _model(name), LAYOUTS[name]) for name in names)]
    jobs = [
        [*chips.TINY, *data, f"training.steps={STEPS}", *MODELS[model], *words, f"run.dir={root / name}"]
        for name, model, words in every
    ]
    codes = train_in_one_process(jobs, root / "codes")
    assert codes == [0] * len(jobs), [every[i][0] for i, code in enumerate(codes) if code]
    return root


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_trains_the_same_model(folder: Path, name: str) -> None:
    model = _model(name)
    loss, norm = (BF16_LOSS, BF16_GRADIENT_NORM) if model == "bf16" else (LOSS, GRADIENT_NORM)
    expected, got = training_lines(folder / f"one{model}"), training_lines(folder / name)
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(expected, got, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=loss), f"loss of step {one['step']}"
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=norm), f"step {one['step']}"
    validated = [
        [
            json.loads(line)["loss"]
            for line in (folder / run / "metrics.jsonl").read_text().splitlines()
            if "valid" in line
        ]
        for run in (f"one{model}", name)
    ]
    assert validated[0] == pytest.approx(validated[1], rel=loss) and len(validated[0]) >= 2
