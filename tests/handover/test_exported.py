"""A run that eight ranks have trained, as transformers loads it: its loss, its tokens, and its card."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import ModelCard

from slipway.checkpoint import store
from slipway.cli import main
from slipway.data import kind_of
from slipway.data.ledger import Draw
from slipway.data.text.vocabulary import vocabulary_of
from slipway.metrics import evaluations
from slipway.models.evaluation import Result, Score
from slipway.runs.chosen import trained
from training import SMALL, layout, train_in_one_process, training_lines

pytestmark = pytest.mark.timeout(600)
STEPS, BATCH, LENGTH = 3, 8, 32


@pytest.fixture(scope="module")
def run(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's layout, TP2 x PP2 x DP2, on heads of 32."""
    folder = tmp_path_factory.mktemp("trained")
    job = [
        *SMALL,
        *corpus,
        *layout(ranks=8, tp=2, pp=2),
        "model.num_attention_heads=2",
        f"training.steps={STEPS}",
        "validation.steps=1",
        "data.split=[0.6,0.4,0.0]",
        "run.name=eight",
        f"run.dir={folder / 'run'}",
    ]
    assert train_in_one_process([job], folder / "codes") == [0]
    return folder / "run"


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = Result(
        name="answers",
        title="Answers of a kind",
        step=STEPS,
        scores=[Score(what="trained", measure="acc", values=[0.25])],
        how="By hand | with signs.",
    )
    evaluations.write(run, found)
    evaluations.write(run, found.model_copy(update={"step": 1, "title": "An older one"}))
    target = tmp_path_factory.mktemp("exported") / "model"
    words = ["--license", "apache-2.0", "--author", "A. <b>Author</b>", "--shard-size", "100KB"]
    assert main(["export", "hf", f"run.dir={run}", f"to={target}", *words]) == 0
    return target


def test_transformers_finds_the_loss_that_the_run_has_on_record(run: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    model, found = loaded
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), found
    config = trained(run)
    data = kind_of(config).open(config, "validation")
    samples = [data[Draw("files", number)] for number in range(BATCH)]
    data.close()
    batch = {name: torch.stack([torch.as_tensor(one[name]) for one in samples]) for name in samples[0]}
    with torch.no_grad():
        logits = model(input_ids=batch["tokens"]).logits
    each = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="none")
    mask = batch["loss_mask"].flatten()
    loss = ((each * mask).sum() / mask.sum()).item()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first, recorded = [line["loss"] for line in lines if line["kind"] == "validation"]
    assert abs(loss - recorded) < 1e-4
    assert recorded < first - 0.1, "it is that of the trained weights"


def test_its_tokenizer_encodes_as_ours(run: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(folder), vocabulary_of(trained(run))
    for text in ("def f(x):\n    return 'ä€𝄞'  # x", "", "  spaces\t\n"):
        tokens = theirs(text)["input_ids"]
        assert tokens == ours.encode(text) and theirs.decode(tokens) == text
    assert theirs.eos_token_id == ours.end_of_document == 256
    assert theirs.model_max_length == LENGTH


def _front(card: ModelCard) -> dict[str, str]:
    """The front matter, without the tags."""
    return {name: value for name, value in card.data.to_dict().items() if name != "tags"}


def test_the_card_says_what_the_run_has_on_record_and_no_more(run: Path, folder: Path) -> None:
    card = ModelCard.load(folder / "README.md")
    assert _front(card) == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
    }
    text = card.text
    (checkpoint,) = store.complete(run)
    info = store.read_info(checkpoint)
    for fact in info.data.facts["files"].values():
        assert (fact if isinstance(fact, str) else json.dumps(fact)) in text
    assert f"{STEPS * BATCH * LENGTH:,} tokens" in text
    assert "TP2 × PP2 × DP2 on 8 cpu devices" in text and f"torch {info.versions['torch']}" in text
    assert f"{training_lines(run)[-1]['loss']:.6g}" in text
    assert "| trained | 0.25 |" in text and "An older one" not in text
    assert "device-hours" in text and "<b>" not in text
    assert "kWh" not in text, "no counter, and a profile without watts: nothing is known"


def test_what_is_not_given_is_said_to_be_unknown(run: Path, tmp_path: Path) -> None:
    assert main(["export", "hf", f"run.dir={run}", f"to={tmp_path / 'model'}"]) == 0
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert "license" not in _front(card)
    assert "author is not stated" in card.text and "licence is not stated" in card.text
