import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.data.text.fast_bpe.characters import PADDING
from slipway.data.text.fast_bpe.word_memory import WordMemory

WORDS = st.lists(
    st.binary(min_size=1, max_size=20) | st.sampled_from([b"a", b"b", b"a" * 15, b"a" * 16]), min_size=1
)


def encode(memory: WordMemory, words: list[bytes]) -> list[list[int]]:
    starts = np.cumsum([0, *map(len, words)])[:-1]
    tokens, ends = memory.encode(b"".join(words) + bytes(PADDING), starts)
    return [part.tolist() for part in np.split(tokens, ends[:-1])]


@settings(max_examples=150)
@given(batches=st.lists(WORDS, min_size=1, max_size=6), most_words=st.integers(1, 60))
def test_every_word_has_its_tokens(batches: list[list[bytes]], most_words: int) -> None:
    """Here a word's bytes are its tokens, but for some, which have none."""
    memory = WordMemory(lambda words: [[*word.removeprefix(b"a")] for word in words], np.uint16, most_words)
    for words in batches:
        assert encode(memory, words) == [[*word.removeprefix(b"a")] for word in words]
        assert memory.known <= most_words


def test_asks_once_for_a_word_that_comes_again() -> None:
    asked: list[bytes] = []

    def tokenize(words: list[bytes]) -> list[list[int]]:
        asked.extend(words)
        return [[len(word)] for word in words]

    memory = WordMemory(tokenize, np.uint16)
    words = [b"short", b"as long as they get", b"and one that is longer still"]
    for batch in ([*words, words[1]], words, [*words, *words]):
        assert encode(memory, batch) == [[len(word)] for word in batch]
    assert [asked.count(word) for word in words] == [1, 1, 1]
    many = [number.to_bytes(3, "big") for number in range(1, 5000)]
    for _ in range(2):
        encode(memory, many)
    assert len(asked) == 3 + len(many)
