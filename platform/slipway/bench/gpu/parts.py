"""The table of parts: what each shows, how long it may take, how many devices it needs. Imports no torch."""

from collections.abc import Sequence
from typing import NamedTuple

from slipway.config.explain import nearest
from slipway.errors import UserError

MINUTES = 8.0  # of a whole call, for which the limits below are made
BEGIN = 0.2  # a part is not begun in the last of a call's time, if less than this share of its limit is left


class Part(NamedTuple):
    """One part. Limits are in seconds: `limit` on GPUs, `rehearsal` on CPU cores that others use, too."""

    name: str
    shows: str
    limit: float
    rehearsal: float
    run: str
    """`module:function` in slipway.bench.gpu, called with a Scene in a process of its own."""
    devices: int = 1
    """The fewest devices; the part is skipped on a machine with fewer."""


PARTS = [
    Part(
        "doctor",
        "the machine is fit to train; with several devices their collectives",
        60,
        150,
        "node:doctor",
    ),
    Part("image", "the image's smoke test on these devices", 60, 240, "node:smoke"),
    Part(
        "kernels",
        "each operator and backend against float64: forward and gradients, fp32 and bf16, odd sizes",
        120,
        150,
        "exact:kernels",
    ),
    Part(
        "losses",
        "demo, Llama, mixture and documents apart: fp32 and bf16 losses against the CPU's in fp32",
        120,
        150,
        "losses:losses",
    ),
    Part(
        "continuation",
        "stopped and continued is undisturbed, bit for bit; checkpoints are written beside training",
        100,
        150,
        "continuation:continuation",
    ),
    Part("faults", "a batch that is not finite is left out; a hang is named", 120, 150, "faults:faults"),
    Part("layouts", "each way to share a model out trains the same model", 150, 150, "layouts:layouts", 2),
    Part("gpt-2048", "GPT 1.3B, 2,048 tokens, beside torch.compile", 90, 150, "dense:gpt_2048"),
    Part("llama-2048", "Llama 3 8B, 2,048 tokens, beside torch.compile", 90, 150, "dense:llama_2048"),
    Part("gpt-4096", "GPT 1.3B, 4,096 tokens, beside torch.compile", 90, 150, "dense:gpt_4096"),
    Part("llama-4096", "Llama 3 8B, 4,096 tokens, beside torch.compile", 90, 150, "dense:llama_4096"),
    Part("experts", "a Llama with 16 experts", 60, 150, "dense:experts"),
    Part(
        "operators",
        "each operator and backend at Llama 3 8B's shape, the cross entropy with its vocabulary of 128k",
        60,
        150,
        "operators:operators",
    ),
    Part(
        "all-devices",
        "GPT 1.3B on all devices: data parallel, and tensor parallel",
        90,
        150,
        "several:run",
        2,
    ),
]
BY_NAME = {part.name: part for part in PARTS}


def chosen(words: str | None) -> list[Part]:
    """Return the parts with these names, separated by commas, in the table's order; all if None.

    Raises UserError for a name that is no part.
    """
    if words is None:
        return PARTS
    names = words.split(",")
    for name in names:
        if name not in BY_NAME:
            raise UserError("bench gpu --part", "is not a part", value=name, do=nearest(name, BY_NAME))
    return [part for part in PARTS if part.name in names]


def seconds_for(part: Part, *, rehearse: bool, minutes: float) -> float:
    """Return the part's own limit in seconds: the table's, which grows with the time that the whole call has."""
    return (part.rehearsal if rehearse else part.limit) * max(1.0, minutes / MINUTES)


def begins(limit: float, left: float) -> bool:
    """Return whether a part with this limit is begun when so many seconds of the call are left."""
    return left >= BEGIN * limit


def listed(parts: Sequence[Part], *, rehearse: bool, minutes: float) -> list[str]:
    """Return a line for each part: its name, its limit, what it shows."""
    width = max(len(part.name) for part in parts)
    return [
        f"{part.name:<{width}}  {seconds_for(part, rehearse=rehearse, minutes=minutes):>4.0f} s  {part.shows}"
        + (f" (from {part.devices} devices on)" if part.devices > 1 else "")
        for part in parts
    ]
