from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.data.split import document_counts

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
