"""Samples that are made up to measure with are like real ones, whatever the family and its kind of data."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import chips
from refusals import refused
from slipway.bench import batches
from slipway.bench.options import configuration
from slipway.data import kind_of
from slipway.data.ledger import Draw
from slipway.data.randomness import SEED_FIELD


def test_made_up_chips_have_the_fields_and_shapes_of_prepared_ones(tmp_path: Path) -> None:
    config = configuration([], [*chips.TINY, *chips.write(tmp_path), "training.micro_batch_size=2"], tmp_path)
    dataset = kind_of(config).open(config, "training")
    real = dataset[Draw("any", 0)]
    dataset.close()
    made_up = batches.random_batch(config)
    assert set(made_up) == {*real, SEED_FIELD}
    for name, values in real.items():
        assert made_up[name].shape == (2, *values.shape), name
        assert made_up[name].dtype == values.dtype, name
    assert made_up[SEED_FIELD].dtype == torch.int64
    normal = (made_up["pixels"].float() - made_up["mean"][0, 0]) / made_up["std"][0, 0]
    assert float(normal.mean()) == pytest.approx(0, abs=0.1)
    assert float(normal.std()) == pytest.approx(1, abs=0.1)
    assert (made_up["dates"][:, 1:, 1] >= made_up["dates"][:, :-1, 1]).all()
    first, second = made_up["pixels"]
    assert (first != second).any(), "samples differ"
    assert torch.equal(batches.random_batch(config)["pixels"], made_up["pixels"]), "and are the same again"


@pytest.mark.parametrize("entries", [3, 250])
def test_made_up_text_is_of_the_models_vocabulary_and_its_labels_are_the_next_tokens(entries: int) -> None:
    words = [f"model.vocab_size={entries}", "model.max_position_embeddings=64", "training.micro_batch_size=3"]
    config = configuration([], [*words, "data.reset_attention_mask=true"], Path("run"))
    batch = batches.random_batch(config)
    tokens = batch["tokens"]
    assert tokens.shape == batch["labels"].shape == batch["loss_mask"].shape == (3, 64)
    assert int(tokens.min()) >= 0 and int(tokens.max()) < entries
    assert torch.equal(tokens[:, 1:], batch["labels"][:, :-1])
    assert batch["document_starts"].unique().tolist() == [0, 16, 32, 48]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "any_text"),
        (["model=llama3_8b"], "any_text"),
        (["model=llama3_8b", "data=files", "data.sources.files.inputs=[nowhere]"], "files"),
        (["model=prithvi_eo2_300m"], "any_imagery"),
        (
            ["model=prithvi_eo2_300m", "data=sentinel2", "data.sources.sentinel2.inputs=[nowhere]"],
            "sentinel2",
        ),
        (["experiment=demo_earth"], "any_imagery"),
    ],
)
def test_data_that_is_not_chosen_is_of_the_models_kind(words: list[str], name: str) -> None:
    defaults = ["data.sequence_length=32", "training.seed=9"]
    config = configuration(defaults, words, Path("run"))
    assert config.data.name == name


def test_a_kind_that_makes_up_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration([], [], Path("run"))
    monkeypatch.setattr(batches, "kind_of", lambda _: SimpleNamespace())
    with refused("data.kind", value="text"):
        batches.random_batch(config)
