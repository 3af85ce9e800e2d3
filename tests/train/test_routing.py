"""What is told of a mixture's routing is the same in every layout; a router that collapses is noticed."""

import json
from math import log
from pathlib import Path

import pytest

from breadth import some
from training import layout, lines_of, training_lines

pytestmark = pytest.mark.slow  # `make test-py312` runs it

STEPS = 4
EXPERTS = ["model.num_moe_experts=4", "model.moe_router_topk=2", "model.add_bias_linear=false"]
EXPERTS += ["model.activation=swiglu"]
LAYOUTS = {
    "tp2": layout(ranks=2, tp=2, sp=True),
    "cp2": layout(ranks=2, cp=2),
    "ep2_mbs2": layout(ranks=2, ep=2, mbs=2),
    "dp4_distopt": layout(ranks=4, distopt=True),
    "pp2_interleaved": layout(ranks=2, pp=2, vpp=2),
    "recompute_full": layout(ranks=1, recompute="full"),
    "cp2_ep2_mbs2": layout(ranks=4, cp=2, ep=2, mbs=2),
    "tp2_pp2_ep2_interleaved_distopt_full": layout(
        ranks=8, tp=2, pp=2, vpp=2, sp=True, ep=2, distopt=True, recompute="full"
    ),
}
DENSE_FIRST = [
    "model.first_k_dense_replace=1",
    "model.mtp_num_layers=1",
]  # three mixtures, and a fourth ahead
# what no router bears without a balance: a few steps, and all tokens go to the same two experts
UNEVEN = ["model.moe_router_load_balancing_type=none", "model.moe_aux_loss_coeff=0"]
COLLAPSE = [*UNEVEN, "optimizer.lr=0.05", "guard.collapse_steps=5"]
LAYOUTS = some(LAYOUTS, ["cp2_ep2_mbs2", "tp2_pp2_ep2_interleaved_distopt_full"])


@pytest.fixture(scope="module")
def folder(train_many, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one rank and of every layout. Without a balance loads are less even."""
    root = tmp_path_factory.mktemp("routing")
    words = [*EXPERTS, *DENSE_FIRST, f"training.steps={STEPS}", *UNEVEN]
    jobs = {"one": layout(ranks=1), **LAYOUTS}
    codes = train_many([[f"run.dir={root / name}", *words, *of_one] for name, of_one in jobs.items()])
    assert codes == [0] * len(jobs), dict(zip(jobs, codes, strict=True))
    return root


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_tells_the_same(folder: Path, name: str) -> None:
    for one, other in zip(lines_of(folder / "one", "load"), lines_of(folder / name, "load"), strict=True):
        for field in ("step", "parts", "places", "load"):
            assert other[field] == one[field], f"{field} of step {one['step']}"
    for one, other in zip(training_lines(folder / "one"), training_lines(folder / name), strict=True):
        assert other["measures"] == pytest.approx(one["measures"], rel=1e-5, abs=1e-7), one["step"]


@pytest.mark.timeout(600)
def test_the_numbers_of_a_step_follow_from_its_load(folder: Path) -> None:
    loads = lines_of(folder / "one", "load")
    assert [line["step"] for line in loads] == [1, 2, 3, 4]  # of four steps all are written
    for line, load in zip(training_lines(folder / "one"), loads, strict=True):
        assert load["places"] == ["layer 1", "layer 2", "layer 3", "prediction 0"]
        entropies = []
        for layer in load["load"]:
            assert sum(layer) == pytest.approx(4, abs=2e-3)
            entropies.append(-sum(part / 4 * log(part / 4) for part in layer if part) / log(4))
        told = line["measures"]
        assert told["load_entropy"] == pytest.approx(sum(entropies) / 4, abs=1e-3)
        assert told["load_evenness_min"] == pytest.approx((min(entropies) - 0.5) / 0.5, abs=3e-3)
        assert told["load_max"] == pytest.approx(max(map(max, load["load"])), abs=1e-3)
        assert told["unused_experts"] == sum(layer.count(0.0) for layer in load["load"]) / 16
        assert told["tokens_dropped"] == 0
        assert 0.9 < told["router_entropy"] < 1  # a router that has learnt nothing yet


@pytest.fixture(scope="module")
def guarded(train_many, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Routers that collapse, on two ranks that share the experts, and one that does not."""
    root = tmp_path_factory.mktemp("collapse")
    two = [*EXPERTS, *layout(ranks=2, ep=2)]

    def job(name: str, *words: str, steps: int = 30, until: int = 12) -> list[str]:
        end = [f"training.steps={steps}", f"training.stop_after_step={until}"]
        return [f"run.dir={root / name}", *two, *end, *words]

    jobs = {
        "warned": job("warned", *COLLAPSE),
        "stopped": job("stopped", *COLLAPSE, "guard.on_collapse=stop"),
        "continued": job("continued", *COLLAPSE, until=6),
        "healthy": job("healthy", "guard.collapse_steps=5", until=20),
    }
    codes = train_many([*jobs.values(), job("continued", *COLLAPSE)])
    assert codes == [0, 1, 0, 0, 0], codes
    return root


def events(run_dir: Path, name: str) -> list[dict]:
    return [line for line in lines_of(run_dir, "event") if line["event"] == name]


@pytest.mark.timeout(600)
def test_a_router_that_collapses_is_told_once_and_training_goes_on(guarded: Path) -> None:
    lines = training_lines(guarded / "warned")
    assert [line["step"] for line in lines] == list(range(1, 13))
    lowest = [line["measures"]["load_evenness_min"] for line in lines]
    first, *_ = told = events(guarded / "warned", "collapse")
    assert max(lowest[first["step"] - 5 : first["step"]]) < 0.1
    places = [
        place
        for event in told
        for place in event["reason"].split(" has ")[0].split("load of ")[1].split(", ")
    ]
    assert len(set(places)) == len(places) <= 4, "each layer once"
    assert lines[-1]["measures"]["unused_experts"] > 0.25


@pytest.mark.timeout(600)
def test_it_stops_where_it_is_asked_to(guarded: Path) -> None:
    step = events(guarded / "warned", "collapse")[0]["step"]
    (stop,) = events(guarded / "stopped", "guard stop")
    assert stop["step"] == step
    assert [line["step"] for line in training_lines(guarded / "stopped")] == list(range(1, step))
    for fact in ("has collapsed", "guard.collapse_evenness 0.1", "guard.on_collapse=stop"):
        assert fact in stop["reason"]


@pytest.mark.timeout(600)
def test_a_continued_run_counts_the_steps_before_it(guarded: Path) -> None:
    info = json.loads((guarded / "continued" / "checkpoints" / "step-00000006" / "slipway.json").read_text())
    assert 0 < max(info["uneven"].values()) < 5, "it stopped on the way"
    told = [
        [(e["step"], e["reason"]) for e in events(guarded / run, "collapse")]
        for run in ("warned", "continued")
    ]
    assert told[0] == told[1]
    assert told[0][0][0] < 6 + 5, "the steps before the stop have counted"


@pytest.mark.timeout(600)
def test_a_healthy_router_is_left_alone(guarded: Path) -> None:
    assert len(training_lines(guarded / "healthy")) == 20
    assert not events(guarded / "healthy", "collapse")
