"""What the operating system refuses is one line on standard error and exit code 1 or 2, whatever the verb or file."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from errno import EACCES, EIO, EMFILE, ENOSPC, EROFS, ESTALE
from pathlib import Path

import pytest

from faulty_files import Rule, faulty, struck
from slipway import system_errors
from slipway.config.compose import compose
from slipway.plan import make_plan, plan_file
from training import SMALL

pytestmark = pytest.mark.faults

RUN = ["run.dir=runs/a"]
DATA = ["data=files", "data.sources.files.inputs=[a.txt]", "data.tokenizer.kind=byte", "data.dir=out"]

# Verbs, each with calls that fail: what it reads of itself, of its inputs, of a run, and what it writes.
FAULTS = [
    (["plan"], Rule("open", "*/conf/config.yaml", EIO)),
    (["plan"], Rule("read", "*/conf/config.yaml", EIO)),
    (["plan"], Rule("open", "*/conf/*", EMFILE, nth=4)),
    (["plan"], Rule("stat", "*/hydra/conf*", EIO)),
    (["clusters"], Rule("list", "*/conf/cluster", ESTALE)),
    (["clusters", "lumi_g"], Rule("open", "*/lumi_g.yaml", EACCES)),
    (["launch", "cluster=slurm"], Rule("open", "*/slurm/job.sh.j2", EIO)),
    (["launch", "cluster=slurm"], Rule("read", "*/cluster/slurm.yaml", EACCES)),
    (["runs"], Rule("list", "*/runs", EACCES)),
    (["runs", "show", "a"], Rule("stat", "*/runs/a/plan.json", EIO)),
    (["checkpoint", "list", *RUN], Rule("list", "*/a/checkpoints", ESTALE)),
    (["checkpoint", "verify", *RUN], Rule("list", "*/a/checkpoints", EACCES)),
    (["report", *RUN], Rule("read", "*/metrics.jsonl", EIO)),
    (["report", *RUN], Rule("write", "*loss*png*", ENOSPC)),
    (["data", *SMALL, *DATA], Rule("open", "*/a.txt", EACCES)),
    (["data", *SMALL, *DATA], Rule("read", "*/a.txt", EIO)),
    (["data", *SMALL, *DATA], Rule("mkdir", "*/out*", EROFS)),
    (["data", *SMALL, *DATA], Rule("write", "*/out*", ENOSPC, nth=2)),
    (["train", "run.name=a", *RUN], Rule("list", "*/a/checkpoints", EIO)),
    (["train", "run.name=a", *RUN], Rule("read", "*/metrics.jsonl", ESTALE)),
]


def run(words: list[str], cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """The command line."""
    command = [sys.executable, "-m", "slipway", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, **options)  # type: ignore[call-overload]


def check(done: subprocess.CompletedProcess[str]) -> str:
    """One line, and a code that says failure; returns the line."""
    lines = done.stderr.splitlines()
    assert done.returncode in (1, 2), (done.returncode, done.stdout, done.stderr)
    assert len(lines) == 1 and lines[0].startswith("slipway: "), done.stderr
    return lines[0]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a text and a run."""
    (tmp_path / "a.txt").write_text("text " * 2000)
    folder = tmp_path / "runs" / "a"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "loss": 3.0, "step_seconds": 1.0}\n')
    plan_file.write(make_plan(compose(["run.name=a", *RUN])), folder / "plan.json")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "rule"),
    FAULTS,
    ids=[f"{words[0]}-{rule.operation}-{errno.errorcode[rule.error]}" for words, rule in FAULTS],
)
def test_one_line(words: list[str], rule: Rule, place: Path) -> None:
    log = place / "log"
    done = run(words, place, env={**os.environ, **faulty([rule], log=log)})
    assert struck(log), "the fault did not happen"
    check(done)


def _logs_a_file(folder: Path) -> None:
    (folder / "logs").write_text("")


def _metrics_a_folder(folder: Path) -> None:
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").mkdir()


@pytest.mark.parametrize("spoil", [_logs_a_file, _metrics_a_folder])
def test_one_thing_in_the_place_of_another(spoil: Callable[[Path], None], place: Path) -> None:
    folder = place / "runs" / "a"
    spoil(folder)
    before = sorted(place.rglob("*"))
    done = run(["train", *RUN], place)
    assert str(Path("runs/a") / spoil.__name__.split("_")[1]) in check(done) and done.returncode == 2
    assert sorted(place.rglob("*")) == before


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "name" in check(done := run(["train", f"run.dir={'x' * 256}"], tmp_path)) and done.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("files", [3, 6])
def test_too_few_open_files(files: int, tmp_path: Path) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))"
    program = f"import sys; from slipway import cli; {limit}; sys.exit(cli.main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "plan"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 or "ulimit -n" in check(done)
    assert files > 3 or done.returncode, "no file can be opened with so few"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > files


def test_the_file_is_named_although_the_call_does_not(tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised, (tmp_path / "full").open("wb", buffering=0) as file:
        os.close(file.fileno())
        file.write(b"text")
    assert str(tmp_path / "full") in str(system_errors.explained(raised.value))
    named = FileNotFoundError(errno.ENOENT, "No such file", "one", None, "two")
    assert str(system_errors.explained(named)).startswith("one -> two: No such file; ")
    assert system_errors.is_users(named) and not system_errors.is_users(OSError(EIO, "Input/output error"))


def test_a_removed_current_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        Path("runs").resolve(strict=True)
    caught.value.filename = None
    assert str(system_errors.explained(caught.value)).startswith("the current folder: ")
