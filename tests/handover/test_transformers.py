"""Models of transformers come in, train in every layout as a plain loop trains them, and go out the same.

transformers itself is what everything is compared with: its logits, its losses, and what it loads.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import breadth
import warm
from handover import hub
from reference.samples import batches, short_documents
from training import layout, slipway, train_in_one_process, training_lines

ROOT = Path(__file__).parents[2]
STEPS = 10
SETTINGS = hub.Settings(steps=STEPS, lr=2e-3, min_lr=2e-4, warmup=2, weight_decay=0.5, clip=1.0, eps=1e-6)
TRAINING = [
    f"training.steps={STEPS}",
    "training.global_batch_size=8",
    "training.micro_batch_size=1",
    "data.sequence_length=24",
    f"optimizer.lr={SETTINGS.lr}",
    f"optimizer.min_lr={SETTINGS.min_lr}",
    f"optimizer.lr_warmup_steps={SETTINGS.warmup}",
    f"optimizer.weight_decay={SETTINGS.weight_decay}",
    f"optimizer.eps={SETTINGS.eps}",
    f"optimizer.clip_grad={SETTINGS.clip}",
    "cluster=local",
    "validation.steps=0",
    "checkpoint.interval=0",
    "checkpoint.keep_last=null",
    "logging.interval=1000",
    "cluster.device.peak_tflops_fp32=0.1",
    "cluster.device.peak_tflops_bf16=0.1",
]
ONE, WHOLE_LOGITS = layout(ranks=1), ["kernels.cross_entropy=unfused"]
LAYOUTS: dict[str, dict[str, list[str]]] = {
    "gpt2": {
        "tp3": [*layout(ranks=3, tp=3), *WHOLE_LOGITS],  # the last rank's rows are all padding
        "pp2": layout(ranks=2, pp=2),
        "dp2": layout(ranks=2, distopt=True),
        "tp3_pp2": layout(ranks=6, tp=3, pp=2, sp=True),
    },
    "gpt_neox": {
        "pp2": layout(ranks=2, pp=2),
        "tp3_sp": layout(ranks=3, tp=3, sp=True),
        "one": [*ONE, *WHOLE_LOGITS],
    },
    "starcoder2": {
        "tp2_dp2": layout(ranks=4, tp=2, sp=True, distopt=True),
        "cp2": layout(ranks=2, cp=2),
        "pp2": layout(ranks=2, pp=2),
    },
    "llama": {
        "tp3_sp": layout(ranks=3, tp=3, sp=True),
        "pp2_dp2": layout(ranks=4, pp=2, distopt=True),
        "zero3": ["parallelism=zero3", *layout(ranks=2)],
    },
    "qwen3": {
        "tp2_sp": layout(ranks=2, tp=2, sp=True),
        "cp2_dp2": layout(ranks=4, cp=2, distopt=True),
        "pp2": layout(ranks=2, pp=2),
    },
    "qwen3_moe": {
        "tp2_ep2": layout(ranks=4, tp=2, ep=2, sp=True),
        "pp3": layout(ranks=3, pp=3),
        "ep2": [*layout(ranks=2, ep=2, distopt=True), "kernels.moe=unfused"],
    },
    "deepseek_v3": {
        "tp2_ep2": layout(ranks=4, tp=2, ep=2, sp=True),
        "pp3": layout(ranks=3, pp=3),
        "ep2": layout(ranks=2, ep=2, distopt=True),
    },
    "mixtral": {
        "ep2": layout(ranks=2, ep=2),
        "tp2_ep2": layout(ranks=4, tp=2, ep=2, sp=True),
        "pp2": [*layout(ranks=2, pp=2), "kernels.moe=unfused"],
    },
}
FEW = {name: list(of_one)[:1] for name, of_one in LAYOUTS.items()}
CASES = [
    (name, place) for name, of_one in LAYOUTS.items() for place in of_one if breadth.ALL or place in FEW[name]
]
NAMES = [f"{name}-{place}" for name, place in CASES]
LOGITS, LOSS, TRAINED = 1e-5, 1e-5, 1e-4

# `make test` looks at three that together have every kind of tensor; `make test-py312` trains, and has all
MODELS = list(LAYOUTS) if breadth.ALL or breadth.SECOND else ["gpt2", "qwen3_moe", "deepseek_v3"]
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return short_documents(tmp_path_factory.mktemp("documents"))


@pytest.fixture(scope="module")
def folder(data: list[str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """NAME, a folder of transformers', and NAME-run, the run that begins with it."""
    folder = tmp_path_factory.mktemp("hub")
    selected = [item.name for item in request.session.items if item.path == request.path]
    for name in LAYOUTS:
        if not any(f"[{name}" in test for test in selected):
            continue
        hub.write(name, folder / name)
        words = ["model=auto", f"run.dir={folder / f'{name}-run'}", *TRAINING, *ONE, *data]
        done = slipway("import", "hf", str(folder / name), *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path, data: list[str]) -> Path:
    """NAME-LAYOUT of each case, a run that has trained it."""
    jobs = []
    for name, place in ((name, place) for name, place in CASES if (folder / name).is_dir()):
        run = folder / f"{name}-{place}"
        shutil.copytree(folder / f"{name}-run", run)
        jobs.append([*model_words(folder, name), *TRAINING, *data, f"run.dir={run}", *LAYOUTS[name][place]])
    codes = train_in_one_process(jobs, folder / "codes.json")
    assert codes == [0] * len(jobs), codes
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path, data: list[str]) -> dict[str, tuple[list[tuple[float, float]], dict[str, Tensor]]]:
    """By a plain loop, from the same weights and with the same samples: its lines, and its weights after them."""
    done = {}
    for name in (name for name in LAYOUTS if (folder / name).is_dir()):
        samples = batches([*model_words(folder, name), *TRAINING, *data, *ONE], STEPS)
        model = hub.model_of(folder / name)
        lines = hub.train(model, samples, SETTINGS)
        done[name] = (lines, hub.weights_of(model))
    return done


