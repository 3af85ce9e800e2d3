"""Completion, asked as a shell asks: by running the program and, where there is bash, through bash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.verbs.completion import own_choices, without_verb
from slipway.verbs.configured import HELP, HYDRA

HYDRA_OPTIONS = [option.name for option in (*HYDRA, HELP)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `slipway` as the console script is."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "slipway"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom slipway.cli import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return script


def query(program: Path, line: str) -> list[str]:
    done = subprocess.run(
        [program, "-sc", "query=bash"],
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_the_program_answers(program: Path) -> None:
    assert query(program, "slipway ") == [
        "data",
        "plan",
        "kernels",
        "train",
        "launch",
        "checkpoint",
        "proposal",
        "doctor",
        "export",
        "import",
        "generate",
        "evaluate",
        "report",
        "runs",
        "clusters",
        "image",
        "jupyter",
        "bench",
    ]
    assert query(program, "slipway train model=llama3_8") == ["model=llama3_8b"]
    assert query(program, "slipway plan model=gpt3_125m --json parallelism.tens") == [
        "parallelism.tensor_model_parallel_size="
    ]
    assert {"training.", "experiment="} <= set(query(program, "slipway plan "))


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_bash_completes(program: Path) -> None:
    script = """
        eval "$(slipway -sc install=bash)"
        ask() {
            COMP_LINE="$1"; COMP_POINT=${#1}; COMP_WORDS=($1); COMP_CWORD=$2
            hydra_bash_completion
            echo "${COMPREPLY[*]}"
        }
        ask "slipway tr" 1
        ask "slipway train model=gpt3_1" 2
        complete -p slipway
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    verb, experiments, rule = done.stdout.splitlines()
    assert verb == "train"
    assert experiments.split() == [f"model=gpt3_{size}" for size in ("125m", "13b", "175b", "1_3b")]
    assert "hydra_bash_completion slipway" in rule


def test_verbs_and_options_are_ours() -> None:
    assert own_choices("slipway t") == ["train"]
    assert own_choices("slipway train --d") == ["--dry-run"]
    assert own_choices("slipway launch --") == [
        "--submit",
        "--chain",
        "--evaluate",
        "--preflight",
        *HYDRA_OPTIONS,
    ]
    assert own_choices("slipway checkpoint ") == ["list", "verify", "show"]
    assert own_choices("slipway checkpoint verify --") == ["--step", "--json", *HYDRA_OPTIONS]
    assert own_choices("slipway checkpoint list run.d") is None
    assert (own_choices("slipway doctor --c") or [])[:1] == ["--collectives"]
    assert own_choices("slipway train --p") == ["--plan", "--package"]
    assert own_choices("slipway train --plan ") == []
    assert own_choices("slipway bench c") == ["compare", "checkpoint"]
    assert own_choices("slipway bench compare --ro") == ["--rounds"]
    assert own_choices("slipway bench compare mod") is None
    assert own_choices("slipway clusters j") == ["jupiter_booster", "jureca_dc", "juwels_booster"]
    assert own_choices("slipway clusters --") == ["--config-dir", "--json", "--help"]
    assert own_choices("slipway image s") == ["sif", "sbom", "sign"]
    assert own_choices("slipway image build --d") == ["--dry-run", "--dir"]
    assert own_choices("slipway image test --gpu ") == ["nvidia", "amd"]
    assert own_choices("slipway runs show --j") == ["--json"]
    assert (own_choices("slipway runs ") or [])[:5] == ["show", "logs", "cancel", "sync", "--dir"]
    assert own_choices("slipway --v") == ["--version"]
    assert own_choices("slipway nothing ") == []
    assert own_choices("slipway train mod") is None


def test_hydra_sees_no_verb() -> None:
    assert without_verb("slipway train model=de") == "slipway model=de"
    assert without_verb("slipway checkpoint list run.d") == "slipway run.d"
    assert without_verb("slipway train --dry-run model=demo ") == "slipway model=demo "
    assert without_verb("slipway train ") == "slipway "
    assert without_verb("slipway checkpoint list --step 3 run.d") == "slipway run.d"
    assert without_verb("slipway bench train --out there model=de") == "slipway model=de"
