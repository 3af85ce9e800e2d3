"""The page as a whole: what it says of runs of every kind, and what it never holds."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from slipway.config.compose import compose
from slipway.energy.record import Energy
from slipway.plan import make_plan, plan_file
from slipway.plan.facts import facts_of
from slipway.report.page.document import page
from slipway.report.run import read
from slipway.runs import ledger
from slipway.runs.lock.holder import Holder

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&'
BEGAN = 1_790_000_000.0


def write(folder: Path, steps: int = 200, plan: bool = True, validation: bool = True, **values: Any) -> Path:
    """A run's metrics.jsonl and plan.json."""
    folder.mkdir(parents=True)
    lines = [{"kind": "validation", "step": 0, "loss": 9.0}] if validation else []
    for step in range(1, steps + 1):
        loss = 3 + 6 * math.exp(-step / 20) + 0.2 * (-1) ** step
        own = {"learning_rate": 1e-3, "grad_norm": 1.0, "step_seconds": 0.5, "consumed_samples": 16 * step}
        lines.append({"kind": "train", "step": step, "time": BEGAN + step, "loss": loss, **own, **values})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if plan:
        plan_file.write(
            make_plan(compose(["experiment=demo", f"run.name={folder.name}"])), folder / "plan.json"
        )
    return folder


def of(*folders: Path) -> str:
    return page([read(folder, BEGAN + 1000) for folder in folders], BEGAN + 1000)


def plots(text: str) -> list[tuple[str, list]]:
    """(title, series) of each chart that has some."""
    found = []
    for figure in re.findall(r"<figure.*?</figure>", text, re.S):
        title = re.search(r"<figcaption>([^<]*)", figure)
        series = re.search(r'data-series="([^"]*)"', figure)
        if title and series:
            found.append((title[1].strip(), json.loads(series[1].replace("&quot;", '"'))))
    return found


class Elements(HTMLParser):
    """(name, names of the attributes) of every element, as a browser finds them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, set[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, {name for name, _ in attrs}))


def test_curves_are_those_of_the_run(tmp_path: Path) -> None:
    found = plots(of(write(tmp_path / "run", steps=30)))
    over_steps, over_tokens, over_time = (series for title, series in found if title == "Loss")
    losses = [3 + 6 * math.exp(-step / 20) + 0.2 * (-1) ** step for step in range(1, 31)]
    for series, xs in (
        (over_steps, range(1, 31)),
        (over_tokens, [16 * 128 * step for step in range(1, 31)]),
        (over_time, [0.5 * step for step in range(1, 31)]),  # no ledger: the steps' own seconds
    ):
        training, validation = series
        assert training[2] == list(xs) and training[3] == pytest.approx(losses, rel=1e-4)
        assert validation[2:] == [[0], [9]]
    (rate,) = (series for title, series in found if title == "Learning rate")
    assert rate[0][3] == [0.001] * 30


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"steps": 1}, "<dd>1 of "),
        ({"validation": False}, "No validation was recorded"),
        ({"plan": False}, "No plan predicted it"),
        ({"loss": None}, "not recorded"),
        ({"step_seconds": None}, "No step&#x27;s time was recorded"),
        ({"consumed_samples": None}, "tokens were not recorded"),
        ({"grad_norm": -1.0, "learning_rate": 0.0}, "Gradient norm"),
        ({"steps": 5000}, "thinned"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, values: dict, said: str) -> None:
    text = of(write(tmp_path / "run", **values))
    assert said in text
    assert "nan%" not in text and "inf%" not in text
    assert "no ledger of segments" in text


def segments(folder: Path, *, energy: Energy | None = None, **more: Any) -> None:
    """Three segments: one that was killed, one that goes on from three steps before, one under way."""
    facts = facts_of(json.loads((folder / "plan.json").read_text()))
    spans = ((1, 100, 0.0, "lost"), (98, 150, 300.0, "signal"), (151, None, 400.0, None))
    for number, (first, last, start, reason) in enumerate(spans, start=1):
        segment = ledger.begin_segment(folder, facts, Holder.here(), first, BEGAN + start, {})
        end = None if reason is None else BEGAN + start + 60
        values = {
            "number": number,
            "ended": end,
            "last_step": last,
            "reason": reason,
            "updated": end or BEGAN + 450,
        }
        ledger.write(folder, segment.model_copy(update={**values, "energy": energy, **more}))


def test_interruptions_and_what_they_cost(tmp_path: Path) -> None:
    run = write(tmp_path / "run", steps=200)
    counted = Energy(joules={"RAPL": 3.6e6}, counters={"RAPL": 1})
    segments(run, energy=counted)
    text = of(run)
    for said in (
        "3 steps were done again",
        "nothing ran for 4 min 40 s",
        "3 kWh",
        "RAPL on 1 node",
        "lost",
    ):
        assert said in text, said
    over_steps, over_tokens = (one for one in text.split("<figcaption>")[1:3])
    assert "a segment begins with step 98" in over_steps and "a segment begins" not in over_tokens


def test_what_runs_say_stays_text(tmp_path: Path) -> None:
    run = write(tmp_path / "run", measures={HOSTILE: 0.5})
    segments(run, host=HOSTILE, detail=HOSTILE)
    with (run / "metrics.jsonl").open("a") as file:
        start = {"event": "start", "unit": HOSTILE, "units_per_sample": 3, "loss_unit": HOSTILE}
        file.write(json.dumps({"kind": "event", "step": 0, **start}) + "\n")
    other = write(tmp_path / HOSTILE.replace("/", "|"), plan=False, measures={HOSTILE: 0.5})
    for text in (of(run), of(run, other), of(other)):
        assert "alert(1)" in text, "it is shown"
        found = Elements(text).found
        assert [name for name, _ in found].count("script") == 1 and "img" not in {name for name, _ in found}
        assert not any(name.startswith("on") for _, attributes in found for name in attributes)


def test_nothing_is_asked_of_anybody(tmp_path: Path) -> None:
    """No address, and a policy that would refuse one; the one script is the one that the policy names."""
    text = of(write(tmp_path / "run"), write(tmp_path / "other"))
    assert not re.findall(r"(?:src|href|action|url)\s*[=(]", text) and "//" not in re.sub(
        r"// The read-out", "", text
    )
    assert "default-src &#x27;none&#x27;" in text


def test_of_two_runs_what_differs_is_told(tmp_path: Path) -> None:
    runs = []
    for name, rate in (("slow", 1e-3), ("quick", 2e-3)):
        run = write(tmp_path / name)
        plan = make_plan(compose(["experiment=demo", f"run.name={name}", f"optimizer.lr={rate}"]))
        plan_file.write(plan, run / "plan.json")
        runs.append(run)
    text = of(*runs)
    table = text[text.index("What differs") : text.index("Receipt")]
    assert "optimizer.lr" in table and "0.002" in table and "training.steps" not in table
    assert {series[0] for title, found in plots(text) if title == "Loss" for series in found} == {
        *("slow", "slow, validation", "quick", "quick, validation")
    }
    twice = of(runs[0], write(tmp_path / "elsewhere" / "slow"))
    assert str(tmp_path / "elsewhere" / "slow") in twice, "the same name twice"


def test_a_long_run_makes_no_large_page(tmp_path: Path) -> None:
    run = write(tmp_path / "run", steps=20_000)
    short = write(tmp_path / "short", steps=2_000)
    assert len(of(run)) < 1.2 * len(of(short)) < 1_200_000
