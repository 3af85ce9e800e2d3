"""A family, a kind of data and an optimizer of another package: named by its entry points, with presets of its own."""

import errno
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import warm
import whole_numbers
from reference import stored
from refusals import check_line, refused
from slipway import registry
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.data.ledger import DataLedger
from slipway.errors import UserError
from slipway.plan import make_plan
from slipway.train.schedule import learning_rate
from training import layout, slipway, told, train_in_one_process, training_lines

pytestmark = pytest.mark.timeout(300)

FAMILIES = Path(__file__).parent
STEPS, HALF, BATCH, MICRO, LAST = 6, 3, 8, 2, 6
LOSS = 1e-5  # relative, fp32
TOY = [
    f"hydra.searchpath=[file://{FAMILIES / 'conf'}]",
    "model=toy",
    "data=vectors",
    f"training.steps={STEPS}",
    f"training.global_batch_size={BATCH}",
    f"training.micro_batch_size={MICRO}",
    "validation.interval=3",
    "validation.steps=2",
]
STOP = f"training.stop_after_step={HALF}"
NOVOGRAD = ["optimizer=novograd"]
ADAMW = ["optimizer=adamw", "optimizer.lr=1e-3", "optimizer.min_lr=1e-4", "optimizer.lr_warmup_steps=0"]
PP2, DP2 = layout(ranks=2, pp=2), layout(ranks=2)
WHOLE = {
    "one": NOVOGRAD,
    "pp2": [*NOVOGRAD, *PP2],
    "pp2_interleaved": [*NOVOGRAD, *layout(ranks=2, pp=2, vpp=2)],
    "dp2": [*NOVOGRAD, *DP2],
    "adamw_dp2_distopt": [*ADAMW, *layout(ranks=2, distopt=True)],
}
MUON = ["optimizer=muon", *ADAMW[1:]]
OF_MUON = {"muon": MUON, "muon_pp2_dp2_distopt": [*MUON, *layout(ranks=4, pp=2, distopt=True)]}
HALVES = {"pp2": "pp2", "dp2": "dp2"}
OTHERS = {("pp2", "pp2"): PP2, ("pp2", "dp2"): DP2, ("dp2", "one"): [], ("dp2", "dp2"): DP2}


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    """As after `pip install toy`: its folder is on the path of this process and of those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(FAMILIES))
        patch.syspath_prepend(FAMILIES)
        registry._entry_points.cache_clear()
        with warm.afresh():
            yield
    registry._entry_points.cache_clear()


@pytest.fixture(scope="module")
def folder(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")

    def job(name: str, *words: str) -> list[str]:
        return [*TOY, f"run.dir={root / name}", *words]

    jobs = [job(name, *words) for name, words in [*WHOLE.items(), *OF_MUON.items()]]
    jobs += [job(f"{name}-half", STOP, *WHOLE[name]) for name in HALVES]
    (root / "blocked").mkdir()
    (root / "blocked" / "pictures").write_text("in the way of a folder")
    jobs.append(job("blocked", *NOVOGRAD, *PP2))
    jobs.append(job("skipped", *NOVOGRAD, "data.broken=5", "guard.on_nonfinite=skip"))
    assert set(train_in_one_process(jobs, root / "codes")) == {0}
    for name, other in OTHERS:
        shutil.copytree(root / f"{name}-half", root / f"{name}-{other}")
    jobs = [job(f"{name}-{other}", *NOVOGRAD, *words) for (name, other), words in OTHERS.items()]
    jobs.append(job("zero3", *ADAMW, "parallelism=zero3", *DP2))  # its inlet has buffers
    assert train_in_one_process(jobs, root / "codes") == [0] * len(OTHERS) + [2]
    return root


def optimizer_of(name: str) -> list[str]:
    return [word for word in WHOLE[name] if word.startswith("optimizer")]


def config_of(*words: str) -> RunConfig:
    return compose([*TOY, *words])


def initial(config: RunConfig) -> dict[str, Tensor]:
    """The same weights, by no code of Slipway's."""
    model = config.model.model_dump()
    width, sizes = model["width"], {"inlet": (model["inputs"], model["width"])}
    for number, hidden in enumerate(model["hidden"]):
        sizes |= {f"block{number}.wide": (width, hidden), f"block{number}.back": (hidden, width)}
    sizes["outlet"] = (width, model["outputs"])
    weights = {}
    for name, (inputs, outputs) in sizes.items():
        place = f"{config.training.seed}:layers.{name}.weight:()"
        bound = math.sqrt(6 / (inputs + outputs))
        weights[f"{name}.weight"] = torch.tensor(whole_numbers.uniform(place, outputs, inputs, -bound, bound))
        weights[f"{name}.bias"] = torch.zeros(outputs)
    return {name: weight.requires_grad_() for name, weight in weights.items()}


