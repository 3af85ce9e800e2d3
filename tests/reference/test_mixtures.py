"""The trainer's mixtures of experts of today against plain PyTorch: losses, gradient norms, every weight and bias."""

from collections.abc import Callable
from functools import cache
from math import log
from pathlib import Path

import pytest
import torch

from breadth import some
from reference import mixtures, plain, stored
from reference.samples import batches, short_documents
from training import layout, lines_of, train_in_one_process, training_lines

STEPS = 10
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
    f"optimizer.eps={SETTINGS.eps}",
    f"optimizer.clip_grad={SETTINGS.clip}",
    "validation.steps=0",
    "checkpoint.interval=0",
    "checkpoint.keep_last=null",
    "guard.on_nonfinite=rollback",  # so that there is a checkpoint before the first step
    "logging.interval=1000",
]
LLAMA = ["model=demo", "model.num_layers=3", "model.hidden_size=32", "model.num_attention_heads=4"]
LLAMA += ["model.vocab_size=257", "model.max_position_embeddings=32", "model.ffn_hidden_size=64"]
LLAMA += ["model.position_embedding_type=rope", "model.rotary_base=500000", "model.num_query_groups=2"]
LLAMA += ["model.normalization=RMSNorm", "model.activation=swiglu", "model.add_bias_linear=false"]
LLAMA += ["model.init_method_std=0.1", "model.num_moe_experts=8", "model.moe_ffn_hidden_size=16"]
DEEPSEEK = [*LLAMA, "model.moe_router_topk=4", "model.moe_shared_expert_intermediate_size=32"]
DEEPSEEK += ["model.first_k_dense_replace=1", "model.moe_router_score_function=sigmoid"]
DEEPSEEK += ["model.moe_router_enable_expert_bias=true", "model.moe_router_bias_update_rate=0.01"]
DEEPSEEK += ["model.moe_router_num_groups=4", "model.moe_router_group_topk=2"]
DEEPSEEK += ["model.moe_router_topk_scaling_factor=2.5", "model.moe_aux_loss_coeff=0.1"]
DEEPSEEK += ["model.moe_z_loss_coeff=0.01"]
QWEN = [*LLAMA, "model.moe_router_topk=2", "model.moe_aux_loss_coeff=0.1"]
MODEL = plain.Model(layers=3, vocabulary=257, heads=4, groups=2, norm="rms", rotary_base=500000)
MODELS = {
    "deepseek": (
        DEEPSEEK,
        mixtures.Mixture(
            topk=4, score="sigmoid", groups=4, visited=2, scale=2.5, rate=0.01, balance=0.1, z=0.01
        ),
    ),
    "qwen": (QWEN, mixtures.Mixture(topk=2, balance=0.1)),
}
RUNS = some(
    {
        "deepseek, one rank": layout(ranks=1),
        "deepseek, 3D": layout(ranks=8, tp=2, pp=2, sp=True, ep=2, distopt=True),
        "deepseek, microbatch": layout(ranks=2, cp=2, mbs=4),
        "qwen, one rank": layout(ranks=1),
        "qwen, microbatch": layout(ranks=2, ep=2, mbs=4),
    },
    ["deepseek, one rank", "deepseek, 3D", "qwen, microbatch"],
)
LOSS, GRADIENT_NORM = 1e-6, 1e-6  # relative
WEIGHT = 2e-5  # absolute, where the largest has moved by 1e-2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for short documents: samples differ in how many of their tokens count."""
    return short_documents(tmp_path_factory.mktemp("mixtures-data"))


