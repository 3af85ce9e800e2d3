import json

import numpy as np
import pytest

from refusals import check_line
from slipway.bench import imagery
from slipway.cli import main

BENCH = ["bench", "data", "--kind", "imagery", "--chips", "4", "--rounds", "1", "--json"]


def test_all_read_the_same_and_are_compared(capfd: pytest.CaptureFixture[str]) -> None:
    """In a real run; that all readers see the same pixels is asserted in the benchmark."""
    assert main(BENCH) == 0
    record = json.loads(capfd.readouterr().out)
    rows = {(row["reader"], row["cache"]): row for row in record["rows"]}
    assert set(rows) == {(r, c) for r in ("slipway", "GeoTIFF", "webdataset") for c in ("cold", "warm")}
    summary = record["summary"]
    assert (summary["chips"], summary["chip_bytes"], summary["left_out"]) == (4, 2408448, None)
    for reader in ("GeoTIFF", "webdataset"):
        for cache in ("cold", "warm"):
            ratio = rows[reader, cache]["milliseconds"] / rows["slipway", cache]["milliseconds"]
            assert summary[f"{reader.lower()}_{cache}"] == pytest.approx(ratio)
            assert rows[reader, cache]["milliseconds"] > 0
    assert {"rasterio", "webdataset"} <= record["versions"].keys()


def test_what_is_not_installed_is_left_out_by_name(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagery, "find_spec", lambda name: None)
    assert main(BENCH) == 0
    record = json.loads(capfd.readouterr().out)
    assert {row["reader"] for row in record["rows"]} == {"slipway"}
    assert record["summary"]["left_out"] == "rasterio, webdataset"
    assert record["summary"]["geotiff_warm"] is None


def test_other_pixels_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # by numpy: the reader runs in a fork, where torch's threads of the tests' own process are gone
    monkeypatch.setitem(
        imagery.READERS, "webdataset", lambda folder: (-np.asarray(chip) for chip in imagery.slipway(folder))
    )
    with pytest.raises(AssertionError, match="different pixels"):
        main(BENCH)


def test_too_few_chips(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", "--kind", "imagery", "--chips", "1"]) == 2
    check_line(capfd.readouterr().err, "--chips", 1, 4)
