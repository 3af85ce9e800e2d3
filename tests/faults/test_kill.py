"""kill -9 at some moments, of one rank and of all, some within a save: not a step is lost beyond the checkpoint.

One run is killed again and again and started again each time; at the end its losses are, bit for bit, those of
the run that nobody disturbed.
"""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

import breadth
import chips
from processes import gone, ranks_of, started, wait_until
from training import SMALL, layout, lines_of, slipway, training_lines

KILLS = {
    "gpt": 20 if breadth.ALL else 6,
    "mixture": 12 if breadth.ALL else 4,
    "mae": 12 if breadth.ALL else 4,
}
# of a router's bias, which is no parameter, a step undone must leave nothing behind
MIXTURE = ["model.num_moe_experts=4", "model.moe_router_topk=2", "model.add_bias_linear=false"]
MIXTURE += ["model.moe_router_score_function=sigmoid", "model.moe_router_enable_expert_bias=true"]
MIXTURE += ["model.moe_router_bias_update_rate=0.003", *layout(ep=2)]
SETTINGS = [
    "model.num_layers=2",
    *layout(ranks=4, tp=2, sp=True, distopt=True),
    "checkpoint.interval=2",
    "watch.straggler_interval=0",
]


def saving(run_dir: Path) -> bool:
    """A save is under way."""
    return any((run_dir / "checkpoints").glob(".step-*.tmp"))


def steps_since(run_dir: Path, since: float) -> int:
    """Steps done after a time; what an earlier start did is still in the file before a new one's first step."""
    lines = training_lines(run_dir) if (run_dir / "metrics.jsonl").exists() else []
    return sum(line["time"] > since for line in lines)


def kill(process: subprocess.Popen[str], everybody: bool, victim: int) -> None:
    """One rank, or the parent with all of them, as when a node goes down."""
    ranks = ranks_of(process)
    for rank in ranks if everybody else ranks[victim : victim + 1]:
        rank.kill()
    if everybody:
        process.kill()
    process.wait(timeout=30)
    limit = time.monotonic() + 10
    while not all(gone(rank) for rank in ranks):
        assert time.monotonic() < limit, "ranks outlived their parent"
        time.sleep(0.02)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", KILLS)
def test_kills_leave_the_curve_as_it_is(corpus: list[str], tmp_path: Path, family: str) -> None:
    run_dir, dice, kills = tmp_path / "run", random.Random(3), KILLS[family]
    steps = 9 * kills
    text = [*SMALL, *corpus]
    models = {"gpt": lambda: text, "mixture": lambda: [*text, *MIXTURE]}
    model = models.get(family, lambda: [*chips.TINY, *chips.write(tmp_path / "chips")])()
    words = [*model, *SETTINGS, f"training.steps={steps}", f"run.dir={run_dir}"]
    within_saves, alone, together = 0, 0, 0
    for number in range(kills):
        everybody, in_save = number % 2 == 0, number % 3 == 0
        with started(words, tmp_path) as process:
            since = time.time()
            # progress first, so that the kills wander through the whole run; then anywhere
            wait_until(lambda since=since: steps_since(run_dir, since) > 0, process)
            if in_save:
                wait_until(lambda: saving(run_dir), process)
                time.sleep(dice.uniform(0, 0.05))
            else:
                time.sleep(dice.uniform(0, 0.6))
            assert process.poll() is None, "it was over before the kill: make the run longer"
            within_saves += saving(run_dir)
            kill(process, everybody, dice.randrange(4))
        assert process.returncode == (-signal.SIGKILL if everybody else 1)
        together, alone = together + everybody, alone + (not everybody)
    assert (together, alone) == (kills / 2, kills / 2)
    assert within_saves >= kills // 4

    last = slipway("train", *words, cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    whole = slipway("train", *words, f"run.dir={tmp_path / 'whole'}", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    exact = ("step", "loss", "grad_norm", "learning_rate", "consumed_samples", "measures")
    curves = [
        [[line.get(name) for name in exact] for line in training_lines(folder)]
        for folder in (run_dir, tmp_path / "whole")
    ]
    assert len(curves[1]) == steps
    assert curves[0] == curves[1]
    loads = [
        [(line["step"], line["load"], line["bias"]) for line in lines_of(folder, "load")]
        for folder in (run_dir, tmp_path / "whole")
    ]
    assert loads[0] == loads[1]
    assert bool(loads[0]) is (family == "mixture")
    assert not list((run_dir / "checkpoints").glob(".*"))
