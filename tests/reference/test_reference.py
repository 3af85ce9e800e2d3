"""The trainer against an implementation that shares nothing with it: losses, gradient norms and every weight.

Layouts are compared with each other elsewhere (tests/train/test_parity.py); that cannot see what all of them do
wrong alike.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

import breadth
from breadth import some
from reference import plain, stored
from reference.samples import batches, short_documents
from training import layout, train_in_one_process, training_lines

STEPS = 6
SETTINGS = plain.Settings(
    steps=STEPS,
    lr=2e-3,
    min_lr=2e-4,
    warmup=2,
    weight_decay=0.5,
    beta1=0.9,
    beta2=0.95,
    eps=1e-6,
    clip=1.0,
)
TRAINING = [
    f"training.steps={STEPS}",
    "training.global_batch_size=8",
    "training.micro_batch_size=1",
    "data.sequence_length=32",
    f"optimizer.lr={SETTINGS.lr}",
    f"optimizer.min_lr={SETTINGS.min_lr}",
    f"optimizer.lr_warmup_steps={SETTINGS.warmup}",
    f"optimizer.weight_decay={SETTINGS.weight_decay}",
    f"optimizer.eps={SETTINGS.eps}",  # above the rounding of gradients that are zero, which Adam would enlarge
    f"optimizer.clip_grad={SETTINGS.clip}",
    "validation.steps=0",
    "checkpoint.interval=0",
    "checkpoint.keep_last=null",
    "guard.on_nonfinite=rollback",  # so that there is a checkpoint before the first step
    "logging.interval=1000",
]
GPT = ["model=demo", "model.num_layers=2", "model.hidden_size=32", "model.num_attention_heads=4"]
GPT += ["model.vocab_size=257", "model.max_position_embeddings=32", "model.ffn_hidden_size=64"]
GPT += ["model.position_embedding_type=learned_absolute"]
LLAMA = [*GPT[:-1], "model.kv_channels=16", "model.num_query_groups=2", "model.rotary_base=500000"]
LLAMA += [
    "model.rope_scaling={type:llama3,factor:8}",
    "model.normalization=RMSNorm",
    "model.activation=swiglu",
]
LLAMA += ["model.add_bias_linear=false", "model.untie_embeddings_and_output_weights=true"]
LATENT = [*GPT[:-1], "model.normalization=RMSNorm", "model.activation=swiglu", "model.add_bias_linear=false"]
LATENT += ["model.multi_latent_attention=true", "model.q_lora_rank=12", "model.kv_lora_rank=10"]
LATENT += [
    "model.qk_head_dim=6",
    "model.qk_pos_emb_head_dim=4",
    "model.v_head_dim=8",
    "model.qk_layernorm=true",
]
LATENT += ["model.rotary_base=500000"]
MIXTURE = [*LLAMA, "model.rope_scaling=null", "model.num_moe_experts=4"]
MODELS = {
    "gpt": (GPT, plain.Model(layers=2, vocabulary=257, heads=4, groups=4)),
    "llama": (
        LLAMA,
        plain.Model(
            layers=2, vocabulary=257, heads=4, groups=2, norm="rms", rotary_base=500000, rotary_factor=8
        ),
    ),
    "latent": (
        LATENT,
        plain.Model(layers=2, vocabulary=257, heads=4, groups=4, norm="rms", rotary_base=500000, turned=4),
    ),
    "mixture": (
        MIXTURE,
        plain.Model(
            layers=2, vocabulary=257, heads=4, groups=2, norm="rms", rotary_base=500000, topk=2, balance=0.01
        ),
    ),
}
THREE_D = layout(ranks=8, tp=2, pp=2, sp=True, distopt=True)
RUNS = {
    "gpt, one rank": layout(ranks=1),
    "gpt, 3D": THREE_D,
    "gpt, bf16": layout(ranks=1, precision="bf16"),
    "llama, one rank": layout(ranks=1),
    "llama, 3D": THREE_D,
    "llama, ZeRO-2": ["parallelism=zero2", *layout(ranks=2)],
    "llama, ZeRO-3": ["parallelism=zero3", *layout(ranks=2)],
    "llama, bf16 3D": [*THREE_D, *layout(precision="bf16")],
    "latent, one rank": layout(ranks=1),
    "latent, 3D": THREE_D,
    "mixture, one rank": layout(ranks=1),
    "mixture, 3D": [*THREE_D, *layout(ep=2)],
    "mixture, CP": layout(ranks=2, cp=2),
    "mixture, bf16": layout(ranks=1, precision="bf16"),
}
# the others differ from these in one thing that tests/train compares with these layouts, too
RUNS = some(
    RUNS,
    [
        *("gpt, one rank", "llama, one rank", "llama, ZeRO-3", "latent, one rank", "latent, 3D"),
        *("mixture, one rank", "mixture, 3D"),
    ]
    if breadth.SECOND  # which runs tests/train/test_parity.py
    else [
        *("gpt, one rank", "llama, one rank", "llama, 3D", "llama, ZeRO-3", "llama, bf16 3D"),
        *("latent, one rank", "latent, 3D", "mixture, one rank", "mixture, 3D"),
    ],
)
STOPPED = ["llama, one rank", "llama, ZeRO-3"]  # half-way, and continued from the checkpoint

LOSS, GRADIENT_NORM = 1e-6, 1e-6  # relative
WEIGHT = 1e-5  # absolute, where the largest has moved by 7e-3
# The reference rounds the weights to bf16 as the trainer does, and nothing else. Each activation and gradient of the
# trainer's is rounded by up to 2^-9 = 2e-3 of itself, alike in both directions, so that sums err by less: the loss,
# over 240 tokens, by 4e-5, the norm by 1.5e-3. Adam divides by the gradient's own size, so a weight whose gradient is
# nearly zero goes another way; a tensor as a whole ends where it should, to 3% of the way it has gone. Tokens that
# stand between two experts visit another one: 13% in a mixture's weights.
BF16_LOSS, BF16_GRADIENT_NORM = 1e-4, 4e-3  # relative
BF16_WAY = {"gpt": 0.06, "llama": 0.06, "mixture": 0.25}  # of the way that a tensor has gone, L2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for short documents: samples differ in how many of their tokens count."""
    return short_documents(tmp_path_factory.mktemp("reference-data"))


