"""Files that misbehave under a running training: a file system that hangs, data that changes."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import gone, output_of, ranks_of, started, steps_done, wait_until
from refusals import missing
from training import SMALL, layout, slipway, training_lines

SETTINGS = ["model.num_layers=1", *layout(ranks=2, tp=2)]


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A run's checkpoints on a file system of their own, which the test freezes; thawed at the end."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    image, folder = tmp_path / "image", tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(64 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True, timeout=30)
        subprocess.run(
            ["mount", "-o", "loop", str(image), str(folder)], check=True, capture_output=True, timeout=30
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no loop device here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["fsfreeze", "-u", str(folder)], capture_output=True, timeout=60)
        limit = time.monotonic() + 30
        while subprocess.run(["umount", str(folder)], capture_output=True).returncode:
            assert time.monotonic() < limit, "cannot unmount"
            time.sleep(0.2)


def test_a_file_system_that_hangs_ends_the_run_within_the_time_out(
    corpus: list[str], tmp_path: Path, frozen: Path
) -> None:
    words = [*SMALL, *corpus, *SETTINGS, f"run.dir={frozen.parent}", "training.steps=20000"]
    words += ["checkpoint.interval=5", "checkpoint.timeout_minutes=0.05"]
    with started(words, tmp_path) as process:
        wait_until(lambda: (frozen / "step-00000005").is_dir(), process)
        subprocess.run(["fsfreeze", "-f", str(frozen)], check=True, timeout=60)
        stopped = time.monotonic()
        output = output_of(process, tmp_path)
        seconds = time.monotonic() - stopped
        subprocess.run(["fsfreeze", "-u", str(frozen)], check=True, timeout=60)
    assert process.returncode == 1
    # the one that commits is stuck; the other one waits for it
    assert not missing(output, ["rank 0", "checkpoint.timeout_minutes 0.05"])
    assert seconds < 3 + 5 + 20
    verified = slipway("checkpoint", "verify", f"run.dir={frozen.parent}", cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout + verified.stderr

    # thawed, it goes on from there
    newest = max(int(path.name[5:]) for path in frozen.glob("step-*"))
    more = slipway("train", *words, f"training.stop_after_step={newest + 3}", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert [line["step"] for line in training_lines(frozen.parent)] == list(range(1, newest + 4))


def test_data_truncated_under_a_running_training(corpus: list[str], tmp_path: Path) -> None:
    """An error in one line, not the kernel's SIGBUS; the run continues when the file is back."""
    run_dir, data = tmp_path / "run", tmp_path / "data"
    words = [*SMALL, *corpus, *SETTINGS, f"run.dir={run_dir}", f"data.dir={data}"]
    words += ["training.steps=20000", "checkpoint.interval=5"]
    with started(words, tmp_path) as process:
        wait_until(lambda: steps_done(run_dir) >= 6, process)
        content = (data / "files.bin").read_bytes()
        before = (data / "files.bin").stat()
        os.truncate(data / "files.bin", 1000)
        ranks = ranks_of(process)
        output = output_of(process, tmp_path)
    assert process.returncode == 1
    (line,) = [line for line in output.splitlines() if line.startswith("slipway: ")]
    assert "files.bin" in line
    assert "Traceback" not in output
    assert all(gone(rank) for rank in ranks)
    segment = json.loads((run_dir / "segments" / "0001.json").read_text())
    assert (segment["reason"], line) == ("failed", f"slipway: {segment['detail']}")

    refused = slipway("train", *words, cwd=tmp_path)
    assert refused.returncode == 2
    (data / "files.bin").write_bytes(content)
    os.utime(data / "files.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
    done = steps_done(run_dir)
    more = slipway("train", *words, f"training.stop_after_step={done + 1}", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