def errors(weights: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = linear("inlet", inputs)
    for number in range(sum(name.endswith("wide.weight") for name in weights)):
        x = x + linear(f"block{number}.back", torch.tanh(linear(f"block{number}.wide", x)))
    return linear("outlet", x) - targets


def batches(config: RunConfig) -> Iterator[tuple[Tensor, Tensor]]:
    from toy.vectors.dataset import Drawn

    dataset, data = Drawn(config, "training"), DataLedger.begin(config.training.seed, config.data.weights, {})
    for _ in range(STEPS):
        samples = [dataset[draw] for draw in data.draw(BATCH)]
        yield torch.stack([s["inputs"] for s in samples]), torch.stack([s["targets"] for s in samples])
        data = data.advance(BATCH)


def plain(config: RunConfig) -> list[tuple[float, float, float]]:
    """(loss, mean largest error, gradient norm) of each step, in plain PyTorch on whole batches."""
    weights, settings = initial(config), config.optimizer.model_dump()
    state = {name: [torch.zeros_like(weight), torch.zeros(())] for name, weight in weights.items()}
    adamw = settings["name"] == "adamw"
    found = []
    for step, (inputs, targets) in enumerate(batches(config), start=1):
        wrong = errors(weights, inputs, targets)
        loss = wrong.square().mean()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        found.append((loss.item(), wrong.detach().abs().amax(1).mean().item(), norm))
        cut = min(1.0, settings["clip_grad"] / (norm + 1e-6))
        rate = learning_rate(config.optimizer, step, STEPS)
        with torch.no_grad():
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                decay = settings["weight_decay"] * (weight.dim() > 1)
                update = _adamw if adamw else _novograd
                weight -= rate * (update(settings, state[name], cut * gradient, step, decay * weight))
    return found


def _adamw(settings: dict, state: list[Tensor], gradient: Tensor, step: int, decay: Tensor) -> Tensor:
    beta1, beta2 = settings["beta1"], settings["beta2"]
    state[0] = beta1 * state[0] + (1 - beta1) * gradient
    state[1] = beta2 * state[1] + (1 - beta2) * gradient**2
    root = (state[1] / (1 - beta2**step)).sqrt()
    return state[0] / (1 - beta1**step) / (root + settings["eps"]) + decay


def _novograd(settings: dict, state: list[Tensor], gradient: Tensor, step: int, decay: Tensor) -> Tensor:
    square, beta2 = gradient.square().sum(), settings["beta2"]
    state[1] = square if step == 1 else beta2 * state[1] + (1 - beta2) * square
    state[0] = settings["beta1"] * state[0] + gradient / (state[1].sqrt() + settings["eps"]) + decay
    return state[0]


@pytest.mark.parametrize("name", WHOLE)
def test_every_layout_trains_what_plain_pytorch_trains(folder: Path, name: str) -> None:
    lines = training_lines(folder / name)
    got = [(line["loss"], line["measures"]["largest_error"], line["grad_norm"]) for line in lines]
    expected = plain(config_of(*optimizer_of(name)))
    assert got == [pytest.approx(step, rel=LOSS) for step in expected]


def test_an_optimizer_of_matrices_is_told_which_they_are(folder: Path) -> None:
    one, other = (training_lines(folder / name) for name in OF_MUON)
    assert [line["loss"] for line in other] == pytest.approx([line["loss"] for line in one], rel=LOSS)
    index = stored.everything(folder / "muon" / "checkpoints" / f"step-{LAST:08d}")
    kept = {key.removeprefix("optimizer.momentum_buffer.layers.") for key in index if "momentum" in key}
    assert kept == {f"block{n}.{part}.weight" for n in range(5) for part in ("wide", "back")}


@pytest.mark.parametrize(("name", "other"), OTHERS)
def test_any_layout_continues_any_other_with_the_optimizers_state(
    folder: Path, name: str, other: str
) -> None:
    whole, continued = training_lines(folder / name), training_lines(folder / f"{name}-{other}")
    rel = 0 if name == other else LOSS
    assert [line["step"] for line in continued] == list(range(1, STEPS + 1))
    for line, expected in zip(continued, whole, strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], rel=rel)
        assert line["grad_norm"] == pytest.approx(expected["grad_norm"], rel=rel)


def buffers(run_dir: Path) -> dict[str, Tensor]:
    names = ["layers.inlet.mean", "layers.inlet.batches"]
    return stored.tensors(run_dir / "checkpoints" / f"step-{LAST:08d}", names)


