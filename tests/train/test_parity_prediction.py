"""Multi-token prediction: every layout trains the same model as one rank, to rounding, and reports the same losses.

Norms of a half of these models are RMSNorm, as are the prediction layers' then; Megatron-core's own would be LayerNorm.
"""

from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint import FileSystemReader

import breadth
from breadth import some
from reference import stored
from reference.samples import short_documents
from training import layout, lines_of, training_lines

pytestmark = pytest.mark.slow  # `make test-py312` runs it in CI

STEPS = 8 if breadth.ALL else 4
LOSS = 1e-5  # relative, fp32
GRADIENT_NORM = 1e-4  # relative

LLAMA = ["model.activation=swiglu", "model.normalization=RMSNorm", "model.add_bias_linear=false"]
LLAMA += ["model.num_query_groups=2", "model.untie_embeddings_and_output_weights=true"]
MODELS = {
    "tied": ["model.mtp_num_layers=1"],
    "untied": [*LLAMA, "model.mtp_num_layers=2", "model.mtp_loss_scaling_factor=0.3"],
    "mixture": [*LLAMA, "model.mtp_num_layers=1", "model.num_moe_experts=4"],
    "documents": ["model.mtp_num_layers=2", "data.reset_attention_mask=true", "data.eod_mask_loss=true"],
}
DEEP = layout(ranks=8, tp=2, pp=2, sp=True, distopt=True)
LAYOUTS = {
    "tied-tp2_sp": layout(ranks=2, tp=2, sp=True),
    "tied-tp2": layout(ranks=2, tp=2),
    "tied-pp2": layout(ranks=2, pp=2),
    "tied-pp2_interleaved": layout(ranks=2, pp=2, vpp=2),
    "tied-pp2_all_layers_on_the_first": ["parallelism.pipeline_layout=[4,0]", *layout(ranks=2, pp=2)],
    "tied-cp2": layout(ranks=2, cp=2),
    "tied-dp2_distopt": layout(ranks=2, distopt=True),
    "tied-mbs4": layout(ranks=1, mbs=4),
    "tied-tp2_pp2_dp2": DEEP,
    "untied-tp2_sp_full": layout(ranks=2, tp=2, sp=True, recompute="full"),
    "untied-pp2_mbs4": layout(ranks=2, pp=2, mbs=4),
    "untied-uneven_pp3": ["parallelism.pipeline_layout=[1,2,1]", *layout(ranks=3, pp=3)],
    "untied-tp2_pp2_interleaved_dp2": [*DEEP, *layout(vpp=2)],
    "untied-tp2_pp2_cp2": layout(ranks=8, tp=2, pp=2, cp=2, sp=True),
    "untied-zero3": ["parallelism=zero3", *layout(ranks=2)],
    "untied-whole_logits": ["kernels.cross_entropy=unfused", *layout(ranks=2, tp=2, sp=True)],
    "mixture-ep2": layout(ranks=2, ep=2),
    "mixture-tp2_pp2_ep2": [*DEEP, *layout(ep=2)],
    "documents-cp2": layout(ranks=2, cp=2),
    "documents-tp2_pp2_cp2": layout(ranks=8, tp=2, pp=2, cp=2, sp=True),
}
LAYOUTS = some(
    LAYOUTS,
    ["tied-tp2_pp2_dp2", "untied-tp2_pp2_interleaved_dp2", "mixture-tp2_pp2_ep2", "documents-cp2"],
    second=["tied-pp2_all_layers_on_the_first", "tied-mbs4"],
)
OTHERS = {  # beside the tied one's rank
    "without": ["model.mtp_num_layers=null", *layout(ranks=1)],
    "weightless": ["model.mtp_loss_scaling_factor=0", *layout(ranks=1)],
}


