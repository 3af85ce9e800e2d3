"""`slipway launch --evaluate`: a job of one device that runs `slipway evaluate` on the run's checkpoints."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from refusals import check_line
from slipway import cli

RUN = [
    "model=llama3_8b",
    "data=files",
    "data.sources.files.inputs=[texts/]",
    "cluster=juwels_booster",
    "launch.account=PROJECT",
    "launch.image=/images/slipway.sif",
    "resources.nodes=8",
    "parallelism.tensor_model_parallel_size=4",
    "run.dir=runs/a run",
]


def launched(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(["launch", *RUN, *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_script_runs_the_words_on_one_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--every-checkpoint --files 'a file.txt' --tasks mine --include-path tasks"
    code, script, _ = launched(capsys, "--evaluate", words)
    assert code == 0 and list(tmp_path.iterdir()) == [], "a dry run writes nothing"
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", script, re.MULTILINE))
    assert (options["nodes"], options["ntasks-per-node"], options["gres"]) == ("1", "1", "gpu:1")
    (line,) = [line for line in script.splitlines() if line.startswith("on_all evaluate ")]
    expected = ["on_all", "evaluate", "run.dir=runs/a run", *shlex.split(words), "--plan"]
    assert shlex.split(line)[: len(expected)] == expected
    assert "run_dir='runs/a run/evaluation/job'" in script and re.search(r"^chain=1$", script, re.MULTILINE)


def test_pods_run_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "model=gpt3_1_3b",
        "cluster=gke",
        "launch.image=registry.example/slipway:cuda",
        "run.dir=runs/one",
    ]
    words += ["data=files", "data.sources.files.inputs=[texts/]"]
    assert cli.main(["launch", *words, "--evaluate", "--step 10,20"]) == 0
    (jobs,) = [one for one in yaml.safe_load_all(capsys.readouterr().out) if one and one["kind"] == "JobSet"]
    (job,) = jobs["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][:6] == ["slipway", "evaluate", "run.dir=runs/one", "--step", "10,20", "--plan"]


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["--evaluate", "--device cuda"], "launch --evaluate --device", ()),
        (["--evaluate", "run.dir=other"], "evaluate", ("RUN",)),
        (["--evaluate", "--fils a.txt"], "evaluate --fils", ("--files",)),
        (["--evaluate", "--step 'x"], "launch --evaluate", ()),
        (["--evaluate", "--step x"], "evaluate --step", ("100,200",)),
        (["--evaluate", "", "--chain", "3"], "launch --chain", ()),
        (["--evaluate", "", "--preflight"], "launch --preflight", ()),
        (["--evaluate", "", "-m", "optimizer.lr=1e-3,2e-3"], "launch --evaluate", ()),
    ],
)
def test_what_a_job_cannot_do_is_refused_here(
    words: list[str], path: str, facts: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = launched(capsys, *words)
    assert (code, out) == (2, "")
    check_line(err, path, *facts)
