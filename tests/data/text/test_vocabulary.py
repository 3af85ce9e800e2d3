"""A run's tokenizer: which one it is, and text that comes token by token."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Loaded
from tokenizers import decoders, models, normalizers, pre_tokenizers

from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.data.files import record_of
from slipway.data.keep import keep_tokenizer
from slipway.data.text import manifest
from slipway.data.text.config import Config as Data
from slipway.data.text.config import Tokenizer, text_of
from slipway.data.text.tokenizer import byte_tokenizer
from slipway.data.text.vocabulary import Unfolding, Vocabulary, vocabulary_of


def config_of(data: Data, run_dir: Path) -> RunConfig:
    composed = compose(["experiment=demo", f"run.dir={run_dir}"])
    return composed.model_copy(update={"data": data})


@pytest.fixture
def run(data_of: Callable[..., Data], tmp_path: Path) -> RunConfig:
    """A run on prepared bytes, which no training has begun; tests/generate has really prepared ones."""
    data = data_of(tmp_path / "text.txt")
    data.dir.mkdir()
    byte_tokenizer("<|endoftext|>").save(str(data.dir / manifest.TOKENIZER_NAME))
    record = manifest.TokenizerRecord(
        kind="byte",
        vocab_size=None,
        end_of_document="<|endoftext|>",
        end_of_document_id=256,
        entries=257,
        file=record_of(data.dir / manifest.TOKENIZER_NAME),
    )
    made = manifest.Manifest(tokenizer=record, token_type="uint16", sources={}, versions={})
    (data.dir / "manifest.json").write_text(manifest.to_text(made))
    return config_of(data, tmp_path / "run")


def test_the_data_s_until_the_run_has_a_copy(run: RunConfig) -> None:
    found = vocabulary_of(run)
    assert found.path == text_of(run).dir / "tokenizer.json"
    assert (found.entries, found.end_of_document, found.chat_template) == (257, 256, None)
    keep_tokenizer(run)
    for file in text_of(run).dir.iterdir():
        file.unlink()
    kept = vocabulary_of(run)
    assert kept.path == run.run.dir / "tokenizer" / "tokenizer.json"
    assert kept.json == found.json
    keep_tokenizer(run)  # nothing is prepared any more: the copy stays
    assert vocabulary_of(run).json == found.json


def test_an_imported_tokenizer_goes_when_another_is_trained_with(run: RunConfig) -> None:
    folder = run.run.dir / "tokenizer"
    folder.mkdir(parents=True)
    imported = byte_tokenizer("<eos>")
    imported.add_special_tokens(["<user>"])
    imported.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": {"content": "<eos>"}, "chat_template": "of the settings"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    found = vocabulary_of(run)
    assert (found.end_of_document, found.chat_template) == (256, "of the settings")
    assert found.encode("<user>", special_tokens=True) == [257]
    assert found.encode("<user>") == list(b"<user>")
    (folder / "chat_template.jinja").write_text("of its own")
    assert vocabulary_of(run).chat_template == "of its own"
    keep_tokenizer(run)
    assert [file.name for file in folder.iterdir()] == ["tokenizer.json"]
    assert vocabulary_of(run).entries == 257


def test_what_training_reads_again_is_left_alone(run: RunConfig) -> None:
    folder = run.run.dir / "tokenizer"
    keep_tokenizer(run)
    (folder / "chat_template.jinja").write_text("mine")
    before = (folder / "tokenizer.json").stat()
    keep_tokenizer(run)
    assert (folder / "tokenizer.json").stat().st_ino == before.st_ino
    assert vocabulary_of(run).chat_template == "mine"


def test_which_runs_have_none(run: RunConfig) -> None:
    path = text_of(run).dir / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    with refused("data.dir", value=path):
        vocabulary_of(run)
    path.unlink()
    with refused(
        "run.dir", run.run.dir / "tokenizer" / "tokenizer.json", text_of(run).dir, value=run.run.dir
    ):
        vocabulary_of(run)
    folder = run.run.dir / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    with refused(folder / "tokenizer.json"):
        vocabulary_of(run)
    with refused("data.kind", value="imagery"):
        vocabulary_of(compose(["experiment=demo_earth"]))


def test_without_an_end_mark(run: RunConfig, tmp_path: Path) -> None:
    folder = run.run.dir / "tokenizer"
    folder.mkdir(parents=True)
    byte_tokenizer("<eos>").save(str(folder / "tokenizer.json"))
    found = vocabulary_of(config_of(text_of(run).model_copy(update={"tokenizer": Tokenizer()}), run.run.dir))
    assert found.end_of_document is None
    assert found.encode("a<eos>") == list(b"a<eos>")


def test_a_text_without_a_token(tmp_path: Path) -> None:
    tokenizer = Loaded(models.WordPiece({"a": 0}, unk_token="?"))
    with refused("text"):
        Vocabulary(tmp_path, tokenizer.to_str(), None, None).encode("b")


def llama2() -> Any:
    """As Llama 2's, which falls back on bytes and writes a space in front: letters, words, all bytes."""
    entries = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abé東", "▁a", "ab"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    merges = [("▁", "a"), ("a", "b")]
    tokenizer = Loaded(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def metaspace() -> Any:
    tokenizer = Loaded(
        models.Unigram([("<unk>", 0.0), *((c, -1.0) for c in "▁abé東"), ("▁a", -1.5)], unk_id=0)
    )
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return tokenizer


BYTES = Vocabulary(Path(), byte_tokenizer("<eos>").to_str(), 256, None)
UNLIKE = [BYTES, *(Vocabulary(Path(), make().to_str(), None, None) for make in (llama2, metaspace))]


def unfolded(vocabulary: Vocabulary, before: list[int], tokens: list[int]) -> list[str]:
    unfolding = Unfolding(vocabulary, before)
    return [*map(unfolding.add, tokens), unfolding.end()]


@settings(max_examples=200, deadline=None)
@given(vocabulary=st.sampled_from(UNLIKE), text=st.text(" abé東🚀", max_size=20), cut=st.integers(0, 20))
def test_text_comes_piece_by_piece(vocabulary: Vocabulary, text: str, cut: int) -> None:
    tokens = vocabulary.encode(text)
    before, after = tokens[:cut], tokens[cut:]
    pieces = unfolded(vocabulary, before, after)
    whole, begun = vocabulary.decode(tokens), vocabulary.decode(before)
    if not begun.endswith("\ufffd"):  # a prompt is whole characters
        assert begun + "".join(pieces) == whole
        assert not any("\ufffd" in piece for piece in pieces)


@settings(max_examples=200, deadline=None)
@given(before=st.text(max_size=5), after=st.lists(st.integers(0, 300) | st.sampled_from([0xE2, 0x82, 0xAC])))
def test_what_is_no_text_comes_too(before: str, after: list[int]) -> None:
    """An untrained model's tokens: any bytes, and numbers that the tokenizer has no entry for."""
    prompt = BYTES.encode(before)
    assert before + "".join(unfolded(BYTES, prompt, after)) == BYTES.decode(prompt + after)


def test_no_character_is_torn() -> None:
    assert unfolded(BYTES, [], list("é東a".encode())) == ["", "é", "", "", "東", "a", ""]
    assert unfolded(BYTES, [97], [0xE6, 0x9D]) == ["", "", "\ufffd"]
