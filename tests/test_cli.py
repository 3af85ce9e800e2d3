import json
import os
import signal
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path

import pytest

from presets import large
from slipway import __version__, cli
from slipway.plan import Plan
from slipway.verbs import help
from slipway.verbs.table import VERBS


def slipway(*words: str, cwd: Path, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipway", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        **more,
    )


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--help"], {"hydra", "torch", "pydantic", "rich", "omegaconf"}),
        (["train", "--help"], {"hydra", "torch", "pydantic", "rich", "omegaconf"}),
        (["train", "--cfg", "job"], {"torch", "megatron", "pydantic", "numpy"}),
        (["doctor"], {"torch", "megatron", "numpy"}),
        (["plan"], {"torch", "megatron", "numpy"}),
        (["plan", "parallelism=auto"], {"torch", "megatron", "numpy"}),
        (["plan", "search", "resources.devices_per_node=1,2"], {"torch", "megatron", "numpy"}),
        (["clusters"], {"torch", "megatron", "numpy", "hydra", "omegaconf"}),
        (["launch"], {"torch", "megatron", "numpy"}),
        (["launch", "-m", "cluster=slurm", "training.seed=1,2"], {"torch", "megatron", "numpy"}),
        (["train", "--dry-run"], {"torch", "megatron", "numpy"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_light_verbs_import_nothing_heavy(words: list[str], absent: set[str], tmp_path: Path) -> None:
    program = (
        "import sys; from slipway.cli import main; code = main(sys.argv[1:]); "
        "print('MODULES', ' '.join({name.partition('.')[0] for name in sys.modules})); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("MODULES ")[2].split())
    assert "slipway" in loaded
    assert loaded & absent == set()
    assert list(tmp_path.iterdir()) == []


def test_help_teaches(capsys) -> None:
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)
    assert cli.main(["plan", "--help"]) == 0
    text = capsys.readouterr().out
    for choice in ("gpt3_175b", "mixtral_8x7b", "juwels_booster", "adamw_wsd", "wandb_offline", "--json"):
        assert choice in text
    assert max(map(len, text.splitlines())) <= 110


def test_commands_in_the_help_work(capsys, tmp_path, monkeypatch) -> None:
    """Every `slipway plan` line that help shows is a plan."""
    monkeypatch.chdir(tmp_path)
    text = help.general() + help.of_verb("plan").replace(" \\\n      ", " ")
    lines = [line.split("   ")[0].split() for line in text.splitlines() if line.startswith("  slipway plan ")]
    lines = [words for words in lines if "[options]" not in words]
    assert len(lines) >= 3 and any("parallelism=tp4_pp2" in words for words in lines)
    for words in lines:
        assert cli.main(words[1:]) == 0, words


def test_version(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"slipway {__version__}\n"


def test_cfg_shows_what_hydra_composed(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--cfg", "job", "training.steps=7"]) == 0
    assert "steps: 7" in (shown := capsys.readouterr().out) and "${run.name}" in shown
    assert cli.main(["--cfg", "job", "--resolve", "--package", "run"]) == 0
    assert "dir: runs/demo" in capsys.readouterr().out
    assert cli.main(["plan", "--cfg", "hydra"]) == 0
    assert "output_subdir: null" in capsys.readouterr().out
    assert cli.main(["plan", "--cfg", "all"]) == 0
    assert "training:" in (shown := capsys.readouterr().out) and "hydra:" in shown
    assert cli.main(["--cfg", "job", "--package", "nope"]) == 2
    assert cli.main(["--hydra-help"]) == 0
    assert "Hydra" in capsys.readouterr().out
    # In a process of its own: it sets up logging for good.
    done = slipway("--info", "searchpath", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "conf" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_overrides_that_add_and_delete(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plan", "--json", "+data.sources.mine.inputs=[a.txt]", "~data.sources.stdlib"]) == 0
    config = Plan.model_validate_json(capsys.readouterr().out).config
    assert list(config.data.sources) == ["mine"]


def test_a_plan_needs_no_data(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["model=gpt3_125m", "cluster=h100_cloud", "data.sequence_length=512"]
    assert cli.main(["plan", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["config"]["data"]["name"], found["units_per_sample"]) == ("any_text", 512)
    assert found["step_seconds"]["total"] > 0 and found["tokens_per_second"] > 0
    assert cli.main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("slipway: data:") and "data=files" in said and "any" not in said


def test_what_stands_for_data_is_of_a_kind_that_the_model_reads(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plan", "--json", "model=prithvi_eo2_600m", "cluster=h100_cloud"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["config"]["data"]["name"], found["units_per_sample"]) == ("any_imagery", 1024)
    assert found["patches_per_second"] == pytest.approx(1024 * found["samples_per_second"])


OWN = [
    *permutations(["--config-dir own", "cluster=desk", "run.name=a"]),
    ["--config-dir=own", "cluster=desk"],
]


@pytest.mark.parametrize("words", OWN, ids=" ".join)
def test_config_dir_stands_anywhere(tmp_path: Path, monkeypatch, capsys, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "cluster").mkdir(parents=True)
    (tmp_path / "own" / "cluster" / "desk.yaml").write_text("defaults: [local, _self_]\nname: desk\n")
    assert cli.main(["plan", "--json", *" ".join(words).split()]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["cluster"]["name"] == "desk"


def test_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--dry-run", "experiment=demo"]) == 0
    assert "Plan of demo" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_faults_are_not_dressed_up_as_mistakes(monkeypatch) -> None:
    from slipway.plan import command

    def broken(config, options) -> int:
        raise ValueError("a bug, not a mistake")

    monkeypatch.setattr(command, "run", broken)
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["plan"])


def test_broken_pipe_is_quiet(tmp_path: Path) -> None:
    for words in (["plan", "--ranks", "all", *large("gpt3_175b", 128)], ["plan", "--json"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as out:
            done = subprocess.run(
                [sys.executable, "-m", "slipway", *words],
                cwd=tmp_path,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                timeout=100,
            )
        assert (done.returncode, done.stderr) == (1, ""), words


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from slipway import cli\n"
        "from slipway.plan import command\n"
        "def wait(config, options):\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "command.run = wait\n"
        "sys.exit(cli.main(['plan']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )
    assert process.stdout is not None and process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begin < 20
    assert (process.returncode, err) == (130, "slipway: interrupted\n")


def test_program_and_exit_code(tmp_path: Path) -> None:
    assert slipway("plan", "experiment=demo", cwd=tmp_path).returncode == 0
    assert slipway("plan", "experiment=demo", "training.steps=0", cwd=tmp_path).returncode == 2
