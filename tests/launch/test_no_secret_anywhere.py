"""No secret of the caller's environment is in what is rendered, printed or left in a run's directory."""

import os
import sys
import time
from pathlib import Path

import pytest

import slurm_testbed
from slipway.cli import main
from slipway.config.compose import compose, conf_dir
from slurm_testbed import running

CANARY = "c4n4ry-5a0d4b1e77"
SECRETS = {
    name: f"{CANARY}-{name}"
    for name in (
        "WANDB_API_KEY",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "GITHUB_PAT",
        "MY_SECRET",
    )
}
PROFILES = sorted(path.stem for path in (conf_dir() / "cluster").glob("*.yaml"))


def variants(profile: str) -> list[list[str]]:
    """Words for `slipway launch`: each kind where the profile is of Kubernetes."""
    cluster = compose([f"cluster={profile}"]).cluster
    words = [f"cluster={profile}", "model=demo", "logging=wandb"]
    if cluster.kubernetes:
        return [[*words, f"launch.kind={kind}"] for kind in ("job", "jobset", "trainjob")]
    if cluster.slurm:
        words += (
            ["launch.account=project1", "launch.qos=own"]
            if cluster.slurm.qos_required
            else ["launch.account=a"]
        )
    return [words]


@pytest.mark.parametrize("profile", PROFILES)
def test_rendered_for(profile: str, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for words in variants(profile):
        assert main(["launch", "training.global_batch_size=64", *words]) == 0, capsys.readouterr().err
        out, err = capsys.readouterr()
        assert "plan.json" in out and profile in err  # it was rendered, and summed up
        assert CANARY not in out + err
    assert list(tmp_path.iterdir()) == []  # a dry run leaves nothing


def test_a_secret_in_the_words_is_refused_unsaid(capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRETS["HF_TOKEN"])
    for word in (f"+cluster.environment.HF_TOKEN={CANARY}", f"logging.wandb.project={SECRETS['HF_TOKEN']}"):
        assert main(["launch", "cluster=slurm", "model=demo", word]) == 2
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1 and CANARY not in err
        assert "HF_TOKEN" in err and "Secret" in err


# Runs what follows the image, outside of any container: real containers are in test_slurm_cluster.py.
NO_CONTAINER = """#!/bin/bash
while [ "$1" != image.sif ]; do shift; done
shift
exec "$@"
"""


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(slurm_testbed.lacking()), reason=f"lacking: {', '.join(slurm_testbed.lacking())}")
def test_submitted_trained_and_left_behind(tmp_path: Path, corpus: list[str]) -> None:
    """The whole way on a real Slurm: submitted, queued, trained with wandb's offline mirror, shown, read, done."""
    work = tmp_path / "work"
    (work / "bin").mkdir(parents=True)
    (work / "image.sif").touch()
    for name, text in (
        ("apptainer", NO_CONTAINER),
        ("slipway", f'#!/bin/sh\nexec {sys.executable} -m slipway "$@"\n'),
    ):
        (work / "bin" / name).write_text(text)
        (work / "bin" / name).chmod(0o755)
    said = []
    with running(tmp_path, nodes=("n1",)) as slurm:
        slurm.environment |= {**SECRETS, "PATH": f"{work / 'bin'}{os.pathsep}{slurm.environment['PATH']}"}
        words = [
            "model=demo",
            "model.num_layers=2",
            "model.vocab_size=257",
            "model.max_position_embeddings=32",
        ]
        words += ["training.steps=3", "training.global_batch_size=2", "training.micro_batch_size=2", *corpus]
        words += [
            "cluster=slurm",
            "cluster.device.kind=cpu",
            "cluster.slurm.exclusive=false",
            "cluster.internet=false",
        ]
        words += [
            "launch.image=image.sif",
            "launch.time_limit=10",
            "run.name=canary",
            "logging=wandb_offline",
        ]
        words += ["validation.steps=0", "resources.devices_per_node=1", "cluster.node.cores_per_device=1"]

        def slipway(*words: str) -> str:
            done = slurm.run([sys.executable, "-m", "slipway", *words], cwd=work, timeout=60)
            said.append(done.stdout + done.stderr)
            assert done.returncode == 0, done.stderr
            return done.stdout

        slipway("launch", *words)
        job = slipway("launch", "--submit", *words).strip()
        assert f'"id": "{job}"' in slipway("runs", "--json")
        log = work / "runs/canary/logs" / f"slurm-{job}.out"
        limit = time.monotonic() + 120
        while slurm.state(job) not in slurm_testbed.ENDED:
            assert time.monotonic() < limit, log.read_text()
            time.sleep(0.5)
        assert slurm.state(job) == "COMPLETED", log.read_text()
        assert "finished" in slipway("runs", "show", "canary")
        assert "slipway: done" in slipway("runs", "logs", "canary", "--follow")
        scripts = [path.read_bytes() for path in (tmp_path / "slurm/state").rglob("script")]
    assert CANARY not in "".join(said)
    files = [path for path in work.rglob("*") if path.is_file()]
    assert {"launch.json", "job_plan.json", "job.sh", "plan.json", "metrics.jsonl"} <= {
        path.name for path in files
    }
    assert any("offline-run-" in str(path) for path in files)  # wandb has written, too
    holding = [path for path in files if CANARY.encode() in path.read_bytes()]
    assert holding == [] and not any(CANARY.encode() in script for script in scripts)
