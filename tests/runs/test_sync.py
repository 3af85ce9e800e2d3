"""`slipway runs sync` with the real wandb, against a server that is there, is not there, or says no."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refusals import check_line, refused
from slipway.config.compose import compose
from slipway.metrics import wandb_data
from slipway.metrics.wandb_mirror import WandbMirror, identity
from slipway.plan import make_plan
from slipway.runs import command
from slipway.runs.lock.lock import take
from slipway.verbs.parse import parse
from training import slipway
from wandb_server import KEY, Server, wandb_server

ONE_AND_A_HALF_MINUTES = 90


def main(words: list[str]) -> int:
    """`slipway runs` in this process, raising what the program would report."""
    return command.run(parse("runs", words).options)


@pytest.fixture
def server() -> Iterator[Server]:
    with wandb_server() as server:
        yield server


@pytest.fixture
def run_dir(
    tmp_path: Path, add_segment: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """runs/alpha with a segment for each (first, last) step given, wandb data included."""
    for name in ("HOME", "WANDB_CONFIG_DIR"):  # no key, no settings of whoever runs the tests
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def make(*segments: tuple[int, int], mode: str = "offline") -> Path:
        path = Path("runs") / "alpha"
        for first, last in segments:
            add_segment(path, first, last, 0)
            if mode != "disabled":
                mirror = WandbMirror(plan_of(path, mode))
                for step in range(first, last + 1):
                    mirror.log({"train/loss": 1 / step, "step": step})
                mirror.close()
                assert [note["event"] for note in mirror.notes()] == []
                time.sleep(1.1)  # the folders' names tell seconds apart
        return path

    return make


def plan_of(run_dir: Path, mode: str):  # noqa: ANN201
    words = ["model=demo", "run.name=alpha", f"run.dir={run_dir}", f"logging.wandb.mode={mode}"]
    return make_plan(compose(words))


def sync(*words: str, url: str | None, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
    given = {"WANDB_BASE_URL": url, "WANDB_API_KEY": key, "WANDB__GRAPHQL_RETRY_MAX": "1"}
    environment = {**os.environ, **{name: value for name, value in given.items() if value}}
    return slipway("runs", "sync", *words, cwd=Path.cwd(), timeout=ONE_AND_A_HALF_MINUTES, env=environment)


@pytest.mark.timeout(180)
def test_segments_are_uploaded_once_and_in_order(
    run_dir: Callable[..., Path], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_dir((1, 3), (4, 5))
    first, second = wandb_data.stored(path)
    own = identity("alpha", path)
    assert [wandb_data.read(one.file) for one in (first, second)] == [
        wandb_data.Content(True, 3, 1, 3),
        wandb_data.Content(True, 2, 4, 5),
    ]
    assert main(["show", "alpha"]) == 0
    assert "wandb       2 segments, 2 not uploaded: slipway runs sync alpha" in capsys.readouterr().out

    assert main(["sync", "alpha", "--dry-run"]) == 0
    planned = capsys.readouterr().out.splitlines()
    assert [line.split("    # ")[0].split(" -m ")[1] for line in planned] == [
        f"wandb sync {one.folder.resolve()}" for one in (first, second)
    ]
    assert [line.split("    # ")[1] for line in planned] == ["3 steps, 1-3", "2 steps, 4-5"]
    assert not server.history

    done = sync("alpha", url=server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "2 segments of alpha uploaded, 5 steps"
    assert KEY not in done.stdout
    assert server.steps(own) == [1, 2, 3, 4, 5]

    again = sync("alpha", url=server.url)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("nothing to upload")
    assert main(["show", "alpha"]) == 0
    assert "wandb       2 segments, all uploaded" in capsys.readouterr().out


@pytest.mark.timeout(180)
def test_no_server(run_dir: Callable[..., Path], server: Server) -> None:
    path = run_dir((1, 2))
    url = server.url
    server.server_close()
    done = sync(str(path), url=url)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "0 of 1 segments uploaded" in done.stderr and "connection refused" in done.stderr
    assert f"slipway runs sync {path}" in done.stderr and KEY not in done.stderr
    assert [one.uploaded for one in wandb_data.stored(path)] == [False]


def test_what_is_asked_for_wrongly(run_dir: Callable[..., Path]) -> None:
    run_dir((1, 2), mode="disabled")
    with refused("runs sync alpha", "logging.wandb.mode"):
        main(["sync", "alpha"])
    with refused("runs sync alpa", use="alpha"):
        main(["sync", "alpa"])
    with refused("runs sync", use=["NAME", "DIR"]):
        main(["sync"])
    with refused("runs show --dry-run", use="`runs sync`"):
        main(["show", "alpha", "--dry-run"])
    run_dir((3, 4))
    done = sync("alpha", url=None, key=None)
    assert (done.returncode, done.stdout) == (2, "")
    check_line(done.stderr, "runs sync alpha", "WANDB_API_KEY", "`wandb login`")
    done = sync("alpha", url=None, key="too-short")
    assert done.returncode == 2
    assert "too-short" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_is_being_written_is_left_out(
    run_dir: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_dir((1, 2))
    mirror = WandbMirror(plan_of(path, "offline"))
    try:
        for step in range(3, 600):  # wandb writes in blocks
            mirror.log({"train/loss": 1 / step, "step": step})
        limit = time.monotonic() + 30
        while len(wandb_data.stored(path)) < 2 and time.monotonic() < limit:
            time.sleep(0.1)
        first, second = wandb_data.stored(path)
        held = take(path)
        try:
            assert main(["sync", "alpha", "--dry-run"]) == 0
            said = capsys.readouterr().out
        finally:
            held.release()
        assert f"left out: {second.folder} is being written by" in said
        assert str(first.folder.resolve()) in said and str(second.folder.resolve()) not in said
    finally:
        mirror.close()


def test_of_a_killed_writer_the_steps_are_not_known(
    run_dir: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """What its run wrote is uploaded all the same; what never became a run is not."""
    path = run_dir((1, 2))
    mirror = WandbMirror(plan_of(path, "offline"))
    try:
        mirror.log({"train/loss": 1.0, "step": 3})
        limit = time.monotonic() + 30
        while not (len(wandb_data.stored(path)) == 2 and wandb_data.read(wandb_data.stored(path)[1].file)):
            assert time.monotonic() < limit
            time.sleep(0.1)
        assert mirror._process is not None
        os.killpg(mirror._process.pid, signal.SIGKILL)
    finally:
        mirror.close()
    first, killed = wandb_data.stored(path)[:2]
    assert wandb_data.read(killed.file) == wandb_data.Content()
    first.file.with_name(first.file.name + wandb_data.NOTE).unlink()
    assert main(["sync", "alpha", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"{killed.folder.resolve()}    # its writer was killed" in said
    assert str(first.folder.resolve()) not in said


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, slipway.runs.command, slipway.runs.sync; "
        "print([name for name in ('torch', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout.replace("'", '"')) == []
