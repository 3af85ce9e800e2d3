"""Preparation as a whole: the same bytes by any number of workers and after any interruption, nothing half-written."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refusals import refused
from scene_files import DAYS, PLACE, chips_of, config, contents, write_hls
from slipway.data import workspace
from slipway.data.imagery import checks, manifest, sources
from slipway.data.imagery.config import Source
from slipway.data.imagery.preparation import changed_inputs, prepare
from slipway.data.prepared import FILE_NAME


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tiles, one with a bad scene."""
    folder = tmp_path_factory.mktemp("tiles")
    for number in range(6):
        tile, left = f"32U{'ABCDEF'[number]}V", PLACE.left + 60_000 * number
        write_hls(folder / tile, DAYS[:4], PLACE._replace(seed=number, tile=tile, left=left))
    (folder / "32UCV/HLS.L30.T32UCV.2021060T103021.v2.0.B04.tif").write_text("x")
    return folder


def test_same_bytes_from_any_number_of_workers(tiles: Path, tmp_path: Path) -> None:
    found, records = [], []
    for workers, entries in ((1, [tiles]), (3, sorted(tiles.iterdir(), reverse=True))):
        data = config(tmp_path / f"by {workers}", *entries, workers=workers, split=(0.6, 0.2, 0.2))
        record = prepare(data, progress=False).sources["some"]
        assert len(record.splits) == 3 and len(record.skipped) == 1
        found.append(contents(data.dir))
        del found[-1][FILE_NAME]  # it says how the inputs were asked for
        records.append(record.model_copy(update=dict.fromkeys(("inputs", "places", "input_sha256"))))
    assert found[0].keys() == found[1].keys()
    for name, data in found[0].items():
        assert found[1][name] == data, name
    assert records[0] == records[1]


CODE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from scene_files import config
from slipway.data.imagery.preparation import prepare
if __name__ == "__main__":
    prepare(config(Path(sys.argv[1]), sys.argv[2], workers=int(sys.argv[4])), progress=False)
