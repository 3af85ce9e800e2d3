"""The whole of `slipway bench gpu` with tiny shapes on CPU ranks: every part, as it runs on GPUs.

Marked `slow`: `make test-py312` runs it, with a torch whose build is for GPUs.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from breadth import some
from slipway.bench.gpu import exact, losses
from slipway.bench.gpu.dense import CEILING, EAGER, OURS, TIMES
from slipway.bench.gpu.layouts import fit
from slipway.bench.gpu.models import MODELS
from slipway.bench.gpu.parts import PARTS
from slipway.bench.kernel_table import OPERATORS
from slipway.metrics.step_time import KINDS
from training import slipway

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# one model at one length, since torch.compile takes a minute for each; at night both at both
DENSE = some({name: name for name in ("gpt-2048", "gpt-4096", "llama-2048", "llama-4096")}, ["llama-4096"])
WANTED = [part.name for part in PARTS if part.name in DENSE or not part.name.endswith(("-2048", "-4096"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one rehearsal."""
    folder = tmp_path_factory.mktemp("rehearsal")
    done = slipway(
        *("bench", "gpu", "--rehearse", "--out", "found", "--minutes", "18", "--part", ",".join(WANTED)),
        cwd=folder,
        timeout=1150,
    )
    print(done.stdout, done.stderr)
    for log in sorted((folder / "found/logs").iterdir()):
        print(f"--- {log.name}", log.read_text()[-2000:], sep="\n")
    assert done.returncode == 0
    return folder / "found"


@pytest.fixture(scope="module")
def parts(folder: Path) -> dict[str, Any]:
    """Each part's result by its name."""
    return {part["part"]: part for part in json.loads((folder / "bench-gpu.json").read_text())["parts"]}


def test_every_part_has_passed_and_is_on_disk(folder: Path, parts: dict[str, Any]) -> None:
    assert list(parts) == WANTED
    assert {name: part["verdict"] for name, part in parts.items()} == dict.fromkeys(parts, "passed")
    for name, part in parts.items():
        assert json.loads((folder / "parts" / f"{name}.json").read_text()) == part
    assert not any(path.is_dir() for path in (folder / "work").iterdir())
    assert (folder / "bench-gpu.png").read_bytes().startswith(b"\x89PNG")
    table = (folder / "bench-gpu.md").read_text()
    assert all(f"| {name} | passed |" in table for name in parts)


def test_every_operator_is_compared_with_float64(parts: dict[str, Any]) -> None:
    rows = parts["kernels"]["rows"]
    assert {row["operator"] for row in rows} == set(OPERATORS) - set(exact.ALONE)
    for row in rows:
        values = [row[precision] for precision in exact.LIMITS if precision in row]
        assert values and all(0 < value < exact.LIMITS["bf16"] for value in values), row


def test_every_model_is_compared_with_the_cpu(parts: dict[str, Any]) -> None:
    rows = parts["losses"]["rows"]
    assert [(row["model"], row["precision"]) for row in rows] == [
        (model, precision) for model in MODELS for precision in losses.LIMITS
    ]
    of_bf16 = [row["largest difference of a loss"] for row in rows if row["precision"] == "bf16"]
    assert all(value > 0 for value in of_bf16)  # another precision was trained


def test_layouts_are_those_of_two_devices(parts: dict[str, Any]) -> None:
    assert [row["layout"] for row in parts["layouts"]["rows"]] == fit(2)


@pytest.mark.parametrize("name", DENSE)
def test_dense_shapes_run_beside_the_plain_model(parts: dict[str, Any], name: str) -> None:
    part = parts[name]
    assert [row["trainer"] for row in part["rows"]] == [OURS, EAGER]
    for row in part["rows"]:
        assert 0 < row["least"] <= row["tokens/s, median"] <= row["most"]
        assert row["most memory (GiB)"] > 0 and row["estimated (GiB)"] > 0
    assert [goal["goal"] for goal in part["goals"]] == [CEILING, TIMES]
    assert sum(part["shares"][OURS].values()) == pytest.approx(1)
    assert set(part["shares"][OURS]) == set(KINDS)


def test_the_mixture_has_no_goal_and_no_plain_model(parts: dict[str, Any]) -> None:
    assert [row["trainer"] for row in parts["experts"]["rows"]] == [OURS]
    assert parts["experts"]["goals"] == []


def test_what_goes_wrong_is_told(parts: dict[str, Any]) -> None:
    told = {row["fault"]: row["told"] for row in parts["faults"]["rows"]}
    assert "rank 0" in told["hang"] and "nan" in told["not finite"]
