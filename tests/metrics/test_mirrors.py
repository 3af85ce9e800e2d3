"""The mirrors with the real wandb: a server that is not there, silent, or goes away ends and holds nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from refusals import missing, refused
from slipway.config.compose import compose
from slipway.metrics import mirrors, wandb_access, wandb_data, wandb_mirror
from slipway.metrics.log import Metrics
from slipway.metrics.wandb_mirror import CLOSE_SECONDS, WandbMirror, identity
from slipway.plan import make_plan, plan_file
from slipway.run_dir import RunDir
from slipway.runs.sync import command
from training import SMALL, slipway, told, training_lines
from wandb_server import KEY, wandb_server


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no settings of whoever runs the tests."""
    for name in ("HOME", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """wandb leaves nothing in the folder for temporary files, however it ends."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    assert [path.name for path in folder.iterdir() if "wandb" in path.name] == []


@pytest.fixture
def closed_port() -> str:
    """The URL of a port that nobody listens on."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def silent_port() -> Iterator[str]:
    """The URL of a port that takes connections and never answers."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(64)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


ONLINE = "logging.wandb.mode=online"


def events(run_dir: Path) -> list[dict]:
    lines = [json.loads(line) for line in RunDir(run_dir).metrics.read_text().splitlines()]
    return [line for line in lines if line["kind"] == "event"]


def plan_of(run_dir: Path, *words: str):  # noqa: ANN201
    run_dir.mkdir(parents=True, exist_ok=True)
    return make_plan(compose(["model=demo", f"run.dir={run_dir}", *words]))


def log(mirror: WandbMirror, *steps: int) -> None:
    for step in steps:
        mirror.log({"train/loss": 1 / step, "step": step})


def wait_for(what: Callable[[], object], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.timeout(200)
@pytest.mark.faults
def test_training_goes_on_without_a_server(
    corpus: list[str], tmp_path: Path, closed_port: str, silent_port: str
) -> None:
    processes = {}
    for name, url in {"closed": closed_port, "silent": silent_port}.items():
        words = [
            *SMALL,
            *corpus,
            "training.steps=2",
            "optimizer.lr_warmup_steps=1",
            ONLINE,
            f"run.name={name}",
        ]
        processes[name] = subprocess.Popen(
            [sys.executable, "-m", "slipway", "train", *words],
            cwd=tmp_path,
            env={**os.environ, "WANDB_BASE_URL": url, "WANDB_API_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    for name, process in processes.items():
        said, errors = process.communicate(timeout=120)
        run_dir = tmp_path / "runs" / name
        assert (process.returncode, errors) == (0, ""), name
        assert [line["step"] for line in training_lines(run_dir)] == [1, 2]
        (event,) = [one for one in events(run_dir) if one["event"].startswith("wandb")]
        assert event["event"] == "wandb offline" and event["reason"]
        (line,) = [line for line in said.splitlines() if "wandb" in line]
        assert line.startswith("wandb offline: ") and f"`slipway runs sync {name}` uploads it later" in line
        # the attempt to go online may have left a folder, too, with nothing in it
        run = RunDir(run_dir)
        data = [wandb_data.read(one.file) for one in wandb_data.pending(run_dir)]
        assert any(one and one.ended and (one.count, one.last) == (3, 2) for one in data)  # 0: of the start
        for file in (run.metrics, run.plan, *run.segments.iterdir()):
            assert KEY not in file.read_text()
        assert KEY not in said
        assert time_of(events(run_dir)[-1]) - time_of(training_lines(run_dir)[-1]) < CLOSE_SECONDS + 5


def time_of(line: dict) -> float:
    return line["time"]


@pytest.mark.timeout(200)
def test_one_run_over_segments_offline(
    train_many: Callable[[Sequence[Sequence[str]]], list[int]], tmp_path: Path
) -> None:
    job = ["training.steps=4", "logging.wandb.mode=offline", "logging.tensorboard=true"]
    job += ["run.name=two", f"run.dir={tmp_path / 'two'}"]
    assert train_many([[*job, "training.stop_after_step=2"], job]) == [0, 0]
    every = [wandb_data.read(one.file) for one in wandb_data.stored(tmp_path / "two")]
    assert [one and (one.first, one.last) for one in every] == [
        (0, 2),
        (2, 4),
    ]  # 0 and 2: the events of starts
    names = {one.file.name for one in wandb_data.stored(tmp_path / "two")}
    assert names == {f"run-{identity('two', tmp_path / 'two')}.wandb"}
    assert not [one for one in events(tmp_path / "two") if "wandb" in one["event"]]


@pytest.mark.timeout(120)
@pytest.mark.faults
def test_a_server_that_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wandb_mirror, "UPLOAD_SECONDS", 3.0)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    own = identity("run", tmp_path / "run")
    plan = plan_of(tmp_path / "run", "run.name=run", "logging.wandb.mode=online")
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        metrics = Metrics(plan, 0)
        metrics.write("train", step=1, loss=1.0)
        wait_for(lambda: server.history.get(own))
        url = server.url
    metrics.write("train", step=2, loss=0.5)
    started = time.monotonic()
    metrics.close()
    assert time.monotonic() - started < 12
    (event,) = events(tmp_path / "run")
    assert (event["event"], event["step"]) == ("wandb offline", 2)
    said = capsys.readouterr().out
    assert said.startswith(f"wandb online: {url}/") and "\nwandb offline: " in said
    (one,) = wandb_data.pending(tmp_path / "run")
    assert one.online and wandb_data.read(one.file) == wandb_data.Content(True, 2, 1, 2)

    with wandb_server() as later:
        later.history = server.history  # what it had got
        environment = {**os.environ, "WANDB_BASE_URL": later.url}
        done = subprocess.run(command(one), env=environment, capture_output=True, timeout=60)
        assert done.returncode == 0 and one.uploaded
        lines = later.history[own].values()
    # a line that comes twice has the same number, under which wandb's server keeps it
    assert {line["_step"]: line["step"] for line in lines} == {0: 1, 1: 2}


@pytest.mark.timeout(60)
def test_wandb_s_process_dies(tmp_path: Path) -> None:
    mirror = WandbMirror(plan_of(tmp_path / "run", "logging.wandb.mode=online"))
    try:
        wait_for(lambda: mirror._process is not None)
        process = mirror._process
        assert process is not None
        process.kill()
        log(mirror, 1, 2)
    finally:
        mirror.close()
    (note,) = mirror.notes()
    assert note == {"event": "wandb offline", "reason": "no answer in time"}
    (one,) = wandb_data.stored(tmp_path / "run")
    assert wandb_data.read(one.file) == wandb_data.Content(True, 2, 1, 2)


@pytest.mark.timeout(60)
def test_nothing_outlives_a_killed_trainer(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from slipway.plan import plan_file\n"
        "from slipway.metrics.wandb_mirror import WandbMirror\n"
        "mirror = WandbMirror(plan_file.read(pathlib.Path(sys.argv[1])))\n"
        "mirror.log({'train/loss': 1.0, 'step': 1})\n"
        "while not mirror._lines.empty(): time.sleep(0.05)\n"
        "time.sleep(0.3); print('handed over', flush=True); time.sleep(60)"
    )
    plan_file.write(plan_of(tmp_path / "run", "logging.wandb.mode=offline"), tmp_path / "plan.json")
    trainer = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "plan.json")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert trainer.stdout is not None and trainer.stdout.readline() == "handed over\n"
        children = psutil.Process(trainer.pid).children(recursive=True)
        assert "wandb-core" in {child.name() for child in children}
    finally:
        trainer.send_signal(signal.SIGKILL)
        trainer.wait(10)
    gone, alive = psutil.wait_procs(children, timeout=15)
    assert not alive
    (one,) = wandb_data.stored(tmp_path / "run")
    assert wandb_data.read(one.file) == wandb_data.Content(True, 1, 1, 1)


def test_what_is_missing_is_found_before_anything_starts(
    corpus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        *SMALL,
        *corpus,
        "training.steps=2",
        "optimizer.lr_warmup_steps=1",
        ONLINE,
        f"run.dir={tmp_path / 'run'}",
    ]
    done = slipway("train", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = told(done.stderr)
    assert not missing(line, ["logging.wandb.mode: online", "WANDB_API_KEY", "`wandb login`"])
    assert not (tmp_path / "run").exists()

    (tmp_path / ".netrc").write_text(f"machine wandb.example.org\n  login user\n  password {KEY}\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert wandb_access.key_problem() is None

    monkeypatch.setattr(mirrors, "installed", lambda package: False)
    for path, value, use in (
        ("logging.wandb.mode", "offline", "disabled"),
        ("logging.tensorboard", None, False),
    ):
        with refused(path, value=value, use=use):
            mirrors.check(compose(["model=demo", f"{path}={value or 'true'}"]))
    mirrors.check(compose(["model=demo"]))


def test_a_folder_called_wandb_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "nopackage").mkdir()
    program = "from slipway.metrics.wandb_access import installed; print(installed('nopackage'), installed('wandb'))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False True\n"
