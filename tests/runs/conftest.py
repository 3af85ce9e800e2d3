"""Run directories as training leaves them, made by the ledger's own functions and a few lines of metrics."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.plan.facts import Facts
from slipway.runs import ledger
from slipway.runs.lock.holder import Holder


@pytest.fixture
def facts() -> Facts:
    return Facts(
        name="alpha", model="demo", steps=100, nodes=1, world_size=4, layout={"TP": 2, "PP": 1, "DP": 2}
    )


@pytest.fixture
def add_segment(facts: Facts) -> Callable[..., ledger.Segment]:
    """Append a segment to a run: steps first..last are in metrics.jsonl; code None leaves it open."""

    def add(
        run_dir: Path,
        first: int,
        last: int,
        code: int | None,
        hours: float = 1.0,
        stop: str = "",
        **more: object,
    ) -> ledger.Segment:
        run_dir.mkdir(parents=True, exist_ok=True)
        now = time.time()
        started = now - hours * 3600
        own = facts.model_copy(update=more)
        segment = ledger.begin_segment(run_dir, own, Holder.here(), first, started, {})
        lines = [
            {"kind": "train", "time": now, "step": step, "loss": 10 / step} for step in range(first, last + 1)
        ]
        if stop:
            lines.append({"kind": "event", "time": now, "step": last, "event": "stop", "reason": stop})
        with (run_dir / "metrics.jsonl").open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        return segment if code is None else ledger.end_segment(run_dir, segment, code, now)

    return add