def model_words(folder: Path, name: str) -> list[str]:
    """The model that the import has derived, as words."""
    model = json.loads((folder / f"{name}-run" / "plan.json").read_text())["config"]["model"]
    words = [f"model.{key}={_word(value)}" for key, value in model.items()]
    return ["model=base/gpt", *(word for word in words if not word.startswith("model.family"))]


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_word(each)}" for key, each in value.items()) + "}"
    return "null" if value is None else str(value)


def exported(folder: Path, run: str, step: int) -> Path:
    target = folder / f"{run}-exported-{step}"
    if target.exists():
        return target
    words = [f"run.dir={folder / run}", "--step", str(step), f"to={target}"]
    done = slipway("export", "hf", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def logits(folder: Path) -> dict[str, Tensor]:
    """Of the trainer's own modules, for the tokens below."""
    torch.save(TOKENS, folder / "tokens.pt")
    request = {"runs": {name: str(folder / f"{name}-run") for name in MODELS}}
    request |= {"tokens": str(folder / "tokens.pt"), "logits": str(folder / "logits.pt")}
    done = warm.run(
        [sys.executable, str(Path(__file__).with_name("logits.py"))],
        input=json.dumps(request),
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "logits.pt", weights_only=True)


TOKENS = torch.randint(259, (2, 24), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_the_same_logits(folder: Path, logits: dict[str, Tensor], name: str) -> None:
    with torch.no_grad():
        expected = hub.model_of(folder / name)(input_ids=TOKENS).logits
    assert expected.abs().max() > 0.5, "logits that say something"
    assert (logits[name] - expected).abs().max() < LOGITS


@pytest.mark.parametrize("name", MODELS)
def test_exported_again_it_is_the_same(folder: Path, name: str) -> None:
    target = exported(folder, f"{name}-run", 0)
    before, after = (load_file(place / "model.safetensors") for place in (folder / name, target))
    assert before.keys() == after.keys()
    assert [key for key in before if not torch.equal(before[key], after[key])] == []
    assert hub.model_of(target).config.architectures == [hub.model_of(folder / name).__class__.__name__]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), CASES, ids=NAMES)
def test_every_layout_trains_as_a_plain_loop(
    trained: Path, theirs: dict[str, Any], name: str, place: str
) -> None:
    lines, _ = theirs[name]
    got = training_lines(trained / f"{name}-{place}")
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    assert got[0]["loss"] == pytest.approx(lines[0][0], abs=LOSS), "of the weights as they came"
    for one, (loss, norm) in zip(got, lines, strict=True):
        assert one["loss"] == pytest.approx(loss, abs=TRAINED), f"loss of step {one['step']}"
        assert one["grad_norm"] == pytest.approx(norm, rel=1e-3), f"step {one['step']}"
    assert lines[-1][0] < lines[0][0] - 0.1, "it learns"


@pytest.mark.slow
@pytest.mark.skipif(
    not breadth.SECOND, reason="`make test-py312`: the second Python has the first one beside it"
)
@pytest.mark.parametrize("name", ["llama", "mixtral", "deepseek_v3"] if breadth.ALL else ["deepseek_v3"])
def test_one_version_of_megatron_core_goes_on_with_the_others(
    trained: Path, data: list[str], name: str
) -> None:
    """Imported by the first, trained here, exported here and by the first: nothing is lost either way."""
    (place, sizes), run = next(iter(LAYOUTS[name].items())), trained / f"{name}-from-the-other"
    words = [*TRAINING, *ONE, *data]
    in_the_other("import", "hf", str(trained / name), "model=auto", f"run.dir={run}", *words, cwd=trained)
    job = [*model_words(trained, name), *TRAINING, *data, f"run.dir={run}", *sizes]
    assert train_in_one_process([job], trained / "code.json") == [0]
    for one, other in zip(training_lines(run), training_lines(trained / f"{name}-{place}"), strict=True):
        assert (one["loss"], one["grad_norm"]) == (other["loss"], other["grad_norm"])
    here, back = exported(trained, run.name, STEPS), trained / f"{name}-back"
    in_the_other("export", "hf", f"run.dir={run}", f"to={back}", cwd=trained)
    for file in ("model.safetensors", "config.json"):
        assert (back / file).read_bytes() == (here / file).read_bytes()


def in_the_other(*words: str, cwd: Path) -> None:
    """The command line in the first Python, which has another version of Megatron-core."""
    python = ROOT / ".venv" / "bin" / "python"
    asked = [str(python), "-c", "import importlib.metadata as m; print(m.version('megatron-core'))"]
    there = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    assert there != version("megatron-core")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run(
        [str(python), "-m", "slipway", *words], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), CASES, ids=NAMES)
def test_what_was_trained_loads_there(trained: Path, theirs: dict[str, Any], name: str, place: str) -> None:
    _, expected = theirs[name]
    got = hub.weights_of(hub.model_of(exported(trained, f"{name}-{place}", STEPS)))
    start = hub.weights_of(hub.model_of(trained / name))
    assert got.keys() == expected.keys()
    for key, weight in expected.items():
        off, way = (got[key] - weight).norm(), (weight - start[key]).norm()
        assert off < 0.02 * way, f"{key}: off by {off / way:.1%} of its way"
