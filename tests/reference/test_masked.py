"""Training of masked auto-encoders against an implementation that shares nothing with it: every loss and weight."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

import chips
from breadth import some
from reference import masked, plain, stored
from slipway.config.compose import compose
from slipway.data.kind import Split
from slipway.data.ledger import DataLedger, Draw
from slipway.data.randomness import SEED_FIELD, sample_seed
from training import layout, train_in_one_process, training_lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # `make test-py312` runs it

STEPS, BATCH = 4, 4
SETTINGS = plain.Settings(
    steps=STEPS, lr=2e-3, min_lr=2e-4, warmup=2, weight_decay=0.5, beta1=0.9, beta2=0.95, eps=1e-6, clip=1.0
)
TINY = [*chips.TINY, "model.num_layers=2", "model.decoder_num_layers=2"]
TRAINING = [
    f"training.steps={STEPS}",
    f"training.global_batch_size={BATCH}",
    "training.micro_batch_size=1",
    f"optimizer.lr={SETTINGS.lr}",
    f"optimizer.min_lr={SETTINGS.min_lr}",
    f"optimizer.lr_warmup_steps={SETTINGS.warmup}",
    f"optimizer.weight_decay={SETTINGS.weight_decay}",
    f"optimizer.eps={SETTINGS.eps}",
    f"optimizer.clip_grad={SETTINGS.clip}",
    "validation.steps=0",
    "checkpoint.interval=0",
    "checkpoint.keep_last=null",
    "guard.on_nonfinite=rollback",  # so that there is a checkpoint before the first step
    "logging.interval=1000",
]
METADATA = ["model.metadata=[time,location]", "model.metadata_drop=0.4"]
MODELS = {
    "plain": [*TINY, "model.metadata=[]", "model.metadata_drop=0"],
    "metadata": [*TINY, *METADATA],
    "normalized": [*TINY, *METADATA, "model.normalize_patches=true"],
}
THREE_D = layout(ranks=8, tp=2, pp=2, sp=True, distopt=True)
RUNS = some(
    {
        "plain, one rank": layout(ranks=1),
        "plain, 3D": THREE_D,
        "metadata, one rank": layout(ranks=1),
        "metadata, 3D": THREE_D,
        "metadata, ZeRO-3": ["parallelism=zero3", *layout(ranks=2)],
        "normalized, one rank": layout(ranks=1),
    },
    ["plain, one rank", "metadata, one rank", "metadata, 3D", "normalized, one rank"],
)
LOSS, GRADIENT_NORM = 2e-6, 1e-5  # relative; fp32 holds a year times a frequency to 1e-4
WEIGHT = 2e-5  # absolute, where the largest has moved by 5e-3

Trained = tuple[list[plain.Line], plain.Weights]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Chips of which some pixels are not known."""
    return chips.write(tmp_path_factory.mktemp("chips"))