"""


@pytest.mark.timeout(300)
def test_killed_and_continued(tiles: Path, tmp_path: Path) -> None:
    """SIGKILL at the first finished part: what is done stays done, and the bytes are those of one go."""
    script = tmp_path / "prepare.py"
    script.write_text(CODE)
    tests = str(Path(__file__).parents[3])

    def run(folder: Path, workers: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, script, folder, tiles, tests, str(workers)])

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    reference = run(whole, 2)
    victim = run(killed, 1)
    work = killed / workspace.NAME
    deadline = time.monotonic() + 200
    while not (done := list(work.glob("some/*.npz"))):
        assert victim.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    children = Path(f"/proc/{victim.pid}/task/{victim.pid}/children").read_text().split()
    victim.send_signal(signal.SIGKILL)
    victim.wait(20)
    while any(Path(f"/proc/{pid}").exists() for pid in children):  # no worker outlives it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (killed / FILE_NAME).exists() and not list(killed.glob("*.tar"))
    done = {path: path.stat().st_mtime_ns for path in work.glob("some/*.npz")}
    assert 0 < len(done) < 6, "killed too late to show anything"
    again = run(killed, 2)
    seen = dict(done)
    while again.poll() is None:
        for path in done:
            with contextlib.suppress(FileNotFoundError):  # removed once all is written
                seen[path] = path.stat().st_mtime_ns
        time.sleep(0.01)
    assert again.returncode == 0 and reference.wait(200) == 0
    assert seen == done, "finished parts were cut again"
    assert contents(killed) == contents(whole)
    assert not work.exists()


@pytest.mark.usefixtures("here")
def test_prepared_once(tiles: Path, tmp_path: Path) -> None:
    data = config(tmp_path / "out", tiles / "32UAV")
    first = prepare(data, progress=False)
    assert manifest.load(data) == first and changed_inputs(data, first) == []
    times = {path: path.stat().st_mtime_ns for path in data.dir.iterdir()}
    assert prepare(data.model_copy(update={"workers": 2}), progress=False) == first
    assert {path: path.stat().st_mtime_ns for path in data.dir.iterdir()} == times
    with refused("data.max_cloud", value=0.1):
        prepare(data.model_copy(update={"max_cloud": 0.1}), progress=False)
    with refused("data.sources.some.names"):
        prepare(config(tmp_path / "out", tiles / "32UAV", some__names={"x": "red"}), progress=False)


@pytest.mark.usefixtures("here")
def test_inputs_that_change(tmp_path: Path) -> None:
    write_hls(tmp_path / "in", DAYS[:2])
    data = config(tmp_path / "out", tmp_path / "in")
    found = prepare(data, progress=False)
    path = next((tmp_path / "in").glob("*.B03.tif"))
    os.utime(path, ns=(1, 1))
    assert [change.path for change in changed_inputs(data, found)] == ["data.sources.some.inputs"]
    with refused("data.sources.some.inputs", data.dir):
        prepare(data, progress=False)
    (tmp_path / "in").rename(tmp_path / "away")
    assert changed_inputs(data, found) == [], "they have done their service"


@pytest.mark.usefixtures("here")
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hls(tmp_path / "in", DAYS[:2])
    path = sorted((tmp_path / "in").glob("*.B03.tif"))[0]
    whole = sources.units_of

    def change(*words: object) -> object:
        os.utime(path, ns=(1, 1))
        return whole(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(sources, "units_of", change)
    with refused(path):
        prepare(config(tmp_path / "out", tmp_path / "in"), progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("here")
def test_generated_scenes_go_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from slipway.data.imagery.generated import granules

    monkeypatch.setattr(granules, "PLACES", 3)
    monkeypatch.setattr(granules.write_place, "__defaults__", (64,))
    data = config(tmp_path / "out", manifest.GENERATED, max_cloud=0.3, min_valid=0.99)
    record = prepare(data, progress=True).sources["some"]
    printed = capsys.readouterr().err
    assert "hls" in printed and "3 tiles" in printed
    assert record.splits["training"].chips == len(chips_of(data.dir)) > 6
    assert record.inputs == record.places == ["generated"]
    assert sorted(path.name for path in data.dir.iterdir()) == [
        "manifest.json",
        "some-training-00000.tar",
        "some-training.npz",
    ]
    assert changed_inputs(data, manifest.load(data)) == []
    with refused("data.sources.some.inputs", use="generated"):
        prepare(config(tmp_path / "x", manifest.GENERATED, tmp_path), progress=False)
    with refused("data.sources.some.format", value="raster"):
        prepare(config(tmp_path / "x", manifest.GENERATED, some__format="raster"), progress=False)


@pytest.mark.usefixtures("here")
def test_the_extra_is_missing(tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with refused("data.sources.some.inputs", "rasterio", use="slipway[earth]"):
        prepare(config(tmp_path / "out", tiles), progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("here")
def test_several_sources(tiles: Path, tmp_path: Path) -> None:
    """Each has shards of its own; ground that both have is in one place."""
    both = {
        name: Source(inputs=[str(tiles / folder)])
        for name, folder in (("a", "32UAV"), ("b", "32UAV"), ("c", "32UBV"))
    }
    prepare(config(tmp_path / "out", tiles, sources=both), progress=False)
    first, second, third = (chips_of(tmp_path / "out", name) for name in both)
    assert {row["place"] for _, row in first} == {row["place"] for _, row in second}
    assert not {row["place"] for _, row in first} & {row["place"] for _, row in third}


def test_the_process_that_prepares_loads_no_gdal(tiles: Path, tmp_path: Path) -> None:
    """It may go on to train."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "import slipway.data.imagery.preparation as p\n"
        "from slipway.data.imagery.config import Config, Source\n"
        "from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    d = Config(name='t', dir=Path(sys.argv[1]), bands=('red',), num_frames=1, chip_size=32,\n"
        "        sources={'some': Source(inputs=[sys.argv[2]])}, workers=1, split=(1, 0, 0))\n"
        "    p.prepare(d, False)\n"
        "    sys.exit(bool({'rasterio', 'xarray', 'torch'} & set(sys.modules)))\n"
    )
    script = tmp_path / "alone.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "out", tiles / "32UAV", "x"],
        timeout=100,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
