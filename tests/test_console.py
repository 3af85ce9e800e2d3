"""Standard output that is closed, full, broken, stuck or without letters: it ends nothing but what it was asked for."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway.console import OUTPUT, Stream
from training import SMALL, layout, training_lines

LAUNCH = ["launch", "cluster=slurm"]


def shell(redirection: str, *words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command with its standard streams redirected by a shell."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "slipway", *words],
        cwd=cwd,
        capture_output=True,
        timeout=100,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("words", "redirection"),
    [
        (["plan"], ">/dev/full"),
        (["plan", "--json"], ">&-"),
        (["clusters"], ">&-"),
        (LAUNCH, ">/dev/full"),
        (["train", "--cfg", "job"], ">/dev/full"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_an_output_that_was_asked_for_and_cannot_be_written(
    words: list[str], redirection: str, tmp_path: Path
) -> None:
    done = shell(redirection, *words, cwd=tmp_path)
    said = [line for line in done.stderr.decode().splitlines() if line.startswith("slipway: ")]
    assert (done.returncode, len(said)) == (2, 1), done.stderr.decode()
    assert OUTPUT in said[0] and b"Traceback" not in done.stderr


def test_data_is_prepared_though_nobody_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text " * 2000)
    words = ["data=files", "data.sources.files.inputs=[a.txt]", "data.tokenizer.kind=byte", "data.dir=out"]
    done = shell(">/dev/full 2>&-", "data", *SMALL, *words, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "out" / "files.bin").stat().st_size > 0


def test_a_training_whose_reader_goes_away(corpus: list[str], tmp_path: Path) -> None:
    """And whose other streams are closed: no file takes their numbers, and with them what is printed."""
    words = [
        *SMALL,
        *corpus,
        "model.num_layers=1",
        *layout(ranks=1),
        "logging.interval=1",
        "training.steps=3",
    ]
    done = subprocess.run(
        ["sh", "-c", '"$@" <&- 2>&- | :', "sh", "sh", "-c", '"$@"; echo $? >code', "sh"]
        + [sys.executable, "-m", "slipway", "train", *words, f"run.dir={tmp_path / 'run'}"],
        cwd=tmp_path,
        timeout=100,
    )
    assert (done.returncode, (tmp_path / "code").read_text()) == (0, "0\n")
    assert [line["step"] for line in training_lines(tmp_path / "run")] == [1, 2, 3]


def test_letters_that_the_terminal_lacks(tmp_path: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    assert shell("", "clusters", cwd=tmp_path, **ascii_only).returncode == 0
    # what programs read is UTF-8, whatever people's terminal has
    words = [*LAUNCH, f"launch.workdir='{tmp_path}/größe'"]
    plain, ascii_ = shell("", *words, cwd=tmp_path), shell("", *words, cwd=tmp_path, **ascii_only)
    assert plain.returncode == 0, plain.stderr.decode()
    assert "größe".encode() in plain.stdout and ascii_.stdout == plain.stdout


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"slipway", b"train", b"run.dir=a\xff"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and rb"run.dir=a\xff" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_who_does_not_read_holds_nobody_up() -> None:
    reader, writer = os.pipe()
    stream = Stream(writer, OUTPUT, dropping=True, closed=False)
    began = time.monotonic()
    for _ in range(500):
        assert stream.write(b"x" * 1000) == 1000
    assert time.monotonic() - began < 10  # it waits once
    while len(os.read(reader, 1 << 20)) == 1 << 20:
        pass
    stream.write(b"again")
    assert os.read(reader, 100) == b"again"
    os.close(reader)
    assert stream.write(b"to nobody") == 9
    stream.dropping = False
    with pytest.raises(BrokenPipeError, match=OUTPUT):
        stream.write(b"to nobody")
    os.close(writer)
