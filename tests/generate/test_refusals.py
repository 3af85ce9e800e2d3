"""What `slipway generate` refuses before torch is imported, each in one line."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Loaded
from tokenizers import models

from refusals import check_line
from slipway import cli
from slipway.config.compose import compose
from slipway.data.text.tokenizer import byte_tokenizer
from slipway.plan import make_plan, plan_file

POSITIONS = 16
LEARNED = "model.position_embedding_type=learned_absolute"


def begun(folder: Path, *words: str) -> Path:
    """A run's directory with a plan and a tokenizer, without a checkpoint."""
    small = [f"model.max_position_embeddings={POSITIONS}", f"data.sequence_length={POSITIONS}"]
    overrides = ["experiment=demo", "data=bytes", *small, LEARNED, *words]
    plan_file.write(make_plan(compose(overrides)), folder / "plan.json")
    (folder / "tokenizer").mkdir()
    byte_tokenizer("<|endoftext|>").save(str(folder / "tokenizer" / "tokenizer.json"))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return begun(tmp_path)


Caught = pytest.CaptureFixture[str]


def refused(run: Path, capsys: Caught, words: list[str], path: str | Path, *facts: object) -> None:
    before = sorted(run.rglob("*"))
    assert cli.main(["generate", f"run.dir={run}", *words]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    check_line(caught.err, path, *facts)
    assert sorted(run.rglob("*")) == before


def test_options_without_effect_and_out_of_range(run: Path, capsys: Caught) -> None:
    for option, value in (("--top-p", "0.5"), ("--top-k", "3"), ("--seed", "0")):
        refused(run, capsys, ["x", option, value], f"generate {option}", value, "--temperature")
    wrong = {"--temperature": ["0", "-1", "inf", "hot"], "--top-p": ["0", "1.01"], "--top-k": ["0"]}
    for option, values in (wrong | {"--tokens": ["0", "1.5"], "--step": ["-1"]}).items():
        for value in values:
            refused(run, capsys, ["x", f"{option}={value}"], f"generate {option}", value)
    refused(run, capsys, ["x", "--tempreature", "1"], "generate --tempreature", "--temperature")


def test_texts(run: Path, capsys: Caught, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run, capsys, ["x" * POSITIONS], "text", POSITIONS, POSITIONS - 1, "model.max_position_embeddings")
    refused(run, capsys, [], "generate", "-")  # no terminal
    refused(run, capsys, ["-", "x", "-"], "generate -")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    refused(run, capsys, ["-"], "generate -")
    refused(run, capsys, ["x"], "run.dir", run / "checkpoints")  # all is well but for the checkpoint
    refused(run, capsys, ["x=1"], "run.dir", run / "checkpoints")  # it is a text, and no override


def test_tokenizers(run: Path, capsys: Caught) -> None:
    path = run / "tokenizer" / "tokenizer.json"
    Loaded(models.WordPiece({"a": 0}, unk_token="?")).save(str(path))
    refused(run, capsys, ["b"], "text")
    refused(run, capsys, [""], "text")  # no end mark to begin after
    path.write_text("{}")
    refused(run, capsys, ["b"], path)
    path.unlink()
    refused(run, capsys, ["b"], "run.dir", path, run)


def test_runs(tmp_path: Path, capsys: Caught) -> None:
    refused(tmp_path / "none", capsys, ["x"], "run.dir", tmp_path / "none")
    refused(tmp_path, capsys, ["x"], "run.dir", "plan.json", tmp_path)
    assert cli.main(["generate", "x"]) == 2
    check_line(capsys.readouterr().err, "run.dir", "run.dir=DIR")
    assert cli.main(["generate", "run.dir=a", "run.dir=b", "x"]) == 2
    check_line(capsys.readouterr().err, "run.dir", "b")
    plan_file.write(make_plan(compose(["experiment=demo_earth"])), tmp_path / "plan.json")
    refused(tmp_path, capsys, ["x"], "model.family", "mae", "gpt")


def test_torch_stays_out(run: Path) -> None:
    """A mistake is told in the time that Python and the tokenizers library need."""
    program = (
        "import sys\nfrom slipway import cli\n"
        f"assert cli.main(['generate', 'run.dir={run}', 'x']) == 2\n"
        "assert not {'torch', 'megatron', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
