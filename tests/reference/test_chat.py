"""Fine-tuning on conversations against plain PyTorch: the loss is a mean over the tokens of the assistant.

Samples differ much in how many of their tokens count, and so do the microbatches and the ranks that read them.
"""

import random
from functools import cache
from pathlib import Path

import pytest
import torch

from conversations import CHATML, turns, write_lines, write_tokenizer
from reference import plain, stored
from slipway.config.compose import compose
from slipway.data.chat.dataset import open_dataset
from slipway.data.kind import Split
from slipway.data.ledger import DataLedger
from training import layout, lines_of, train_in_one_process

STEPS = 4
SETTINGS = plain.Settings(
    steps=STEPS, lr=2e-3, min_lr=2e-4, warmup=1, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-6, clip=1.0
)
MODEL = plain.Model(layers=2, vocabulary=262, heads=4, groups=4)
TRAINING = [
    *("model=demo", "model.num_layers=2", "model.hidden_size=32", "model.num_attention_heads=4"),
    *("model.vocab_size=262", "model.max_position_embeddings=96", "model.ffn_hidden_size=64"),
    "model.position_embedding_type=learned_absolute",
    f"training.steps={STEPS}",
    "training.global_batch_size=8",
    "training.micro_batch_size=1",
    *(f"optimizer.lr={SETTINGS.lr}", f"optimizer.min_lr={SETTINGS.min_lr}"),
    *(f"optimizer.lr_warmup_steps={SETTINGS.warmup}", f"optimizer.weight_decay={SETTINGS.weight_decay}"),
    *(f"optimizer.eps={SETTINGS.eps}", f"optimizer.clip_grad={SETTINGS.clip}"),
    *("validation.steps=1", "validation.interval=1000"),
    *("checkpoint.interval=0", "checkpoint.keep_last=null"),
    "guard.on_nonfinite=rollback",  # so that there is a checkpoint before the first step
    "logging.interval=1000",
]
RUNS = {
    "one rank": layout(ranks=1),
    "3D": layout(ranks=8, tp=2, pp=2, sp=True, distopt=True),
    "CP": layout(ranks=2, cp=2, mbs=2),  # which may leave a rank without a token that counts
}
LOSS, GRADIENT_NORM, WEIGHT = 1e-6, 1e-6, 1e-5  # relative, relative, absolute


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for conversations of which the assistant says a little or nearly all."""
    folder = tmp_path_factory.mktemp("chat-data")
    rng = random.Random(7)

    def words(most: int) -> str:
        return "a" + "".join(rng.choices("abcdefgh \n", k=rng.randint(0, most)))

    said = [
        turns(*(words(rng.choice((2, 20))) for _ in range(2 * rng.randint(1, 2))), system="x")
        for _ in range(150)
    ]
    write_tokenizer(folder / "tokenizer", CHATML)
    return [
        "data=chat",
        f"data.sources.chat.inputs=[{write_lines(folder / 'a.jsonl', said)}]",
        f"data.tokenizer.path={folder / 'tokenizer'}",
        f"data.dir={folder / 'prepared'}",
        "data.split=[0.7,0.3,0]",
        "data.sequence_length=96",
    ]


@pytest.fixture(scope="module")
def folder(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directories, by name."""
    folder = tmp_path_factory.mktemp("chat")
    jobs = [[*TRAINING, *data, *RUNS[name], f"run.dir={folder / name}"] for name in RUNS]
    codes = train_in_one_process(jobs, folder / "codes.json")
    assert codes == [0] * len(jobs), codes
    return folder


def batches(data: list[str], split: Split, steps: int) -> list[plain.Batch]:
    """Every step's samples, in the order in which a run draws them."""
    config = compose([*TRAINING, *data])
    size = config.training.global_batch_size
    dataset = open_dataset(config, split)
    drawn = DataLedger.begin(config.training.seed, {"chat": 1.0}, {}).draw(size * steps)
    samples = [dataset[draw] for draw in drawn]
    dataset.close()
    return [
        {name: torch.stack([sample[name] for sample in samples[start : start + size]]) for name in samples[0]}
        for start in range(0, len(samples), size)
    ]


def weights(folder: Path, name: str, step: int) -> plain.Weights:
    return stored.weights(folder / name / "checkpoints" / f"step-{step:08d}")


Trained = tuple[list[plain.Line], plain.Weights]


@pytest.fixture(scope="module")
def reference(folder: Path, data: list[str]):
    @cache
    def train(fault: str = "") -> Trained:
        return plain.train(
            MODEL, weights(folder, "one rank", 0), batches(data, "training", STEPS), SETTINGS, fault=fault
        )

    return train


def agree(folder: Path, name: str, trained: Trained) -> None:
    lines, expected = trained
    got = lines_of(folder / name, "train")
    assert [line["step"] for line in got] == list(range(1, STEPS + 1))
    for one, other in zip(got, lines, strict=True):
        assert one["loss"] == pytest.approx(other.loss, rel=LOSS), f"loss of step {one['step']}"
        assert one["grad_norm"] == pytest.approx(other.grad_norm, rel=GRADIENT_NORM), f"step {one['step']}"
    end = weights(folder, name, STEPS)
    assert end.keys() == expected.keys()
    for key, weight in expected.items():
        assert float((end[key] - weight).abs().max()) < WEIGHT, key


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RUNS)
def test_it_trains_as_plain_pytorch_does(folder: Path, reference, name: str) -> None:
    agree(folder, name, reference())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RUNS)
def test_validation_is_a_mean_over_the_assistants_tokens(folder: Path, data: list[str], name: str) -> None:
    [batch] = batches(data, "validation", 1)
    counted = batch["loss_mask"].sum(1)
    assert counted.max() > 3 * counted.min(), "samples differ in what counts"
    for step, line in zip((0, STEPS), lines_of(folder / name, "validation"), strict=True):
        assert line["step"] == step
        each, _ = plain.losses(
            MODEL, {key: weight.double() for key, weight in weights(folder, name, step).items()}, batch
        )
        assert line["loss"] == pytest.approx(float(each.sum() / counted.sum()), rel=LOSS)


@pytest.mark.timeout(600)
def test_a_mean_over_samples_is_noticed(folder: Path, reference) -> None:
    for name in RUNS:
        with pytest.raises(AssertionError):
            agree(folder, name, reference("averaged over samples"))


def test_a_run_keeps_its_tokenizer_and_template(folder: Path, data: list[str]) -> None:
    """Generation and export find them, wherever the prepared data has gone."""
    from slipway.checkpoint import store
    from slipway.data.text.vocabulary import vocabulary_of
    from slipway.handover.tokenizer_out import exported

    run, gone = folder / "one rank", folder / "gone"
    (prepared,) = (word.partition("=")[2] for word in data if word.startswith("data.dir="))
    config = compose([*TRAINING, *data, f"run.dir={run}"])
    info = store.read_info(run / "checkpoints" / f"step-{STEPS:08d}")
    for place in (prepared, gone):
        config = compose([*TRAINING, *data, f"run.dir={run}", f"data.dir={place}"])
        vocabulary = vocabulary_of(config)
        assert vocabulary.chat_template == CHATML
        assert vocabulary.end_of_document == 257
        assert vocabulary.tokenizer.id_to_token(257) == "<|im_end|>"
        kept = exported(config, info, 96)
        assert kept.end_of_document == 257
        assert kept.contents["chat_template.jinja"].decode() == CHATML
