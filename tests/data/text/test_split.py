import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusals import refused
from slipway.data.text.split import better_split, check_split, document_counts
from slipway.errors import UserError

SHARES = st.floats(0, 1000, allow_subnormal=False).map(lambda share: round(share, 4))


@settings(max_examples=300)
@given(st.integers(0, 10**6), st.tuples(SHARES, SHARES, SHARES).filter(lambda shares: sum(shares) > 0))
def test_as_megatron_splits(documents: int, split: tuple[float, float, float]) -> None:
    config = pytest.importorskip("megatron.core.datasets.blended_megatron_dataset_config")
    import numpy as np

    text = ",".join(np.format_float_positional(share) for share in split)
    matrix: list[Any] = config.convert_split_vector_to_split_matrix(config.parse_and_normalize_split(text))
    theirs = [
        0
        if borders is None
        else int(round(borders[1] * float(documents))) - int(round(borders[0] * float(documents)))
        for borders in matrix
    ]
    assert list(document_counts(documents, split)) == theirs


@pytest.mark.parametrize(
    ("documents", "split", "counts"),
    [
        (730, (0.98, 0.01, 0.01), (715, 8, 7)),
        (10, (0.98, 0.01, 0.01), (10, 0, 0)),
        (10, (8, 1, 1), (8, 1, 1)),
        (3, (1, 0, 0), (3, 0, 0)),
        (0, (1, 1, 1), (0, 0, 0)),
    ],
)
def test_counts(documents: int, split: tuple[float, float, float], counts: tuple[int, int, int]) -> None:
    assert document_counts(documents, split) == counts


WANTED = st.tuples(st.just(True), st.booleans(), st.booleans())


@given(st.lists(st.integers(1, 500), min_size=1, max_size=4), st.tuples(SHARES, SHARES, SHARES), WANTED)
def test_what_is_offered_would_do(
    documents: list[int], split: tuple[float, float, float], wanted: tuple[bool, bool, bool]
) -> None:
    better = better_split(documents, split, wanted)
    if better is None:
        assert min(documents) < 5  # there is little to share out
        return
    assert sum(better) == pytest.approx(1)
    for count in documents:
        assert all(
            part for part, is_wanted in zip(document_counts(count, better), wanted, strict=True) if is_wanted
        )


def test_the_message_offers_it() -> None:
    data: Any = SimpleNamespace(split=(0.98, 0.01, 0.01), sources={"stdlib": None})
    manifest: Any = SimpleNamespace(sources={"stdlib": SimpleNamespace(documents=24)})
    with pytest.raises(UserError) as error:
        check_split(data, manifest, (True, True, False))
    [offered] = re.findall(r"\[\S+\]", error.value.use)
    data.split = tuple(json.loads(offered))
    check_split(data, manifest, (True, True, False))
    manifest.sources["stdlib"].documents = 1
    with refused("data.split", 1, value=list(data.split), use="validation.steps=0"):
        check_split(data, manifest, (True, True, False))