@pytest.fixture(scope="module")
def folder(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directories, by name."""
    folder = tmp_path_factory.mktemp("reference")

    def job(name: str, *more: str) -> list[str]:
        model, _ = MODELS[_family(name)]
        return [*model, *TRAINING, *data, *RUNS[name], f"run.dir={_place(folder, name)}", *more]

    stopped = [job(name, f"training.stop_after_step={STEPS // 2}") for name in STOPPED]
    jobs = [*stopped, *(job(name) for name in RUNS)]
    codes = train_in_one_process(jobs, folder / "codes.json")
    assert codes == [0] * len(jobs), codes
    return folder


Trained = tuple[list[plain.Line], plain.Weights]


@pytest.fixture(scope="module")
def reference(folder: Path, data: list[str]) -> Callable[..., Trained]:
    """Train a family by plain PyTorch from the checkpoint before the first step, with the runs' samples."""

    @cache
    def train(family: str, bf16: bool = False, fault: str = "") -> Trained:
        overrides, model = MODELS[family]
        samples = batches([*overrides, *TRAINING, *data], STEPS)
        return plain.train(
            model, weights(folder, f"{family}, one rank", 0), samples, SETTINGS, bf16=bf16, fault=fault
        )

    return train


def _family(name: str) -> str:
    return name.split(",")[0]


def _place(folder: Path, name: str) -> Path:
    return folder / name.replace(", ", "-").replace(" ", "-")


def weights(folder: Path, name: str, step: int) -> plain.Weights:
    """The weights of a run after a step."""
    return stored.weights(_place(folder, name) / "checkpoints" / f"step-{step:08d}")


def agree(folder: Path, name: str, trained: Trained) -> None:
    """Assert that a run has done what the reference did."""
    lines, expected = trained
    got = training_lines(_place(folder, name))
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    bf16 = "bf16" in name
    for one, other in zip(got, lines, strict=True):
        close = pytest.approx(other.loss, rel=BF16_LOSS if bf16 else LOSS)
        assert one["loss"] == close, f"loss of step {one['step']}"
        close = pytest.approx(other.grad_norm, rel=BF16_GRADIENT_NORM if bf16 else GRADIENT_NORM)
        assert one["grad_norm"] == close, f"gradient norm of step {one['step']}"
    start, end = weights(folder, name, 0), weights(folder, name, STEPS)
    assert end.keys() == expected.keys()
    for key, weight in expected.items():
        if bf16:
            off = float((end[key] - weight).norm() / (weight - start[key]).norm())
            assert off < BF16_WAY[_family(name)], f"{key}: {off:.1%} of its way"
        else:
            off = float((end[key] - weight).abs().max())
            assert off < WEIGHT, f"{key}: {off:.1e}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RUNS)
def test_it_trains_as_plain_pytorch_does(folder: Path, reference: Callable[..., Trained], name: str) -> None:
    agree(folder, name, reference(_family(name), bf16="bf16" in name))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", plain.FAULTS)
@pytest.mark.parametrize(
    "name",
    [name for name in ("gpt, one rank", "llama, 3D", "llama, bf16 3D", "mixture, one rank") if name in RUNS],
)
def test_each_planted_fault_is_noticed(
    folder: Path, reference: Callable[..., Trained], name: str, fault: str
) -> None:
    """The fault is planted in the reference: the two disagree as if it were in the trainer."""
    with pytest.raises(AssertionError):
        agree(folder, name, reference(_family(name), fault=fault))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RUNS)
def test_initial_weights_have_the_stated_spread(folder: Path, name: str) -> None:
    """Normal with 0.02, output projections with that / sqrt(2 x layers) (GPT-2); norms at 1, biases at 0."""
    for key, weight in weights(folder, name, 0).items():
        if weight.dim() < 2:
            assert torch.equal(weight, torch.full_like(weight, float("norm" in key and "bias" not in key))), (
                key
            )
            continue
        spread = 0.02 / (2 * 2) ** 0.5 if "proj" in key or "out." in key else 0.02
        few = 4 / (2 * weight.numel()) ** 0.5  # four standard deviations of the estimate
        assert float(weight.square().mean().sqrt()) == pytest.approx(spread, rel=few), key
        assert abs(float(weight.mean())) < 4 * spread / weight.numel() ** 0.5, key
