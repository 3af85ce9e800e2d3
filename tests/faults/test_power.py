"""Power cuts: what the disk holds at any moment is a checkpoint that is good and the whole curve up to it."""

from pathlib import Path

import psutil
import pytest

import power
from processes import ranks_of, started, steps_done, wait_until
from slipway.checkpoint import store
from soak import curve, records
from training import SMALL, layout, slipway

SETTINGS = [
    *SMALL,
    "model.num_layers=1",
    *layout(ranks=2, tp=2),
    "training.steps=20000",
    "checkpoint.interval=3",
    "checkpoint.keep_last=null",
]


@pytest.mark.parametrize("asynchronous", ["true", "false"])
def test_after_a_power_cut_no_step_of_a_checkpoint_is_missing_from_the_curve(
    corpus: list[str], tmp_path: Path, asynchronous: str
) -> None:
    image, disk = tmp_path / "image", tmp_path / "disk"
    words = [*SETTINGS, *corpus, f"run.dir={disk / 'run'}", f"checkpoint.async_save={asynchronous}"]
    power.make(image, 128)
    copies, seen = [], []
    with power.mounted(image, disk), started(words, tmp_path) as process:
        for number in range(3):
            wait_until(lambda: steps_done(disk / "run") >= 5 * (number + 1), process)  # noqa: B023
            with power.standing_still([psutil.Process(process.pid), *ranks_of(process)]):
                seen.append(len(store.complete(disk / "run")))
                copies.append(tmp_path / f"cut-{number}")
                power.cut(image, copies[-1])
        run_of_all = [psutil.Process(process.pid), *ranks_of(process)]
        for one in run_of_all:
            one.kill()
        psutil.wait_procs(run_of_all, timeout=20)
    assert seen[-1] > 0
    for copy, complete in zip(copies, seen, strict=True):
        with power.mounted(copy, disk):
            # one that was complete for those who looked is complete on the disk, but for its folder's last rename
            kept = store.complete(disk / "run")
            assert len(kept) >= complete - 1
            newest = 0
            for path in kept:
                store.verify(path)
                newest = store.step_of(path)
            if newest:
                lines = records(disk / "run" / "metrics.jsonl")
                steps = [line["step"] for line in lines if line["kind"] == "train"]
                assert steps[:newest] == list(range(1, newest + 1))

    with power.mounted(copies[-1], disk):
        newest = store.step_of(store.complete(disk / "run")[-1])
        more = slipway("train", *words, f"training.stop_after_step={newest + 2}", cwd=tmp_path)
        assert more.returncode == 0, more.stderr
        found = curve(disk / "run")
    if asynchronous == "true":
        whole = slipway(
            "train",
            *words,
            f"run.dir={tmp_path / 'whole'}",
            f"training.stop_after_step={newest + 2}",
            cwd=tmp_path,
        )
        assert whole.returncode == 0, whole.stderr
        assert found == curve(tmp_path / "whole")
