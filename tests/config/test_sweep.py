from pathlib import Path

from slipway.cli import main
from slipway.config import sweep
from slipway.config.hydra_app import run
from slipway.errors import UserError


def _runs(words: list[str], code_of=lambda config: 0) -> tuple[int, list[tuple[str, str]]]:
    seen = []

    def task(config) -> int:
        seen.append((config.run.name, str(config.run.dir)))
        return code_of(config)

    return run(words, task), seen


def test_each_job_is_a_run_of_its_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, seen = _runs(["-m", "optimizer.lr=1e-3,1e-4", "training.seed=1,2", "training.steps=5"])
    assert code == 0
    assert seen == [
        (f"demo,lr={lr},seed={seed}", f"runs/demo,lr={lr},seed={seed}")
        for lr in (0.001, 0.0001)
        for seed in (1, 2)
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_sweep_may_name_its_runs() -> None:
    assert _runs(["-m", "run.name=a,b"])[1] == [("a", "runs/a"), ("b", "runs/b")]
    assert _runs(["-m", "run.dir=x,y"])[1] == [("demo", "x"), ("demo", "y")]
    assert [name for name, _ in _runs(["-m", "run.name=base", "training.seed=1,2"])[1]] == [
        "base,seed=1",
        "base,seed=2",
    ]
    code, seen = _runs(["-m", "run.dir='out/${run.name}'", "training.seed=1,2"])
    assert [folder for _, folder in seen] == ["out/demo,seed=1", "out/demo,seed=2"]


def test_two_jobs_never_share_a_folder(capsys) -> None:
    code, seen = _runs(["-m", "run.dir=x", "training.seed=1,2"])
    assert (code, seen) == (2, [])
    assert "slipway: job 0: run.dir: " in capsys.readouterr().err
    code, seen = _runs(["-m", "run.dir=x,y", "training.seed=1,2"])
    assert (code, len(seen)) == (2, 2)
    assert "slipway: job 1: run.dir: " in capsys.readouterr().err


def test_a_failed_job_stops_no_other(capsys) -> None:
    def code_of(config) -> int:
        if config.training.seed == 1:
            raise UserError("training.seed", "is\nbad", value=1)
        if config.training.seed == 2:
            raise RuntimeError("a fault")
        return 0

    code, seen = _runs(["-m", "training.seed=1,2,3"], code_of)
    err = capsys.readouterr().err
    assert (code, len(seen)) == (2, 3)
    assert "job 0: training.seed: 1 is bad" in err
    assert "RuntimeError: a fault" in err
    assert err.rstrip().endswith("2 of 3 jobs failed: 0, 1")


def test_an_invalid_value_fails_its_job_only(capsys) -> None:
    code, seen = _runs(["-m", "training.steps=0,5"])
    assert (code, len(seen)) == (2, 1)
    assert "job 0: training.steps: 0 " in capsys.readouterr().err


def test_a_choice_that_is_not_there_fails_before_any_job(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "-m", "model=demo,nope"]) == 2
    out, err = capsys.readouterr()
    assert (out, list(tmp_path.iterdir())) == ("", [])
    assert err.startswith("slipway: model=nope: ")


def test_names_are_valid_and_short() -> None:
    assert sweep.run_name("demo", ["+data.sources={a:{inputs:[x/y]}}"], 3) == "demo,sources=-a-inputs-x-y"
    assert sweep.run_name("demo", [f"a.b={'x' * 300}"], 3) == "demo,job=3"
    assert sweep.run_name("demo", [], 0) == "demo"
