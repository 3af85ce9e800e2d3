"""The receipt of a run: what the plan had predicted for each part of a step, what was measured, and the difference.

A line of the receipt is as fine as what was measured allows. The trainer's profile (logging.profile_step) tells kinds
of work apart; parts of the plan that fall into one kind are shown as one sum. Nothing is split by guesses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from slipway.metrics.file import Record, number
from slipway.metrics.step_time import KINDS
from slipway.plan import Plan
from slipway.report.metrics import Metrics

PARTS = {
    "products": "matrix products and attention",
    "memory_bound": "norms, activations, loss, copies",
    "recompute": "computed again for the backward pass",
    "tensor_parallel": "tensor-parallel exchange",
    "context_parallel": "context-parallel exchange",
    "expert_parallel": "expert-parallel exchange",
    "data_parallel": "data-parallel exchange",
    "pipeline_parallel": "exchange between stages",
    "bubble": "pipeline bubble",
    "optimizer": "optimizer",
    "host": "host: launching and waiting",
}
"""The parts of a step that a plan tells apart, as step_seconds names them, in words."""

_EXCHANGES = {
    "TP": "tensor_parallel",
    "CP": "context_parallel",
    "EP": "expert_parallel",
    "DP": "data_parallel",
}
NOT_SEEN = "outside of the profile"
SMALLEST = 0.005
"""Differences below this share of the planned step are reported together."""


@dataclass(frozen=True)
class Line:
    """Parts of the plan that the measurement does not tell apart. Seconds of a step; None: not known."""

    name: str
    parts: tuple[str, ...]
    predicted: float | None
    measured: float | None


@dataclass(frozen=True)
class Profile:
    """Seconds of a step by KINDS, the mean over ranks and over the steps that count."""

    under: range
    """The steps that ran under the profiler."""
    steps: int
    """The number of them that count."""
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds of a step under the profiler."""
        return sum(self.seconds.values())

    def as_json(self) -> dict[str, Any]:
        """Return the profile for programs."""
        return {
            "first": self.under.start,
            "last": self.under[-1],
            "steps": self.steps,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Receipt:
    """Planned and measured seconds of a step."""

    predicted: float | None
    measured: float | None
    """Median of the steps that were not profiled."""
    waited: float | None
    """The part of `measured` that went into waiting for samples, which no plan expects."""
    lines: Sequence[Line]
    profile: Profile | None

    @property
    def ratio(self) -> float | None:
        """Measured over predicted seconds; None if either is not known."""
        return self.measured / self.predicted if self.measured and self.predicted else None


def make(plan: Plan | None, metrics: Metrics) -> Receipt:
    """Return the receipt of a run; None stands for what neither the plan nor the run recorded."""
    profile = _profile(metrics)
    profiled = profile.under if profile else range(0)
    seconds = [
        value for step, value in zip(*metrics.column("step_seconds"), strict=True) if step not in profiled
    ]
    usual = median(seconds) if seconds else None
    total, parts = predicted(plan)
    if profile and usual:
        lines = _by_kind(parts, _sizes(plan), _as_usual(profile, usual))
    else:
        lines = [Line(PARTS[part], (part,), value, None) for part, value in parts.items()]
    return Receipt(total, usual, _waited(metrics, usual), lines, profile)


def predicted(plan: Plan | None) -> tuple[float | None, dict[str, float]]:
    """Return the planned seconds of a step and of each of PARTS.

    Only this function knows where a plan has them.
    """
    if plan is None:
        return None, {}
    time = plan.time.model_dump()
    parts = time.get("step") or {}
    return time["seconds_per_step"], {part: parts[part] for part in PARTS if part in parts}


def attribution(receipt: Receipt) -> list[tuple[str, float]]:
    """Return (what, difference as a share of the planned step), the largest first.

    Adds up to the whole difference, but for less than SMALLEST. Empty if there is nothing to compare.
    """
    if receipt.ratio is None or receipt.predicted is None:
        return []
    whole, told = receipt.ratio - 1, []
    for line in receipt.lines:
        if line.measured is not None and line.predicted is not None:
            told.append((line.name, (line.measured - line.predicted) / receipt.predicted))
    if not told and receipt.waited and receipt.waited / receipt.predicted >= SMALLEST:
        told.append(("waiting for samples", receipt.waited / receipt.predicted))
    large = sorted((one for one in told if abs(one[1]) >= SMALLEST), key=lambda one: -abs(one[1]))
    rest = whole - sum(share for _, share in large)
    return [*large, ("not attributed", rest)] if abs(rest) >= SMALLEST or not large else large


def _profile(metrics: Metrics) -> Profile | None:
    """Return the newest complete profile; None if there is none."""
    for record in reversed(metrics.others):
        if record["kind"] == "profile" and (found := _read(record)):
            return found
    return None


def _waited(metrics: Metrics, usual: float | None) -> float | None:
    """Return how many seconds of the usual step went into waiting for samples, by the share over all steps."""
    waited, seconds = (sum(metrics.column(name)[1]) for name in ("data_wait_seconds", "step_seconds"))
    return usual * waited / seconds if usual and seconds and metrics.column("data_wait_seconds")[1] else None


def _read(record: Record) -> Profile | None:
    seconds = record.get("seconds")
    first, steps = record.get("first"), record.get("steps")
    if not isinstance(seconds, dict) or type(steps) is not int or steps < 1 or type(first) is not int:
        return None
    values = {kind: number(seconds, kind) for kind in KINDS}
    known = {kind: value for kind, value in values.items() if value is not None and value >= 0}
    return (
        Profile(range(first, record["step"] + 1), steps, known)
        if len(known) == len(KINDS) and any(known.values())
        else None
    )


def _as_usual(profile: Profile, usual: float) -> dict[str, float]:
    """Return the profile's seconds as a step without the profiler would take them.

    The profiler's own time is taken from waiting: it works between the operators, where it looks as if nothing ran. Any
    excess is taken from all kinds in proportion.
    """
    seconds = dict(profile.seconds)
    own = profile.total - usual
    if own < 0:  # the profiled steps were quicker than most
        return {**seconds, NOT_SEEN: -own}
    seconds["waiting"] = max(0.0, seconds["waiting"] - own)
    scale = min(1.0, usual / sum(seconds.values())) if any(seconds.values()) else 1.0
    return {kind: value * scale for kind, value in seconds.items()}


def _by_kind(
    parts: Mapping[str, float], sizes: Mapping[str, int], seconds: Mapping[str, float]
) -> list[Line]:
    """Return one line for each set of parts and kinds that can be compared with each other."""
    products, memory = ("products", "memory_bound")
    exchanged = tuple(
        part for short, part in _EXCHANGES.items() if sizes.get(short, 1) > 1 or parts.get(part)
    )
    again = parts.get("recompute")  # the profile counts its work, and its exchange, among the others
    inside = [part for part in exchanged if part != "data_parallel"]
    kernels = ("matmul", "attention", "other kernels")
    exchange: list[tuple[tuple[str, ...], tuple[str, ...]]]
    exchange = [(exchanged, ("communication",))] if exchanged or seconds["communication"] else []
    computing: list[tuple[tuple[str, ...], tuple[str, ...]]]
    computing = [((products,), kernels[:2]), ((memory,), kernels[2:])]
    if again and inside:
        computing, exchange = [((products, memory, "recompute", *exchanged), (*kernels, "communication"))], []
    elif again:
        computing = [((products, memory, "recompute"), kernels)]
    idle = ("host", "bubble", "pipeline_parallel") if sizes.get("PP", 1) > 1 else ("host",)
    groups = [
        *computing,
        *exchange,
        (("optimizer",), ("optimizer",)),
        (idle, ("waiting",)),
    ]
    lines = [
        Line(
            _name(of_plan),
            of_plan,
            sum(parts.get(part, 0.0) for part in of_plan) if parts else None,
            sum(seconds[kind] for kind in of_profile),
        )
        for of_plan, of_profile in groups
    ]
    if NOT_SEEN in seconds:
        lines.append(Line(NOT_SEEN, (), 0.0 if parts else None, seconds[NOT_SEEN]))
    return lines


def _name(parts: tuple[str, ...]) -> str:
    """Return the name of parts that share one line: `exchange (tensor, data)`."""
    if len(parts) == 1:
        return PARTS[parts[0]]
    exchanged = ", ".join(part.removesuffix("_parallel") for part in parts if part in _EXCHANGES.values())
    names = [
        *(["computing, what is computed again included"] if "products" in parts else []),
        *([f"exchange ({exchanged})"] if exchanged else []),
        *(["host, pipeline bubble, exchange between stages"] if "bubble" in parts else []),
    ]
    return " + ".join(names) or "communication"


def _sizes(plan: Plan | None) -> Mapping[str, int]:
    if plan is None:
        return {}
    from slipway.plan.facts import sizes_of

    return sizes_of(plan.config.parallelism, plan.data_parallel_size)
