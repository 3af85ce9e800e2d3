"""Small texts with everything that tokenizers trip over, and tokenizers for them."""

import random
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.data.text.config import Config as Data
from slipway.data.text.config import Source, Tokenizer

WORDS = [
    "the",
    "of",
    "model's",
    "we'll",
    "it's",
    "they've",
    "I'd",
    "12",
    "3.14",
    "naïve",
    "Zürich",
    "東京",
    "данные",
]
WORDS += ["½", "²", "e\u0301", "🚀", "\u00a0", "\u2003", "[x]", "__init__", "'''", "!=", "\t"]


def make_text(seed: int, words: int) -> str:
    """Words of several scripts in lines, the same for the same seed."""
    chosen = random.Random(seed)
    return "".join(
        chosen.choice(WORDS) + chosen.choice([" ", " ", " ", "  ", "\n", "\n\n", "\r\n"])
        for _ in range(words)
    )


@pytest.fixture(scope="session")
def text_maker() -> Callable[[int, int], str]:
    """make_text, for tests that need more."""
    return make_text


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Documents: some source code, some text of many scripts."""
    library = Path(sysconfig.get_path("stdlib"))
    code = [
        (library / name).read_text() for name in ("argparse.py", "ast.py", "json/decoder.py", "textwrap.py")
    ]
    return [*code, *(make_text(seed, 40 + 7 * seed) for seed in range(60))]


@pytest.fixture(scope="session")
def bpe(texts: list[str]) -> Any:
    """A byte-level BPE tokenizer of 600 entries that was trained on the texts."""
    from tokenizers import Tokenizer as Trained
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = Trained(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    with pytest.MonkeyPatch.context() as patch:
        # A process whose children train tokenizers must not have the library's threads itself.
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.fixture
def data_of(tmp_path: Path) -> Callable[..., Data]:
    """Makes the section `data` for inputs, with bytes as tokens unless a tokenizer is given."""

    def make(*inputs: Path | str, folder: str = "prepared", **changes: Any) -> Data:
        settings = {"tokenizer": Tokenizer(kind="byte"), "sequence_length": 16, "workers": 1} | changes
        source = Source(inputs=[str(path) for path in inputs], text_key=settings.pop("text_key", "text"))
        return Data(name="test", dir=tmp_path / folder, sources={"some": source}, **settings)

    return make
