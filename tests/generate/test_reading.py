"""Megatron-core's cache of keys and values against the full forward pass, in networks of several kinds."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import warm

PROGRAM = Path(__file__).with_name("readings.py")


@pytest.fixture(scope="module")
def compared() -> dict[str, Any]:
    done = warm.run([sys.executable, str(PROGRAM)], capture_output=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_cache_gives_what_the_full_pass_gives(compared: dict[str, Any]) -> None:
    assert len(compared) == 6
    for name, found in compared.items():
        assert found["shape"] == [[3, 30, 300], "torch.float32"], name  # no padded rows
        assert found["apart"] <= 2e-6 * found["largest"], (name, found["apart"], found["largest"])


def test_greedy_texts_with_and_without_a_cache_are_the_same(compared: dict[str, Any]) -> None:
    for name, found in compared.items():
        assert found["texts"] == found["anew"], name
        assert len({token for text in found["texts"] for token in text}) > 20, name  # they say something


def test_layers_of_multi_token_prediction_say_nothing(compared: dict[str, Any]) -> None:
    """The weights of the other layers are the same, since they follow from their names."""
    expected = compared["rotary with scaling, grouped queries, untied"]
    assert compared["the same with prediction"] == expected
