import json
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Loaded

from slipway.config.schema import Source, Tokenizer
from slipway.data.inputs import InputFile, find_inputs
from slipway.data.sample import sample_documents
from slipway.data.tokenizer import byte_tokenizer, check_asked, end_of_document_id, make_tokenizer
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
        "import sys; from slipway.config.schema import Source, Tokenizer; "
        "from slipway.data.inputs import find_inputs; from slipway.data.tokenizer import make_tokenizer; "
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
    with pytest.raises(UserError, match="data.tokenizer.vocab_size: 256 .* 257"):
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