@pytest.mark.parametrize("replicas", [1, 2])
def test_buffers_are_the_mean_of_what_the_replicas_have_seen(folder: Path, replicas: int) -> None:
    mean = torch.zeros(config_of(*NOVOGRAD).model.model_dump()["inputs"])
    for inputs, _ in batches(config_of(*NOVOGRAD)):
        parts = inputs.view(-1, replicas, MICRO, inputs.shape[1]).mean(2)  # [microbatch, replica, inputs]
        seen = mean.repeat(replicas, 1)
        for part in parts:
            seen = seen.lerp(part, 0.1)
        mean = seen.mean(0)
    found = buffers(folder / {1: "one", 2: "dp2"}[replicas])
    assert torch.allclose(found["layers.inlet.mean"], mean, rtol=1e-5)
    assert found["layers.inlet.batches"] == STEPS * BATCH // MICRO // replicas


def test_buffers_continue_exactly(folder: Path) -> None:
    whole, continued = buffers(folder / "dp2"), buffers(folder / "dp2-dp2")
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


def test_a_batch_that_is_left_out_leaves_no_trace_in_buffers(folder: Path) -> None:
    lines = training_lines(folder / "skipped")
    left_out = sum(not line["updated"] for line in lines)
    assert left_out and all(buffer.isfinite().all() for buffer in buffers(folder / "skipped").values())
    assert buffers(folder / "skipped")["layers.inlet.batches"] == (STEPS - left_out) * BATCH // MICRO


def test_a_checkpoint_holds_one_number_for_each_parameter(folder: Path) -> None:
    names = ["optimizer.second.layers.block0.wide.weight", "optimizer.momentum.layers.block0.wide.weight"]
    found = stored.tensors(folder / "pp2" / "checkpoints" / f"step-{LAST:08d}", names)
    assert [tuple(tensor.shape) for tensor in found.values()] == [(1,), (64, 16)]
    assert found[names[0]] > 0


PROGRAM = """
import json, sys
from pathlib import Path
from unittest.mock import MagicMock
from slipway.checkpoint import load, store
from slipway.config.compose import compose
from slipway.engine import engine_of
from slipway.engine.runtime import load_torch
from slipway.kernels.choice import backends
from slipway.plan import make_plan
from slipway.ranks.environment import Place, listening_socket
from slipway.train import setup, step

config = compose(json.loads(sys.argv[1]))
plan = make_plan(config).with_kernels(backends(load_torch(config, ranks_here=1)))
listener = listening_socket()
port = listener.getsockname()[1]
place = Place(0, 0, 1, "127.0.0.1", port, own_store=True, store_fd=listener.detach())
device = engine_of(config).connect(plan, place)
model = setup.build_model(plan, device)
path = Path(sys.argv[2])
load.load(plan, model, path, store.read_info(path))
session = setup.Session(plan, device, model, None)
setup._open_data(session)
found = step.validate(session, config.validation.steps, MagicMock(), 0)
print(json.dumps([found.loss, found.measures]))
"""


def test_validations_show_the_same_samples_in_every_layout(folder: Path) -> None:
    def rows(name: str, step: int) -> np.ndarray:
        return (255 * plt.imread(folder / name / "pictures" / f"step-{step:08d}.png")).round().astype(int)

    for name in WHOLE:
        assert {path.name for path in (folder / name / "pictures").iterdir()} == {
            f"step-{step:08d}.png" for step in (0, 3, 6)
        }
    first, last = rows("one", 0), rows("one", LAST)
    assert first.shape == (MICRO, 2 * 4, 3)
    assert (first[:, :4] == last[:, :4]).all(), "the targets are those of the same samples"
    assert (first[:, 4:] != last[:, 4:]).any(), "the outputs are those of another step"
    for name in ("pp2", "pp2_interleaved", "dp2"):
        assert abs(rows(name, LAST) - last).max() <= 1, name


def test_a_picture_that_cannot_be_written_stops_nothing(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "blocked" / "metrics.jsonl").read_text().splitlines()]
    events = [(line["step"], line["reason"]) for line in lines if line.get("event") == "picture not written"]
    assert events == [(step, os.strerror(errno.EEXIST)) for step in (0, 3, 6)]
    assert training_lines(folder / "blocked")[-1]["loss"] == training_lines(folder / "pp2")[-1]["loss"]


def test_a_model_without_an_optimizer_is_evaluated(folder: Path) -> None:
    name = "pp2"
    words = [json.dumps([*TOY, *optimizer_of(name)]), str(folder / name / "checkpoints" / f"step-{LAST:08d}")]
    done = warm.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loss, measures = json.loads(done.stdout)
    lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    [expected] = [line for line in lines if line["kind"] == "validation" and line["step"] == LAST]
    assert loss == pytest.approx(expected["loss"], rel=LOSS)
    assert measures == pytest.approx(expected["measures"], rel=LOSS)


def weights_of(checkpoint: Path, names: Iterable[str]) -> dict[str, Tensor]:
    return {
        n.removeprefix("layers."): w
        for n, w in stored.tensors(checkpoint, [f"layers.{n}" for n in names]).items()
    }


