"""`slipway generate` on runs that were really trained, against transformers on what is exported of them."""

import json
import os
import pty
import select
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warm
from breadth import some
from refusals import check_line
from slipway import cli
from slipway.models.sampling import Sampling, distribution
from training import SMALL, layout, train_in_one_process

pytestmark = pytest.mark.timeout(300)

HERE = Path(__file__).parent
TOKENS, POSITIONS = 24, 32
PROMPTS = ["def f(", "é", "import os, sys  # 1"]
RUNS = {  # the demo model is GPT-NeoX for transformers; the other one is Mixtral, in bf16
    "tp2": layout(ranks=2, tp=2),
    "tp2 pp2 dp2": layout(ranks=8, tp=2, pp=2, distopt=True),
    "experts in bf16": [
        *layout(ranks=2, ep=2, precision="bf16"),
        "model.num_moe_experts=4",
        "model.add_bias_linear=false",
        "model.normalization=RMSNorm",
        "model.activation=swiglu",
    ],
}
CHOSEN = some(RUNS, ["tp2"], second=["experts in bf16"])


def words(name: str, root: Path) -> list[str]:
    return [
        *SMALL,
        "data=bytes",
        f"data.dir={root / 'data'}",
        f"data.sequence_length={POSITIONS}",
        f"run.dir={root / name}",
        "training.steps=4",
        "checkpoint.interval=2",
        "checkpoint.keep_last=9",
        "model.num_layers=2",
        "model.untie_embeddings_and_output_weights=true",
        "model.init_method_std=0.3",  # so that a model of a few steps says different things
        *CHOSEN[name],
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs whose prepared data is gone."""
    root = tmp_path_factory.mktemp("generate")
    codes = train_in_one_process([words(name, root) for name in CHOSEN], root / "codes.json")
    assert codes == [0] * len(CHOSEN)
    shutil.rmtree(root / "data")
    return root


def command(*lines: tuple[Sequence[str], str]) -> list[tuple[int, str, str]]:
    """Run command lines, each with its standard input, in one process."""
    done = warm.run(
        [sys.executable, str(HERE / "commands.py")], input=json.dumps(lines), capture_output=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return [tuple(one) for one in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture(scope="module")
def said(root: Path) -> dict[str, Any]:
    """What several command lines of the first run print, by a name; and its export and those of the others."""
    name = next(iter(CHOSEN))
    generate = ["generate", f"run.dir={root / name}", "--tokens", str(TOKENS)]
    lines = {
        "json": ([*generate, "--json", *PROMPTS], ""),
        "plain": ([*generate, PROMPTS[0]], ""),
        "stdin": ([*generate, "--json", "-", PROMPTS[1]], PROMPTS[0] + "\n"),
        "empty": ([*generate, "--json", ""], ""),
        "step": ([*generate, "--json", "--step", "2", PROMPTS[0]], ""),
        "drawn": ([*generate, "--json", "--temperature", "0.9", "--top-p", "0.9", "x", "x"], ""),
        "drawn again": ([*generate, "--json", "--temperature", "0.9", "--top-p", "0.9", "x"], ""),
        "beyond": ([*generate, "--json", "x" * (POSITIONS - 2)], ""),
    }
    for run in CHOSEN:
        lines[f"{run} export"] = (["export", "hf", f"run.dir={root / run}", f"to={root / run}-hf"], "")
        lines[run] = (["generate", f"run.dir={root / run}", "--tokens", str(TOKENS), "--json", *PROMPTS], "")
    return dict(zip(lines, command(*lines.values()), strict=True))


def objects(done: tuple[int, str, str]) -> list[dict[str, Any]]:
    code, out, err = done
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_texts_for_programs_and_for_people(said: dict[str, Any]) -> None:
    found = objects(said["json"])
    assert [one["prompt"] for one in found] == PROMPTS
    assert all(one["step"] == 4 and one["end"] == "tokens" and len(one["tokens"]) == TOKENS for one in found)
    code, out, err = said["plain"]
    assert (code, out) == (0, PROMPTS[0] + found[0]["text"] + "\n")
    assert "Traceback" not in err
    first, second = objects(said["stdin"])
    assert (first["prompt"], first["tokens"]) == (PROMPTS[0], found[0]["tokens"])
    assert second["tokens"] == found[1]["tokens"]
    (empty,) = objects(said["empty"])
    assert (empty["prompt"], len(empty["tokens"])) == ("", TOKENS)
    (earlier,) = objects(said["step"])
    assert earlier["step"] == 2 and earlier["tokens"] != found[0]["tokens"]


def test_chance_goes_by_the_seed(said: dict[str, Any]) -> None:
    first, second = objects(said["drawn"])
    (again,) = objects(said["drawn again"])
    assert first["tokens"] == again["tokens"] != second["tokens"]


def test_beyond_what_the_model_was_made_for(said: dict[str, Any]) -> None:
    """Rotary positions go on; that nobody has trained them is said."""
    (found,) = objects(said["beyond"])
    assert len(found["tokens"]) == TOKENS
    assert (
        f" {POSITIONS} tokens" in said["beyond"][2] and "model.max_position_embeddings" in said["beyond"][2]
    )


@pytest.fixture(scope="module")
def theirs(root: Path, said: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name in CHOSEN:
        assert said[f"{name} export"][0] == 0, said[f"{name} export"][2]
        asked = {
            "folder": f"{root / name}-hf",
            "prompts": [*PROMPTS, "x" * (POSITIONS - 2)],
            "tokens": TOKENS,
            "logits": LOGITS,
            "samplings": SAMPLINGS,
        }
        done = warm.run(
            [sys.executable, str(HERE / "in_transformers.py")],
            input=json.dumps(asked),
            capture_output=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        found[name] = json.loads(done.stdout.splitlines()[-1])
    return found


LOGITS = np.random.default_rng(1).normal(0, 3, 50).tolist()
SAMPLINGS = [
    (1.0, 1.0, None),
    (0.7, 0.8, None),
    (2.0, 0.31, None),
    (1.0, 1.0, 7),
    (0.5, 0.95, 7),
    (1.3, 1e-6, 3),
]


def test_the_same_greedy_text_as_transformers(said: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name in CHOSEN:
        *usual, beyond = theirs[name]["texts"]
        ours = objects(said[name])
        assert [{key: one[key] for key in ("tokens", "text")} for one in ours] == usual
        assert len({token for one in ours for token in one["tokens"]}) > 3  # they say something
        if name == next(iter(CHOSEN)):
            assert objects(said["beyond"])[0]["tokens"] == beyond["tokens"]


def test_the_same_distribution_as_transformers(theirs: dict[str, Any]) -> None:
    found = next(iter(theirs.values()))["distributions"]
    for sampling, expected in zip(SAMPLINGS, found, strict=True):
        ours = distribution(np.array(LOGITS), Sampling(*sampling))
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_which_checkpoints_there_are(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(root / next(iter(CHOSEN)), run)
    generate = ["generate", f"run.dir={run}", "x"]
    assert cli.main([*generate, "--step", "3"]) == 2
    check_line(capsys.readouterr().err, "generate --step", 3, 2, 4)
    shard = next((run / "checkpoints" / "step-00000004").glob("__*.distcp"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert cli.main([*generate, "--step", "4"]) == 2
    check_line(capsys.readouterr().err, run / "checkpoints" / "step-00000004", shard.name)
    tokenizer = run / "tokenizer" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert cli.main([*generate, "--step", "2"]) == 2
    check_line(capsys.readouterr().err, tokenizer)
    assert "torch" not in capsys.readouterr().out


def test_a_terminal(root: Path) -> None:
    """Lines that are typed, until Ctrl-D."""
    leader, follower = pty.openpty()
    run_dir = root / next(iter(CHOSEN))
    line = [sys.executable, "-m", "slipway", "generate", f"run.dir={run_dir}", "--tokens", "5"]
    with warm.start(line, stdin=follower, stdout=follower, stderr=follower, cwd=root) as process:
        os.close(follower)
        shown = b""
        for typed in (b"abc\n", b"\n", b"\x04"):
            shown += until(leader, b"> ")
            os.write(leader, typed)
        shown += until(leader, None)
        assert process.wait(60) == 0, shown
    os.close(leader)
    assert b"Traceback" not in shown and b"slipway: " not in shown, shown


def until(terminal: int, ending: bytes | None) -> bytes:
    """What a terminal shows until it shows this; None: until nobody writes any more."""
    shown = b""
    while ending is None or not shown.endswith(ending):
        assert select.select([terminal], [], [], 100)[0], shown
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # all have closed the other end
            assert ending is None, shown
            return shown
    return shown
