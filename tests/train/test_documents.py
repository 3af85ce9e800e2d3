"""Documents kept apart within a sample: what one says does not reach the next, in every layout alike."""

import json
import sys
from pathlib import Path

import pytest

import breadth
import warm
from breadth import some
from training import SMALL, layout, training_lines

STEPS = 6 if breadth.ALL else 4
LOSS = 1e-5  # relative, fp32
GRADIENT_NORM = 1e-4  # relative

APART = ["data.reset_attention_mask=true", "data.reset_position_ids=true", "data.eod_mask_loss=true"]
LAYOUTS = some(
    {
        "pp4": layout(ranks=4, pp=4),  # stages in the middle read where documents begin
        "mbs2_recompute": layout(ranks=1, mbs=2, recompute="full"),
        "tp2_cp2_recompute": layout(ranks=4, tp=2, sp=True, cp=2, recompute="selective"),
        "pp2_interleaved_dp2": layout(ranks=4, pp=2, vpp=2, distopt=True),
    },
    ["pp4", "tp2_cp2_recompute"],
)


@pytest.fixture(scope="module")
def short_documents(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for a corpus whose documents are shorter than a sample."""
    folder = tmp_path_factory.mktemp("documents")
    with (folder / "short.jsonl").open("w") as file:
        for number in range(600):
            file.write(json.dumps({"text": str(number) * (1 + number % 7)}) + "\n")
    return [f"data.sources.files.inputs=[{folder}/short.jsonl]", f"data.dir={folder}/prepared"]


@pytest.fixture(scope="module")
def runs(
    train_many, short_documents: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict]]:
    """Training lines of one rank with documents joined and apart, and of every layout."""
    folder = tmp_path_factory.mktemp("runs")
    learned = "model.position_embedding_type=learned_absolute"
    jobs = {"joined": layout(ranks=1), "one": [*APART, *layout(ranks=1)]}
    jobs |= {name: [*APART, *of_one] for name, of_one in LAYOUTS.items()}
    steps = f"training.steps={STEPS}"
    codes = train_many(
        [
            [*short_documents, learned, f"run.dir={folder / name}", steps, *of_one]
            for name, of_one in jobs.items()
        ]
    )
    assert codes == [0] * len(jobs), dict(zip(jobs, codes, strict=True))
    return {name: training_lines(Path(folder / name)) for name in jobs}


@pytest.mark.slow  # `make test-py312` runs it
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_trains_the_same_model(runs: dict[str, list[dict]], name: str) -> None:
    for one, other in zip(runs["one"], runs[name], strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=LOSS), f"loss of step {one['step']}"
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=GRADIENT_NORM), f"step {one['step']}"


@pytest.mark.slow  # `make test-py312` runs it
def test_every_layout_counts_what_attention_computes(runs: dict[str, list[dict]]) -> None:
    for name, lines in runs.items():
        if name == "joined":
            assert all("attended" not in line for line in lines)
            continue
        for one, other in zip(runs["one"], lines, strict=True):
            assert 0 < one["attended"] < 0.5, "documents are shorter than half a sample"
            assert other["attended"] == pytest.approx(one["attended"], rel=1e-9), (
                f"{name}, step {one['step']}"
            )


@pytest.mark.slow  # `make test-py312` runs it
def test_it_is_another_training(runs: dict[str, list[dict]]) -> None:
    assert abs(runs["one"][0]["loss"] - runs["joined"][0]["loss"]) > 1e-4


# The loss of a sample's last document, where the one before it says something else of the same length.
PROGRAM = """
import json, os, sys
import torch
from slipway.config.compose import compose
from slipway.kernels.choice import backends
from slipway.plan import make_plan
from slipway.ranks.environment import Place, listening_socket
from slipway.engine.runtime import load_torch

config = compose(json.loads(sys.argv[1]))
plan = make_plan(config).with_kernels(backends(load_torch(config, ranks_here=1)))
from slipway.data.text.dataset import Dataset
from slipway.data.collate import collate
from slipway.engine import engine_of
from slipway.train.setup import build_session

listener = listening_socket()
port = listener.getsockname()[1]
place = Place(0, 0, 1, "127.0.0.1", port, own_store=True, store_fd=listener.detach())
session = build_session(plan, engine_of(config).connect(plan, place))
END = 256
dataset = Dataset({}, 32, config.data, END)

def loss(first_word):
    text = torch.arange(33)
    text[:12] = first_word
    text[12] = END
    sample = dataset.sample(text)
    sample["loss_mask"] = (torch.arange(32) > 12).float()
    sums = session.model.forward([collate([sample])] * plan.num_microbatches)
    return sums[0]["loss"][0].item()

print(json.dumps([loss(5), loss(77)]))
"""


def losses(*overrides: str) -> list[float]:
    words = [*SMALL, "data=bytes", *layout(ranks=1), *overrides]
    done = warm.run([sys.executable, "-c", PROGRAM, json.dumps(words)], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("positions", ["learned_absolute", "rope"])
def test_what_one_document_says_does_not_reach_the_next(positions: str) -> None:
    model = f"model.position_embedding_type={positions}"
    one, other = losses(model, "data.reset_attention_mask=true")
    assert one == other
    if breadth.ALL or positions == "rope":
        one, other = losses(model)
        assert one != other
