"""A real training on two ranks of a node whose counters lie in a folder."""

import json
import os
import sys
import threading
from pathlib import Path

import pytest

import warm
from slipway.energy import host
from slipway.runs import ledger
from slipway.runs.energy import of_segment
from training import SMALL, layout, training_lines

TRAIN = """
import sys
from functools import partial
from pathlib import Path
from slipway.cli import main
from slipway.train import loop

loop.meter = partial(loop.meter, root=Path(sys.argv[1]), interval=0.02)
sys.exit(main(["train", *sys.argv[2:]]))
"""


def test_every_line_and_the_ledger_have_what_was_counted(tmp_path: Path) -> None:
    zone = tmp_path / "node" / host.POWERCAP / "intel-rapl:0"
    zone.mkdir(parents=True)
    counter, joules, over = zone / "energy_uj", 0, threading.Event()
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "65532610987"), ("energy_uj", "0")):
        (zone / name).write_text(text)

    def count() -> None:
        nonlocal joules
        while not over.wait(0.01):
            joules += 1
            (beside := zone / "beside").write_text(f"{joules * 1_000_000}")
            os.replace(beside, counter)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        words = [*SMALL, "data=bytes", "training.steps=6", f"run.dir={tmp_path / 'run'}", *layout(ranks=2)]
        command = [sys.executable, "-c", TRAIN, str(tmp_path / "node"), *words]
        done = warm.run(command, cwd=tmp_path, capture_output=True, timeout=180)
    finally:
        over.set()
        counting.join()
    assert done.returncode == 0, done.stderr
    lines = training_lines(tmp_path / "run")
    counted = [line["energy_joules"]["RAPL"] for line in lines]
    assert counted == sorted(counted) and 0 < counted[-1] < joules
    assert [line["energy_counters"] for line in lines] == [{"RAPL": 1}] * 6, "the node, not its ranks"
    (segment,) = ledger.read_segments(tmp_path / "run", alive=False)
    assert segment.energy and segment.energy.joules == {"RAPL": counted[-1]}
    found = of_segment(segment)
    assert (found.how, found.kwh) == ("measured", pytest.approx(counted[-1] / 3.6e6))
    record = json.loads((tmp_path / "run" / "segments" / "0001.json").read_text())
    assert record["energy"]["counters"] == {"RAPL": 1} and record["facts"]["device"] == "cpu"