@pytest.fixture(scope="module")
def folder(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directories, by name."""
    folder = tmp_path_factory.mktemp("mixtures")
    jobs = [
        [*MODELS[name.split(",")[0]][0], *TRAINING, *data, *ranks, f"run.dir={place(folder, name)}"]
        for name, ranks in RUNS.items()
    ]
    codes = train_in_one_process(jobs, folder / "codes.json")
    assert codes == [0] * len(jobs), codes
    return folder


def place(folder: Path, name: str) -> Path:
    return folder / name.replace(", ", "-").replace(" ", "-")


def weights(folder: Path, name: str, step: int) -> plain.Weights:
    """The weights of a run after a step, biases among them."""
    return stored.weights(place(folder, name) / "checkpoints" / f"step-{step:08d}")


Trained = tuple[list[plain.Line], plain.Weights]


@pytest.fixture(scope="module")
def reference(folder: Path, data: list[str]) -> Callable[..., Trained]:
    """Train a model by plain PyTorch from the checkpoint before the first step, with the runs' samples."""

    @cache
    def train(kind: str, fault: str = "") -> Trained:
        overrides, mixture = MODELS[kind]
        samples = batches([*overrides, *TRAINING, *data], STEPS)
        first = next(name for name in RUNS if name.startswith(kind))
        return mixtures.train(MODEL, mixture, weights(folder, first, 0), samples, SETTINGS, fault)

    return train


def agree(folder: Path, name: str, trained: Trained) -> None:
    """Assert that a run has done what the reference did."""
    lines, expected = trained
    got = training_lines(place(folder, name))
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(got, lines, strict=True):
        assert one["loss"] == pytest.approx(other.loss, rel=LOSS), f"loss of step {one['step']}"
        assert one["grad_norm"] == pytest.approx(other.grad_norm, rel=GRADIENT_NORM), f"step {one['step']}"
    end = weights(folder, name, STEPS)
    assert end.keys() == expected.keys()
    for key, weight in expected.items():
        off = float((end[key] - weight).abs().max())
        assert off < WEIGHT, f"{key}: {off:.1e}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RUNS)
def test_it_trains_as_plain_pytorch_does(folder: Path, reference: Callable[..., Trained], name: str) -> None:
    agree(folder, name, reference(name.split(",")[0]))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", mixtures.FAULTS)
def test_each_planted_fault_is_noticed(folder: Path, reference: Callable[..., Trained], fault: str) -> None:
    """The fault is planted in the reference: the two disagree as if it were in the trainer."""
    with pytest.raises(AssertionError):
        agree(folder, "deepseek, one rank", reference("deepseek", fault=fault))


@pytest.mark.timeout(600)
def test_biases_have_moved_step_by_step(folder: Path) -> None:
    """Ten steps of 0.01 each: multiples of it, even ones, not all the same, at most ten."""
    ended = {n: w for n, w in weights(folder, "deepseek, one rank", STEPS).items() if n.endswith("bias")}
    assert set(ended) == {"1.bias", "2.bias"}
    for bias in ended.values():
        steps = bias / 0.01
        assert torch.allclose(steps, steps.round(), atol=1e-3) and steps.abs().max() <= STEPS
        assert steps.max() > 0 > steps.min()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RUNS)
def test_the_routing_is_told_as_plain_pytorch_counts_it(
    folder: Path, data: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Load and router's entropy of every step, from the scores and choices of the reference."""
    counted: list[tuple[torch.Tensor, float]] = []
    compute = mixtures.experts

    def noted(mixture: mixtures.Mixture, own: plain.Weights, bias: torch.Tensor, x: torch.Tensor, fault: str):
        logits = (x @ own["router"].T).detach()
        scores = logits.sigmoid() if mixture.score == "sigmoid" else logits.softmax(-1)
        shares = scores / scores.sum(-1, keepdim=True)
        chosen = mixtures.choose(mixture, scores + bias)
        entropy = float(-(shares * shares.log()).sum(-1).mean()) / log(shares.shape[-1])
        counted.append((chosen.sum((0, 1)), entropy))
        return compute(mixture, own, bias, x, fault)

    monkeypatch.setattr(mixtures, "experts", noted)
    kind = name.split(",")[0]
    overrides, mixture = MODELS[kind]
    samples = batches([*overrides, *TRAINING, *data], STEPS)
    mixtures.train(MODEL, mixture, weights(folder, name, 0), samples, SETTINGS)
    lines = lines_of(place(folder, name), "load")
    layers = len(lines[0]["places"])
    assert layers == {"deepseek": 2, "qwen": 3}[kind] and len(counted) == STEPS * layers
    for step, (line, told) in enumerate(zip(lines, training_lines(place(folder, name)), strict=True)):
        here = counted[step * layers : (step + 1) * layers]
        for load, (expected, _) in zip(line["load"], here, strict=True):
            assert load == pytest.approx((expected / expected.mean()).tolist(), abs=6e-4), f"step {step + 1}"
        mean = sum(entropy for _, entropy in here) / layers
        assert told["measures"]["router_entropy"] == pytest.approx(mean, rel=1e-5)
        unused = sum(int((load == 0).sum()) for load, _ in here) / (layers * 8)
        assert told["measures"]["unused_experts"] == unused