@pytest.fixture(scope="module")
def folder(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directories, by name."""
    folder = tmp_path_factory.mktemp("masked")
    jobs = [
        [*MODELS[_model(name)], *TRAINING, *data, *words, f"run.dir={folder / name.replace(', ', '-')}"]
        for name, words in RUNS.items()
    ]
    assert set(train_in_one_process(jobs, folder / "codes")) == {0}
    return folder


def _model(name: str) -> str:
    return name.split(",")[0]


def weights(folder: Path, name: str, step: int) -> plain.Weights:
    """The weights of a run after a step; layers apart."""
    found = {}
    for key, weight in stored.named(
        folder / name.replace(", ", "-") / "checkpoints" / f"step-{step:08d}"
    ).items():
        part, layers, own = key.partition(".layers.")
        found |= (
            {f"{part}.layers.{i}.{own}": one for i, one in enumerate(weight)} if layers else {key: weight}
        )
    return found


def batches(overrides: list[str], split: Split = "training") -> list[plain.Batch]:
    """Every step's samples, in the order in which a run draws them."""
    from slipway.data import kind_of

    config = compose(overrides)
    drawn = DataLedger.begin(config.training.seed, config.data.weights, {}).draw(BATCH * STEPS)
    dataset = kind_of(config).open(config, split)

    def sample(draw: Draw) -> plain.Batch:
        seed = sample_seed(config.training.seed, split, draw)
        return {name: torch.as_tensor(value) for name, value in dataset[draw].items()} | {
            SEED_FIELD: torch.tensor(seed)
        }

    samples = [sample(draw) for draw in drawn]
    dataset.close()
    return [
        {
            name: torch.stack([sample[name] for sample in samples[start : start + BATCH]])
            for name in samples[0]
        }
        for start in range(0, len(samples), BATCH)
    ]


@pytest.fixture(scope="module")
def reference(folder: Path, data: list[str]) -> Callable[..., Trained]:
    """Train a model by plain PyTorch from the checkpoint before the first step, with the runs' samples."""

    @cache
    def train(name: str, fault: str = "") -> Trained:
        words = [*MODELS[name], *TRAINING, *data]
        section = compose(words).model.model_dump()
        side = section["image_size"] // section["patch_size"]
        grid = (section["num_frames"], side, side)
        model = masked.Model(
            grid=grid,
            patch=section["patch_size"],
            heads=section["num_attention_heads"],
            decoder_heads=section["decoder_num_attention_heads"],
            visible=grid[0] * side**2 // 4,
            metadata=tuple(section["metadata"]),
            dropped=section["metadata_drop"],
            normalize=section["normalize_patches"],
        )

        def loss_of(seen: plain.Weights, batch: plain.Batch) -> tuple[torch.Tensor, torch.Tensor]:
            loss = masked.loss(model, seen, batch, fault)
            return loss, loss

        start = weights(folder, f"{name}, one rank", 0)
        return plain.optimize(loss_of, start, batches(words), SETTINGS, fault=fault)

    return train


def agree(folder: Path, name: str, trained: Trained) -> None:
    """Assert that a run has done what the reference did."""
    lines, expected = trained
    got = training_lines(folder / name.replace(", ", "-"))
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(got, lines, strict=True):
        assert one["loss"] == pytest.approx(other.loss, rel=LOSS), f"loss of step {one['step']}"
        assert one["grad_norm"] == pytest.approx(other.grad_norm, rel=GRADIENT_NORM), f"step {one['step']}"
    end = weights(folder, name, STEPS)
    assert end.keys() == expected.keys()
    for key, weight in expected.items():
        off = float((end[key] - weight).abs().max())
        assert off < WEIGHT, f"{key}: {off:.1e}"


@pytest.mark.parametrize("name", RUNS)
def test_it_trains_as_plain_pytorch_does(folder: Path, reference: Callable[..., Trained], name: str) -> None:
    agree(folder, name, reference(_model(name)))


@pytest.mark.parametrize("fault", masked.FAULTS)
def test_each_planted_fault_is_noticed(folder: Path, reference: Callable[..., Trained], fault: str) -> None:
    """The fault is planted in the reference: the two disagree as if it were in the trainer."""
    with pytest.raises(AssertionError):
        agree(folder, "metadata, one rank", reference("metadata", fault=fault))


def test_parameters_have_their_names_and_first_values(folder: Path) -> None:
    """Glorot's bounds for matrices, 0.02 for tokens, 0.1 for scales, norms at one; biases at zero but one."""
    found = weights(folder, "metadata, one rank", 0)
    names = {name for name in found if ".layers." not in name}
    ends = ("weight", "bias")
    assert names == {
        *(f"patch_embedding.{end}" for end in ends),
        *("cls_token", "time_scale", "location_scale"),
        *(f"encoder.final_layernorm.{end}" for end in ends),
        *(f"decoder_embedding.{end}" for end in ends),
        *("mask_token", "decoder_time_scale", "decoder_location_scale"),
        *(f"decoder.final_layernorm.{end}" for end in ends),
        *(f"prediction.{end}" for end in ends),
    }
    for name, weight in found.items():
        largest = float(weight.abs().max())
        if weight.dim() == 2:
            bound = (6 / sum(weight.shape)) ** 0.5
            assert 0.95 * bound < largest <= bound, name
        elif name.endswith("token"):
            assert float(weight.std()) == pytest.approx(0.02, rel=0.5) and largest < 0.12, name
        elif name == "patch_embedding.bias":
            bound = found["patch_embedding.weight"].shape[1] ** -0.5
            assert 0.8 * bound < largest <= bound
        else:
            first = 0.1 if name.endswith("scale") else float(name.endswith("norm.weight"))
            assert torch.equal(weight, torch.full_like(weight, first)), name
