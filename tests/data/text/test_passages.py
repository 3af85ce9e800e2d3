"""Documents in windows: each token predicted once, as lm-evaluation-harness cuts texts; what a loss over them means."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows

from slipway.data.text.passages import Passages, Rules, Text, count_words, measures, windows

END = 7
lengths = st.lists(st.integers(0, 40), min_size=1, max_size=6)


def passages(
    sizes: list[int], context: int, stride: int, end_marks: bool = False, apart: bool = False
) -> Passages:
    """Documents whose tokens are numbered from 100 on, so that each is told from the others."""
    tokens = []
    for size in sizes:
        tokens += [*range(100 + len(tokens), 100 + len(tokens) + size), END]
    made = np.array(tokens, np.int32)
    text = Text("some", made, np.array([size + 1 for size in sizes]), bytes=10, words=3)
    return Passages(text, Rules(context, stride, END, end_marks, apart))


@given(st.integers(0, 60), st.integers(1, 17), st.data())
def test_each_token_is_predicted_once_with_as_much_context_as_there_is_room_for(
    tokens: int, context: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, context))
    cut = windows(tokens, context, stride).tolist()
    assert [token for _, first, stop in cut for token in range(first, stop)] == list(range(tokens))
    for number, (start, first, stop) in enumerate(cut):
        assert stop - start == min(context, stop) and start <= first < stop
        assert stop - first == (min(context, tokens) if number == 0 else min(stride, tokens - first))


@given(lengths, st.integers(1, 12))
def test_a_stride_as_long_as_the_context_gives_the_harnesss_windows(sizes: list[int], context: int) -> None:
    ours = passages(sizes, context, context)
    found = []
    for number in range(len(ours)):
        batch = ours.batch([number], 1, cut=True)
        counted = batch["loss_mask"][0] > 0
        found.append((batch["tokens"][0].tolist(), batch["labels"][0][counted].tolist()))
    theirs = []
    begin = 0
    for size in sizes:
        document = ours.text.tokens[begin : begin + size].tolist()
        theirs += list(get_rolling_token_windows(document, END, context, 1))
        begin += size + 1
    assert sorted(found) == sorted(theirs)


@given(lengths, st.integers(2, 12), st.booleans(), st.booleans(), st.data())
def test_batches_hold_every_window_and_count_nothing_else(
    sizes: list[int], context: int, end_marks: bool, apart: bool, data: st.DataObject
) -> None:
    ours = passages(sizes, context, data.draw(st.integers(1, context)), end_marks, apart)
    rows, counted = data.draw(st.integers(1, 4)), []
    for first in range(0, len(ours), rows):
        batch = ours.batch(range(first, min(first + rows, len(ours))), rows, cut=False)
        assert {field.shape for field in batch.values()} == {(rows, context)}
        assert ("document_starts" in batch) == apart
        mask = batch["loss_mask"] > 0
        counted += batch["labels"][mask].tolist()
        seen = batch["tokens"][:, 1:][
            mask[:, 1:]
        ]  # what a counted label follows, where it does not come first
        assert set(seen.tolist()) <= {END, *ours.text.tokens.tolist()}
        follows = batch["labels"][:, :-1] == batch["tokens"][:, 1:]
        assert follows[mask[:, 1:]].all()
    expected = [token for token in ours.text.tokens.tolist() if end_marks or token != END]
    assert sorted(counted) == sorted(expected) and len(counted) == ours.predicted


def test_a_rank_without_windows_gets_a_batch_that_counts_nothing() -> None:
    batch = passages([3], 5, 5).batch([], 2, cut=False)
    assert batch["tokens"].shape == (2, 5) and not batch["loss_mask"].any()


def test_measures_are_the_harnesss() -> None:
    from lm_eval.api.metrics import bits_per_byte, weighted_perplexity

    items = [(-12.5, 20), (-7.25, 11)]
    found = measures(19.75, 8, 31, 31)
    assert found["bits_per_byte"] == pytest.approx(bits_per_byte(items))
    assert found["byte_perplexity"] == found["word_perplexity"] == pytest.approx(weighted_perplexity(items))
    assert found["perplexity"] == pytest.approx(math.exp(19.75 / 8))


@given(st.text(max_size=40))
def test_words_are_counted_as_the_harness_counts_them(text: str) -> None:
    from lm_eval.api.task import PerplexityTask

    assert count_words(text) == PerplexityTask.count_words(text)


def test_what_no_float_holds_is_left_out() -> None:
    assert set(measures(1e5, 1000, 1000, 1)) == {"perplexity", "bits_per_byte", "byte_perplexity"}
