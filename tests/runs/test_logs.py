"""The files that `slipway runs logs` reads. With a real Slurm: test_launched_slurm.py."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from refusals import check_line
from slipway.cli import main
from slipway.runs import logs


@pytest.fixture
def run(tmp_path: Path, add_segment, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/alpha")
    add_segment(folder, 1, 10, code=0)
    (folder / "logs").mkdir()
    return folder


@pytest.mark.parametrize("lines", [0, 1, 3, 100, 10**6])
@pytest.mark.parametrize("end", ["", "\n"])
def test_last_lines(tmp_path: Path, lines: int, end: str, monkeypatch) -> None:
    monkeypatch.setattr(logs, "BLOCK", 7)
    text = "\n".join(f"line {number}" for number in range(20)) + end
    (tmp_path / "log").write_text(text)
    found, at = logs.last_lines(tmp_path / "log", lines)
    expected = text.splitlines(keepends=True)[-lines:] if lines else []
    assert found.decode() == "".join(expected) and at == len(text)


def test_ranks_and_what_is_missing(run: Path, capfd) -> None:
    assert main(["runs", "logs", "alpha"]) == 2
    assert "went to the terminal" in capfd.readouterr().err
    for rank in (1, 2, 3):
        (run / "logs" / f"rank-{rank:05d}.log").write_text(f"I am {rank}\n")
    assert main(["runs", "logs", "alpha", "--rank", "2"]) == 0
    assert capfd.readouterr().out == "I am 2\n"
    for words in ([], ["--rank", "4"]):
        assert main(["runs", "logs", "alpha", *words]) == 2
        check_line(capfd.readouterr().err, "runs logs alpha", "1 to 3")


def test_the_newest_job_is_followed_into_the_next(run: Path) -> None:
    """Appended text, then the next job's file from its beginning, then the last words after the end."""
    first, second = run / "logs/slurm-1.out", run / "logs/slurm-2.out"
    first.write_text("old\n")
    steps: Iterator[str] = iter(("grow", "next", "end"))
    newest = {"path": first}

    def alive() -> bool:
        step = next(steps)
        if step == "grow":
            first.write_text("old\nnew\n")
        elif step == "next":
            second.write_text("begin\n")
            newest["path"] = second
        else:
            second.write_text("begin\nlast words\n")
        return step != "end"

    followed = logs.follow_files(lambda: newest["path"], first, 4, alive)
    logs.ASK_SECONDS, before = 0.0, logs.ASK_SECONDS
    try:
        text = b"".join(itertools.islice(followed, 100)).decode()
    finally:
        logs.ASK_SECONDS = before
    assert text == f"new\n==> {second} <==\nbegin\nlast words\n"


@pytest.mark.parametrize(
    ("words", "path", "named"),
    [
        (["logs", "alpha", "--json"], "runs logs --json", ["`runs show`"]),
        (["show", "alpha", "--follow"], "runs show --follow", ["`runs logs`"]),
        (["cancel", "alpha", "--lines", "3"], "runs cancel --lines", ["`runs logs`"]),
        (["logs", "alpha", "--dry-run"], "runs logs --dry-run", ["`runs cancel`", "`runs sync`"]),
        (["logs", "alpha", "--lines", "-1"], "runs logs --lines", ["-1", 0]),
        (["logs", "alpha", "--rank", "x"], "runs logs --rank", ["x", 0]),
        (["logs", "alpah"], "runs logs alpah", ["alpha"]),
        (["cancel", "alpha"], "runs cancel alpha", ["SIGTERM"]),
    ],
)
def test_mistakes_are_one_line(run: Path, capsys, words: list[str], path: str, named: list[object]) -> None:
    assert main(["runs", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    check_line(err, path, *named)
