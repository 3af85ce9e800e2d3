"""What the kind says of itself, and which configurations it refuses, each in one line."""

import os
from pathlib import Path
from typing import Any

import pytest

from prepared_chips import BANDS, LAYOUT, changed, prepared
from refusals import refused
from slipway.data.imagery import manifest
from slipway.data.imagery.config import Source
from slipway.data.imagery.kind import KIND
from slipway.data.imagery.summary import summary
from slipway.errors import UserError


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepared(tmp_path_factory.mktemp("data"))


MESH = {"m": Source(inputs=["x/train/S2L2A"], format="terramesh")}


@pytest.mark.parametrize(
    ("fields", "path", "facts"),
    [
        (dict(bands=("blue", "red", "red")), "data.bands", ["red"]),
        (dict(mean=(1.0, 2.0)), "data.mean", [2, 3, *BANDS]),
        (dict(std=(1.0, 2.0, 3.0, 4.0)), "data.std", [4, 3, *BANDS]),
        (dict(crop_size=13), "data.crop_size", [12]),
        (dict(gap_days=(10, 5)), "data.gap_days", ["10, 5"]),
        (dict(split=(0.0, 0.5, 0.5)), "data.split", [0]),
        (dict(split=(0.5, 0.0, 0.5)), "data.split", ["validation.steps=0"]),
        (dict(sources=MESH), "data.chip_size", [264]),
        (dict(sources=MESH, chip_size=264), "data.min_valid", [0]),
        (dict(sources=MESH, chip_size=264, min_valid=0.0), "data.max_cloud", [1]),
        (
            dict(sources=MESH, chip_size=264, min_valid=0.0, max_cloud=1.0, resolution=30.0),
            "data.resolution",
            ["null"],
        ),
    ],
)
def test_fields_that_do_not_fit_together(config: Any, fields: Any, path: str, facts: list[object]) -> None:
    KIND.check(config)
    with refused(path, *facts):
        KIND.check(changed(config, **fields))


def test_a_validation_that_reads_nothing_needs_no_share(config: Any) -> None:
    none = changed(config, split=(1.0, 0.0, 0.0))
    none.validation.steps = 0
    KIND.check(none)
    none.validation.steps = 1


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (dict(bands=("blue", "red", "swir_1")), "data.bands"),
        (dict(num_frames=3), "data.num_frames"),
        (dict(chip_size=13), "data.chip_size"),
        (dict(min_valid=0.5), "data.min_valid"),
        (dict(max_cloud=0.9), "data.max_cloud"),
        (dict(gap_days=(1, 2)), "data.gap_days"),
        (dict(resolution=10.0), "data.resolution"),
        (dict(split=(0.5, 0.25, 0.25)), "data.split"),
        (dict(shard_size=1), "data.shard_size"),
        (dict(sources={"a": Source(inputs=["nowhere"])}), "data.sources"),
        (dict(sources={n: Source(inputs=["elsewhere"]) for n in "ab"}), "data.sources.a.inputs"),
        (dict(sources={n: Source(inputs=["nowhere"], format="hls") for n in "ab"}), "data.sources.a.format"),
    ],
)
def test_other_chips_than_were_prepared(config: Any, fields: Any, path: str) -> None:
    with refused(path, use=config.data.dir):
        KIND.traits(changed(config, **fields))


def test_what_may_change_without_preparing_anew(config: Any) -> None:
    """How chips are read, which sources are drawn, another spelling of the same input."""
    here = Path("nowhere").absolute()
    sources = {name: Source(inputs=[str(here)], format="auto", weight=float(name == "a")) for name in "ab"}
    other = changed(config, crop_size=8, flip=True, readers=4, workers=3, name="x", sources=sources)
    assert KIND.traits(other)["size"] == 8
    assert set(KIND.open(other, "training").sizes) == {"a"}


def test_nothing_prepared(tmp_path: Path, config: Any) -> None:
    other = changed(config, dir=tmp_path / "empty")
    with refused("data.dir", value=tmp_path / "empty", use="`slipway data`"):
        KIND.traits(other)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "manifest.json").write_text("{}")
    with refused("data.dir", value=tmp_path / "empty" / "manifest.json"):
        KIND.traits(other)
    assert KIND.written(other)[0].name == "manifest.json"


def test_a_split_without_chips(tmp_path: Path) -> None:
    config = prepared(tmp_path, {"a": 3})
    assert list(manifest.load(config.data).sources["a"].splits) == ["training"]
    with refused("data.sources.a", 1, 3, use=["data.split", "validation.steps=0"]):
        KIND.make_ready(config, prepare=False)
    config.validation.steps = 0
    KIND.make_ready(config, prepare=False)


def test_a_band_without_values(tmp_path: Path) -> None:
    """Its standard deviation would be divided by."""
    config = prepared(tmp_path, {"a": 12})
    found = manifest.load(config.data)
    record = found.sources["a"]
    sums = record.sums.model_copy(
        update={"squares": [0, *record.sums.squares[1:]], "sum": [0, *record.sums.sum[1:]]}
    )
    done = found.model_copy(update={"sources": {"a": record.model_copy(update={"sums": sums})}})
    (config.data.dir / "manifest.json").write_text(manifest.to_text(done))
    with refused("data.std", "blue", config.data.dir):
        KIND.make_ready(config, prepare=False)
    KIND.make_ready(changed(config, std=(1.0, 1.0, 1.0)), prepare=False)


def test_files(config: Any) -> None:
    files = {name: KIND.files(config, name) for name in "ab"}
    there = {config.data.dir / name for name in os.listdir(config.data.dir)} - {
        config.data.dir / "manifest.json"
    }
    assert set(files["a"]) | set(files["b"]) == there
    assert set(KIND.written(config)) == there | {config.data.dir / "manifest.json"}
    assert KIND.written(config)[0] == config.data.dir / "manifest.json"
    for path, record in {**files["a"], **files["b"]}.items():
        assert path.stat().st_size == record.bytes
    assert KIND.folders(config) == {"data.dir": config.data.dir}
    assert KIND.folders(changed(config, sources=MESH)) == {
        "data.dir": config.data.dir,
        "data.sources.m.inputs[0]": Path("x/train/S2L2A"),
    }


def test_summary(config: Any) -> None:
    lines = summary(config.data, manifest.load(config.data)).splitlines()
    assert str(config.data.dir) in lines[0] and str(LAYOUT.size) in lines[0]
    assert "18 chips" in lines[1] and "6 chips" in lines[1] and lines[1].split()[0] == "a:"
    assert lines[-1].split()[0] == "std:"


def test_a_manifest_is_json_for_people(config: Any) -> None:
    found = manifest.load(config.data)
    assert manifest.read(config.data.dir) == found
    assert found.axes == ("dates", "bands", "rows", "columns")
    with pytest.raises(UserError):
        manifest.load(config.data.model_copy(update={"dir": config.data.dir / "manifest.json" / "x"}))