def test_a_checkpoint_of_any_layout_is_evaluated_in_one_process(folder: Path) -> None:
    config = config_of(*NOVOGRAD)
    ones = (torch.ones(1, config.model.model_dump()["inputs"]), torch.ones(1, 4))
    fresh = errors(initial(config), *ones).abs().mean().item()
    found = {}
    for name in ("pp2", "dp2"):
        done = slipway("evaluate", f"run.dir={folder / name}", "--json", cwd=folder)
        assert (done.returncode, told(done.stderr)) == (0, []), done.stderr
        found[name] = json.loads(done.stdout)
        assert json.loads(Path(found[name].pop("file")).read_text()) == found[name]
        trained, untrained = (score["values"] for score in found[name]["scores"])
        weights = weights_of(folder / name / "checkpoints" / f"step-{LAST:08d}", initial(config))
        assert trained == [pytest.approx(errors(weights, *ones).abs().mean().item(), rel=LOSS)]
        assert untrained[0] == pytest.approx(fresh, rel=LOSS) and untrained[1] != pytest.approx(
            fresh, rel=0.01
        )
    assert found["pp2"]["step"] == LAST


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        ((), "run.dir", ("checkpoints",)),
        (("--step", "5"), "evaluate --step", (5, "checkpoints")),
    ],
)
def test_a_run_without_the_checkpoint_is_not_evaluated(
    folder: Path, tmp_path: Path, words: tuple[str, ...], path: str, facts: tuple
) -> None:
    shutil.copy(folder / "pp2" / "plan.json", tmp_path / "plan.json")
    done = slipway("evaluate", str(tmp_path), *words, cwd=folder)
    assert done.returncode == 2
    check_line(done.stderr, path, *facts)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json"}


def test_stages_share_uneven_layers_out_by_their_parameters() -> None:
    plan = make_plan(config_of(*NOVOGRAD, *PP2))
    assert [stage.spans for stage in plan.stages] == [[(0, 2)], [(2, 5)]]
    assert [stage.parameters for stage in plan.stages] == [2272, 1980]
    assert (plan.unit, plan.units, plan.chance_loss) == ("vector", STEPS * BATCH, None)
    forced = make_plan(config_of(*NOVOGRAD, *PP2, "parallelism.pipeline_layout=[4,1]"))
    assert [stage.spans for stage in forced.stages] == [[(0, 5)], [(5, 2)]]


def test_its_length_is_given_in_its_own_unit() -> None:
    words = [word for word in TOY if not word.startswith("training.steps")]
    assert compose([*words, *NOVOGRAD, "training.vectors=1e3"]).training.steps == 1000 // BATCH
    assert compose([*words, *NOVOGRAD, "training.units=1001"]).training.steps == 1000 // BATCH + 1
    with refused(
        "training.tokens", "toy", "vectors", value=1000.0, use=["training.vectors", "training.samples"]
    ):
        compose([*words, *NOVOGRAD, "training.tokens=1e3"])
    with refused("training.vectors", "gpt", "tokens", value=1000, use=["training.tokens"]):
        compose(["training.vectors=1000"])


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (
            [*NOVOGRAD, *DP2, "parallelism.use_distributed_optimizer=true"],
            "parallelism.use_distributed_optimizer",
        ),
        ([*NOVOGRAD, *DP2, "parallelism=zero2"], "parallelism.data_parallel_sharding_strategy"),
        ([*ADAMW, *layout(ranks=2, tp=2)], "parallelism.tensor_model_parallel_size"),
        ([*NOVOGRAD, *layout(ranks=8, pp=8)], "parallelism.pipeline_model_parallel_size"),
        ([*NOVOGRAD, "data=bytes", "data.sequence_length=16"], "data.kind"),
    ],
)
def test_what_it_cannot_do_is_refused(words: list[str], path: str) -> None:
    with pytest.raises(UserError) as refused:
        make_plan(config_of(*words))
    assert refused.value.path == path


def test_the_command_line_plans_and_renders_it(tmp_path: Path) -> None:
    words = ["--config-dir", str(FAMILIES / "conf"), *TOY[1:], *NOVOGRAD]
    planned = slipway("plan", *words, *PP2, cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "vector" in planned.stdout and "token" not in planned.stdout
    job = ["cluster=leonardo_booster", "launch.account=account", "training.micro_batch_size=1"]
    rendered = slipway("launch", *words, *job, "resources.nodes=2", cwd=tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    assert "#SBATCH" in rendered.stdout and not list(tmp_path.iterdir())


def test_its_run_is_reported(folder: Path) -> None:
    done = slipway("report", f"run.dir={folder / 'pp2'}", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "pp2" / "loss.png").stat().st_size > 1000
    assert "vectors per second" in done.stdout and "token" not in done.stdout