@pytest.fixture(scope="module")
def folder(train_many, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The run directories of one rank, and of every layout that a selected test asks for."""
    folder = tmp_path_factory.mktemp("prediction")
    selected = " ".join(item.name for item in request.session.items if item.path == request.path)
    all_of_them = any(test in selected for test in ("weight", "norms", "continues"))
    jobs = {name: [*of, *layout(ranks=1)] for name, of in MODELS.items()}
    jobs |= {name: [*MODELS[name.split("-")[0]], *of] for name, of in LAYOUTS.items()}
    jobs |= {name: [*MODELS["tied"], *of] for name, of in OTHERS.items()}
    jobs = {name: of for name, of in jobs.items() if all_of_them or name in MODELS or f"[{name}]" in selected}
    steps = [f"training.steps={STEPS}", f"checkpoint.interval={STEPS // 2}", "checkpoint.keep_last=null"]
    rows = [[*of, *steps, f"run.dir={folder / name}"] for name, of in jobs.items()]
    codes = [code for start in range(0, len(rows), 5) for code in train_many(rows[start : start + 5])]
    assert codes == [0] * len(jobs), dict(zip(jobs, codes, strict=True))
    return folder


def same(expected: list[dict], got: list[dict]) -> None:
    """Assert that two runs have computed the same, to rounding."""
    assert [line["step"] for line in got] == [line["step"] for line in expected]
    for one, other in zip(expected, got, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=LOSS), f"loss of step {one['step']}"
        close = pytest.approx(one["measures"], rel=LOSS)
        assert other["measures"] == close, f"step {one['step']}"
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=GRADIENT_NORM), f"step {one['step']}"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_predicts_the_same(folder: Path, name: str) -> None:
    lines = training_lines(folder / name.split("-")[0])
    depths = 2 if name.startswith(("untied", "documents")) else 1
    told = [measure for measure in lines[0]["measures"] if measure.startswith("mtp_")]
    assert told == [f"mtp_{depth + 1}_loss" for depth in range(depths)]
    same(lines, training_lines(folder / name))


@pytest.mark.timeout(1200)
def test_without_weight_the_model_learns_as_without_prediction(folder: Path) -> None:
    without, weightless = training_lines(folder / "without"), training_lines(folder / "weightless")
    assert "measures" not in without[0]
    for one, other in zip(without, weightless, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-7)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-6)


@pytest.mark.timeout(1200)
def test_with_weight_it_learns_otherwise_and_to_predict(folder: Path) -> None:
    without, lines = training_lines(folder / "without"), training_lines(folder / "tied")
    assert lines[0]["loss"] == pytest.approx(without[0]["loss"], rel=1e-7), "the loss told is the model's own"
    assert lines[-1]["loss"] != pytest.approx(without[-1]["loss"], rel=1e-5)
    assert lines[-1]["measures"]["mtp_1_loss"] < lines[0]["measures"]["mtp_1_loss"] - 0.1


@pytest.mark.timeout(1200)
def test_its_norms_are_of_the_models_kind(folder: Path) -> None:
    for name, bias in (("tied", True), ("untied", False)):
        path = folder / name / "checkpoints" / f"step-{STEPS:08d}"
        keys = FileSystemReader(str(path)).read_metadata().state_dict_metadata
        for norm in ("enorm", "hnorm", "final_layernorm", "transformer_layer.input_layernorm"):
            assert f"mtp.layers.0.{norm}.weight" in keys
            assert (f"mtp.layers.0.{norm}.bias" in keys) == bias


@pytest.mark.timeout(1200)
def test_it_continues_bit_for_bit_and_in_other_layouts(folder: Path, train_many, tmp_path: Path) -> None:
    """Half-way: in the same layout, from one rank into eight and from eight into one, embeddings tied and not."""
    steps = [f"training.steps={STEPS}", "checkpoint.keep_last=null"]
    stop = [*steps, f"training.stop_after_step={STEPS // 2}"]
    eight, one = [*DEEP, *layout(vpp=2)], layout(ranks=1)
    ways = {
        "same": ("untied", eight, eight),
        "wider": ("untied", one, eight),
        "narrower": ("tied", DEEP, one),
    }
    for part in (1, 2):
        jobs = [
            [*MODELS[of[0]], *(stop if part == 1 else steps), *of[part], f"run.dir={tmp_path / way}"]
            for way, of in ways.items()
        ]
        assert train_many(jobs) == [0] * len(jobs)
    for way, (model, *_) in ways.items():
        same(training_lines(folder / model), training_lines(tmp_path / way))
    undisturbed = folder / "untied-tp2_pp2_interleaved_dp2"
    for one_line, other in zip(training_lines(undisturbed), training_lines(tmp_path / "same"), strict=True):
        for number in ("loss", "measures", "grad_norm"):
            assert other[number] == one_line[number], f"{number} of step {other['step']}"
    last = f"checkpoints/step-{STEPS:08d}"
    expected, got = stored.named(undisturbed / last), stored.named(tmp_path / "same" / last)
    assert expected.keys() == got.keys()
    assert all(torch.equal(weight, got[name]) for name, weight in expected.items())


@pytest.mark.timeout(1200)
def test_it_goes_on_with_fewer_devices(folder: Path, train_many, tmp_path: Path) -> None:
    """Elastic: eight devices (TP2 x PP2 x DP2) until half-way, then two."""
    steps = [*MODELS["untied"], "resources.elastic=true", f"training.steps={STEPS}", f"run.dir={tmp_path}"]
    wish = layout(tp=2, pp=2, sp=True, distopt=True)
    assert train_many([[*steps, *wish, *layout(ranks=8), f"training.stop_after_step={STEPS // 2}"]]) == [0]
    assert train_many([[*steps, *wish, *layout(ranks=2)]]) == [0]
    same(training_lines(folder / "untied"), training_lines(tmp_path))


@pytest.mark.timeout(1200)
def test_validation_reports_it_on_every_layout(train_many, tmp_path: Path) -> None:
    data = [word for word in short_documents(tmp_path) if not word.startswith("data.split")]
    data += ["data.split=[0.8,0.2,0]", "data.sequence_length=32"]
    steps = [*MODELS["tied"], "training.steps=3", "validation.steps=2", "validation.interval=3", *data]
    ways = {"one": layout(ranks=1), "other": layout(ranks=4, pp=2, cp=2)}
    codes = train_many([[*steps, *of, f"run.dir={tmp_path / way}"] for way, of in ways.items()])
    assert codes == [0, 0]
    before, after = lines = lines_of(tmp_path / "one", "validation")
    assert (
        after["loss"] < before["loss"] < 7
        and after["measures"]["mtp_1_loss"] < before["measures"]["mtp_1_loss"] < 7
    )
    norm = {"grad_norm": 1.0}  # which validation has not
    same(
        [line | norm for line in lines], [line | norm for line in lines_of(tmp_path / "other", "validation")]
    )
