"""From samples to a batch: nothing is dropped, and what does not fit is named."""

from typing import Any

import numpy as np
import pytest
import torch

from refusals import holds
from slipway.data.collate import collate
from slipway.errors import Fault


def test_tensors_arrays_and_numbers_are_stacked() -> None:
    samples = [{"x": torch.ones(2) * i, "image": np.full((2, 3), i, np.float32), "id": i} for i in range(3)]
    batch = collate(samples)
    assert {name: list(value.shape) for name, value in batch.items()} == {
        "x": [3, 2],
        "image": [3, 2, 3],
        "id": [3],
    }
    assert batch["image"].dtype is torch.float32 and batch["id"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("second", "facts"),
    [
        ({"x": torch.ones(2)}, ["mask"]),  # lacks a field
        ({"x": torch.ones(2), "mask": torch.ones(1), "more": torch.ones(1)}, ["more"]),
        ({"x": torch.ones(3), "mask": torch.ones(1)}, ["x", "[2] float32", "[3] float32"]),
        ({"x": torch.ones(2).long(), "mask": torch.ones(1)}, ["x", "[2] int64"]),
        ({"x": "text", "mask": torch.ones(1)}, ["x", "str"]),
        ({"x": None, "mask": torch.ones(1)}, ["x", "NoneType"]),
    ],
)
def test_what_does_not_fit_is_named(second: dict[str, Any], facts: list[str]) -> None:
    first = {"x": torch.ones(2), "mask": torch.ones(1)}
    for samples in ([first, second], [second, first]):
        with pytest.raises(Fault) as found:
            collate(samples)
        assert all(holds(str(found.value), fact) or fact in str(found.value) for fact in facts), found.value


def test_a_field_that_is_asked_for_and_missing() -> None:
    with pytest.raises(Fault) as found:
        collate([{"x": torch.ones(1), "y": torch.ones(1)}], {"x", "z"})
    assert holds(str(found.value), "z")
    assert collate([{"x": torch.ones(1), "name": "left out"}], {"x"}).keys() == {"x"}
