import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Loaded

from refusals import refused
from slipway.data.text.config import Source, Tokenizer
from slipway.data.text.end_mark import end_of_document_id
from slipway.data.text.inputs import InputFile, find_inputs
from slipway.data.text.sample import sample_documents
from slipway.data.text.tokenizer import byte_tokenizer, check_asked, make_tokenizer
from slipway.errors import UserError


@pytest.fixture
def corpus(tmp_path: Path, texts: list[str]) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def inputs_of(*paths: Path) -> tuple[dict[str, list[InputFile]], dict[str, Source]]:
    source = Source(inputs=[str(path) for path in paths])
    return {"some": find_inputs("some", source)}, {"some": source}


def train(path: Path, vocab_size: int, threads: int) -> str:
    """In a process of its own, as always: children of one that has the library's threads cannot train."""
    code = (
        "import sys; from slipway.data.text.config import Source, Tokenizer; "
        "from slipway.data.text.inputs import find_inputs; from slipway.data.text.tokenizer import make_tokenizer; "
        "sources = {'some': Source(inputs=[sys.argv[1]])}; "
        "files = {'some': find_inputs('some', sources['some'])}; "
        "sys.stdout.write(make_tokenizer(Tokenizer(vocab_size=int(sys.argv[2])), files, sources, int(sys.argv[3])))"
    )
    command = [sys.executable, "-c", code, str(path), str(vocab_size), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    if done.returncode:
        raise UserError(done.stderr.splitlines()[-1])
    return done.stdout


def test_same_tokenizer_from_any_number_of_threads(corpus: Path) -> None:
    made = [train(corpus, 500, threads) for threads in (1, 3, 3)]
    assert made[0] == made[1] == made[2]
    tokenizer = Loaded.from_str(made[0])
    assert tokenizer.get_vocab_size() == 500
    assert tokenizer.token_to_id("<|endoftext|>") == 0


def test_no_text_is_unknown(corpus: Path) -> None:
    tokenizer = Loaded.from_str(train(corpus, 300, 1))
    for text in ("\U0010ffff\x00\x7f", "Ελληνικά ไทย עברית", " \n\t\r "):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_bytes_are_tokens() -> None:
    tokenizer = byte_tokenizer("<|end|>")
    assert tokenizer.get_vocab_size() == 257
    assert tokenizer.token_to_id("<|end|>") == 256
    every_byte = "".join(map(chr, range(128))) + "é東🚀"
    assert tokenizer.encode(every_byte).ids == list(every_byte.encode())
    assert tokenizer.decode(list(every_byte.encode())) == every_byte


def test_what_cannot_be(corpus: Path, tmp_path: Path) -> None:
    with refused("data.tokenizer.vocab_size", value=256, use="257"):
        check_asked(Tokenizer(vocab_size=256))
    check_asked(Tokenizer(vocab_size=257))
    with pytest.raises(UserError, match=r"100000 is too large for the text: .* allowed: 257 to \d+"):
        train(corpus, 100000, 1)
    with pytest.raises(UserError, match="data.tokenizer.path: .*no such file"):
        check_asked(Tokenizer(kind="file", path=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="a.jsonl is not a tokenizer.json"):
        make_tokenizer(Tokenizer(kind="file", path=corpus), *inputs_of(corpus), threads=1)
    asked = Tokenizer(kind="file", path=tmp_path / "t.json", end_of_document="</s>")
    with pytest.raises(
        UserError, match=r"data.tokenizer.end_of_document: </s> is not in the vocabulary .*<\|end\|>"
    ):
        end_of_document_id(byte_tokenizer("<|end|>"), asked)


def with_parts(change: Callable[[dict[str, Any]], object]) -> str:
    """A tokenizer.json of bytes with something else in it."""
    parts = json.loads(byte_tokenizer("<|end|>").to_str())
    change(parts)
    return json.dumps(parts)


def drop(entry: str) -> Callable[[dict[str, Any]], object]:
    return lambda parts: parts["model"]["vocab"].pop(entry)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: parts["model"].update(dropout=0.1), "at random .model.dropout 0.1"),
        (drop("\u0120"), "no model.unk_token and lacks 1 of the bytes, the first 0x20"),
        (lambda parts: parts.update(pre_tokenizer=None), "no model.unk_token and no bytes to fall back on"),
        (lambda parts: parts["model"].update(byte_fallback=True), "lacks 243 of the bytes"),
        (lambda parts: parts["model"].update(type="Nothing"), "is not a tokenizer.json: "),
    ],
)
def test_a_file_that_keeps_no_promise(
    corpus: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = tmp_path / "t.json"
    path.write_text(with_parts(change))
    with pytest.raises(UserError, match=f"data.tokenizer.path: .*t.json .*{message}"):
        make_tokenizer(Tokenizer(kind="file", path=path), *inputs_of(corpus), threads=1)


def unknown(parts: dict[str, Any]) -> None:
    parts["model"].update(unk_token="<|end|>")
    parts["model"]["vocab"]["<|end|>"] = 256


def merged(parts: dict[str, Any]) -> None:
    parts["model"].update(merges=[["<", ">"]], vocab={**parts["model"]["vocab"], "<>": 256})
    parts["added_tokens"] = [{**parts["added_tokens"][0], "content": "<>", "special": False}]


@pytest.mark.parametrize(
    ("change", "mark", "message"),
    [
        (lambda parts: None, "a", "a, which .* ordinary entry .*allowed: one of its special tokens .<.end.>"),
        (unknown, "<|end|>", "stands for what is not in the vocabulary"),
        (merged, "<>", "merged from other tokens"),
    ],
)
def test_a_mark_that_text_can_hold(
    change: Callable[[dict[str, Any]], object], mark: str, message: str
) -> None:
    tokenizer = Loaded.from_str(with_parts(change))
    with pytest.raises(UserError, match=f"data.tokenizer.end_of_document: .*{message}"):
        end_of_document_id(tokenizer, Tokenizer(kind="file", end_of_document=mark))


def test_sample_is_everything_where_it_fits(corpus: Path, texts: list[str]) -> None:
    assert list(sample_documents(*inputs_of(corpus), size=1 << 30)) == texts


@pytest.mark.parametrize("length", [50, 5_000, 50_000])
def test_sample_is_bounded_and_spread(tmp_path: Path, length: int) -> None:
    size = 400_000
    paths = []
    for name in ("a.jsonl", "b.jsonl", "c.txt"):
        paths.append(tmp_path / name)
        with open(paths[-1], "w") as file:
            for i in range(2_000_000 // length):
                text = f"{name[0]}{i} ".ljust(length, "x")
                file.write(json.dumps({"text": text}) + "\n" if name.endswith("l") else text + "\n")
    texts = list(sample_documents(*inputs_of(*paths), size=size))
    read = sum(map(len, texts))
    assert 0.2 * size <= read <= 1.5 * size
    for letter in "abc":
        share = sum(len(text) for text in texts if text.startswith(letter))
        assert 0.15 * read <= share <= 0.55 * read
    if length < 50_000:  # the last tenth of each file is seen, too
        numbers = [int(text.split()[0][1:]) for text in texts if text.startswith("b")]
        assert max(numbers) > 0.9 * 2_000_000 // length
