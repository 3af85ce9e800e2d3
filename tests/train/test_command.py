"""`slipway train` as people and launchers start it; what it leaves behind; its mirrors."""

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import warm
from refusals import check_line
from training import SMALL, layout, slipway, told, training_lines

STEPS = 3


@pytest.fixture
def job(corpus: list[str], tmp_path: Path) -> list[str]:
    """Overrides of a three-step run in tmp_path/run."""
    return [*SMALL, *corpus, f"run.dir={tmp_path / 'run'}", f"training.steps={STEPS}"]


def test_a_run_directory(job: list[str], tmp_path: Path) -> None:
    done = slipway(
        "train",
        *job,
        *layout(ranks=4, tp=2, pp=2),
        "validation.steps=1",
        "data.split=[0.8,0.2,0]",
        "logging.interval=1",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert told(done.stderr) == []
    run_dir = tmp_path / "run"
    plan = json.loads((run_dir / "plan.json").read_text())
    assert plan["world_size"] == 4
    segment = json.loads((run_dir / "segments" / "0001.json").read_text())
    assert plan["switches"] == segment["switches"] == {"deallocate_pipeline_outputs": True}
    assert "switch deallocate_pipeline_outputs: true" in done.stdout
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [0, STEPS]
    train = training_lines(run_dir)
    assert [line["step"] for line in train] == [1, 2, 3]
    expected = {
        *("step", "loss", "learning_rate", "grad_norm", "units_per_second", "step_seconds"),
        *("tflops_per_device", "mfu", "memory_gib", "data_wait_seconds", "consumed_samples"),
    }
    assert expected <= train[0].keys()
    assert all(0 < line["mfu"] < 1.5 and line["memory_gib"] > 0 for line in train)
    assert train[-1]["consumed_samples"] == STEPS * 8
    assert (run_dir / "checkpoints" / "step-00000003").is_dir()
    for step in range(1, STEPS + 1):
        assert f"step {step}/3" in done.stdout


def test_a_plan_file_is_enough(job: list[str], tmp_path: Path) -> None:
    planned = slipway("plan", *job, "--json", cwd=tmp_path)
    (tmp_path / "plan.json").write_text(planned.stdout)
    done = slipway("train", "--plan", str(tmp_path / "plan.json"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(training_lines(tmp_path / "run")) == STEPS


@pytest.mark.slow  # the tests of faults start it, too
def test_torchrun(job: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        + ["-m", "slipway", "train", *job, *layout(ranks=2, tp=2, sp=True)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert len(training_lines(tmp_path / "run")) == STEPS


def test_srun(job: list[str], tmp_path: Path) -> None:
    """Two processes with what srun sets, as it starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"SLURM_STEP_NUM_TASKS": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = [sys.executable, "-m", "slipway", "train", *job, *layout(ranks=2, pp=2)]
    ranks = [
        warm.start(
            words,
            env={**os.environ, **common, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    errors = [rank.communicate(timeout=180)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    assert len(training_lines(tmp_path / "run")) == STEPS


def test_a_launcher_with_another_number_of_ranks(job: list[str], tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "RANK": "0",
        "WORLD_SIZE": "8",
        "MASTER_ADDR": "localhost",
        "LOCAL_RANK": "0",
    }
    done = slipway("train", *job, *layout(ranks=4), cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "nodes 1 x devices_per_node 4 = 4, but the launcher started 8 ranks" in done.stderr
    assert "resources.elastic=true" in done.stderr
    assert not (tmp_path / "run").exists()


def test_mirrors_need_no_network(job: list[str], tmp_path: Path) -> None:
    """The real wandb, offline, and TensorBoard hold what metrics.jsonl holds."""
    words = [*job, "logging.tensorboard=true", "logging.wandb.mode=offline"]
    done = slipway("train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    losses = [line["loss"] for line in training_lines(tmp_path / "run")]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(losses)
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]

    (stored,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert wandb_losses(stored) == pytest.approx(losses)


def wandb_losses(path: Path) -> list[float]:
    """The logged losses in wandb's own offline file."""
    from wandb.proto import wandb_internal_pb2

    losses = []
    for data in wandb_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        record.ParseFromString(data)
        for item in record.history.item:
            if item.key == "train/loss" or list(item.nested_key) == ["train/loss"]:
                losses.append(json.loads(item.value_json))
    return losses


def wandb_records(content: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log after wandb's 7-byte header: blocks of 32 KiB, chunks of crc, length, type, data."""
    at, parts = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # no chunk begins in the last bytes of a block
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last chunk
            yield parts
            parts = b""


def test_nothing_of_the_compiler_is_imported(job: list[str], tmp_path: Path) -> None:
    """The two seconds of torch's compiler are spared; a rank would import it at its first optimizer step."""
    program = (
        "import sys; from slipway.config.compose import compose; from slipway.train import command\n"
        "def probe(count, logs, body, node):\n"
        "    def then(place):\n"
        "        code = body(place)\n"
        "        print('compiler' if 'torch._dynamo' in sys.modules else 'spared', flush=True)\n"
        "        return code\n"
        "    return real(count, logs, then, node)\n"
        "real, command.run_local = command.run_local, probe\n"
        "sys.exit(command.run(compose(sys.argv[1:])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *job, *layout(ranks=1, distopt=True)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "spared"


def test_another_name_in_a_run_s_directory(job: list[str], tmp_path: Path) -> None:
    """Its curve, and its run in wandb, go by the name it was begun with."""
    planned = slipway("plan", *job, "run.name=first", "--json", cwd=tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "plan.json").write_text(planned.stdout)
    done = slipway("train", *job, "run.name=second", cwd=tmp_path)
    assert done.returncode == 2
    check_line(done.stderr, "run.name", "second", "first", tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["plan.json"]
