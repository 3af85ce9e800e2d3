"""Perplexity on files by evaluation.interval: in every layout the figures of one process that reads the checkpoint."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from breadth import some
from refusals import refused
from slipway.config.compose import compose
from slipway.metrics import evaluations
from slipway.models import held_out
from slipway.models.evaluation import Result
from slipway.plan import make_plan
from training import SMALL, layout, slipway, told

LAYOUTS = {
    "one": layout(ranks=1),
    "tp2_pp2": layout(ranks=4, tp=2, pp=2, mbs=2),
    "cp2_dp2": layout(ranks=4, cp=2, mbs=1),
    "pp2_vpp2_sp": layout(ranks=4, tp=2, sp=True, pp=2, vpp=2),
    "distopt": layout(ranks=2, distopt=True, grad_overlap=True, param_overlap=True),
    "bf16": layout(ranks=2, precision="bf16"),
}
TEXTS = [
    "The first text.\n",
    "def second():\n    return 'a longer text, of more windows than one'\n" * 3,
    "é\n",
]


@pytest.fixture(scope="module")
def folder(
    train_many: Callable[[Sequence[Sequence[str]]], list[int]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "some.jsonl").write_text("".join(json.dumps({"page": text}) + "\n" for text in TEXTS))
    (folder / "other.txt").write_text(TEXTS[1])
    chosen = some(LAYOUTS, ["tp2_pp2", "cp2_dp2"])
    jobs = [
        [
            *words,
            f"run.dir={folder / name}",
            "data.sequence_length=32",
            "training.steps=4",
            "checkpoint.interval=2",
            "checkpoint.keep_last=null",
            "evaluation.interval=2",
            "evaluation.text_key=page",
            f"evaluation.files=[{folder / 'some.jsonl'},{folder / 'other.txt'}]",
            "evaluation.stride=20",
        ]
        for name, words in chosen.items()
    ]
    gone = [
        *jobs[0],
        *layout(ranks=1, tp=1, pp=1),
        f"run.dir={folder / 'gone'}",
        f"evaluation.files=[{folder / 'broken.txt'}]",
    ]
    (folder / "broken.txt").write_bytes(b"\xff no UTF-8")
    assert train_many([*jobs, gone]) == [0] * (len(jobs) + 1)
    return folder


def figures(results: Sequence[Result]) -> dict[tuple[int, str, str], float]:
    return {(one.step, s.what, s.measure): s.mean for one in results for s in one.scores}


@pytest.mark.parametrize("name", some(LAYOUTS, ["tp2_pp2", "cp2_dp2"]))
def test_a_layouts_figures_are_those_of_one_process(name: str, folder: Path, tmp_path: Path) -> None:
    trained, problems = evaluations.found(folder / name)
    assert problems == [] and [one.step for one in trained] == [2, 4]
    lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    told_of = {line["step"]: line["measures"] for line in lines if line["kind"] == "evaluation"}
    assert told_of == {one.step: {f"{s.what}/{s.measure}": s.mean for s in one.scores} for one in trained}
    words = [f"run.dir={folder / name}", "--every-checkpoint", "--text-key", "page", "--stride", "20"]
    words += ["--files", "some.jsonl", "--files", "other.txt"]
    done = slipway("evaluate", *words, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    alone = [
        Result.model_validate({k: v for k, v in json.loads(line).items() if k != "file"})
        for line in done.stdout.splitlines()
    ]
    assert [one.name for one in alone] == [one.name for one in trained] or name == "bf16"
    assert figures(alone) == pytest.approx(figures(trained), rel=1e-5 if name != "bf16" else 0.05)
    if name != "tp2_pp2":
        return
    again = slipway("evaluate", *words, "--json", cwd=folder)
    assert again.stdout == done.stdout and len(told(again.stderr)) == 0
    assert again.stderr.count("--again") == 2, "what is known is not measured again"


def test_files_that_cannot_be_read_are_an_event_and_training_goes_on(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "gone" / "metrics.jsonl").read_text().splitlines()]
    (event,) = [line for line in lines if line.get("event") == "evaluation not possible"]
    assert str(folder / "broken.txt") in event["reason"] and event["step"] == 0
    assert max(line["step"] for line in lines if line["kind"] == "train") == 4
    assert not (folder / "gone" / "evaluation").exists()


def test_files_that_are_not_there_are_refused_before_a_run_begins(tmp_path: Path) -> None:
    words = [*SMALL, "data=bytes", "evaluation.interval=5", f"evaluation.files=[{tmp_path}/none.txt]"]
    with refused("evaluation.files", tmp_path / "none.txt"):
        held_out.check_there(compose(words))


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["evaluation.interval=5"], "evaluation.files", ("evaluation.interval",)),
        (["evaluation.files=[a.txt]"], "evaluation.interval", ("evaluation.files",)),
        (
            [
                "evaluation.interval=5",
                "evaluation.files=[a.txt]",
                "evaluation.stride=33",
                "data.sequence_length=32",
            ],
            "evaluation.stride",
            (33, 32),
        ),
        (
            ["experiment=demo_earth", "evaluation.interval=5", "evaluation.files=[a.txt]"],
            "evaluation.files",
            ("imagery",),
        ),
    ],
)
def test_what_has_no_effect_is_refused(words: list[str], path: str, facts: tuple) -> None:
    base = [] if words[0].startswith("experiment") else [*SMALL, "data=bytes", "data.sequence_length=32"]
    with refused(path, *facts):
        make_plan(compose([*base, *words]))
