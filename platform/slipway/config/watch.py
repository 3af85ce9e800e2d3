"""The supervision of a run: fields about ranks that hang or lag, and about a loss or a gradient that goes wrong."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from slipway.config.section import Section


class Watch(Section):
    """The detection of a rank that hangs or lags."""

    hang_timeout_minutes: PositiveFloat | None = Field(
        default=10.0,
        description="Minutes without progress after which a rank ends the run; every rank's stack is written into "
        "run.dir/hangs and the first suspect is named. null: never.",
    )
    straggler_interval: NonNegativeInt = Field(
        default=100, description="Steps between comparisons of the ranks' own times; 0: do not compare."
    )
    straggler_ratio: float = Field(
        default=1.5, gt=1.0, description="Report a rank that is this many times slower than its peers."
    )


class Guard(Section):
    """The reaction of all ranks when the loss or the gradient goes wrong."""

    on_nonfinite: Literal["stop", "skip", "rollback"] = Field(
        default="stop",
        description="What to do about NaN or Inf in the loss or the gradient. stop: end without an update; skip: "
        "apply no update from this batch; rollback: return to the last good checkpoint and skip the "
        "offending data.",
    )
    on_spike: Literal["ignore", "stop", "skip", "rollback"] = Field(
        default="ignore",
        description="What to do about a loss far above the recent ones: as for on_nonfinite, or ignore it.",
    )
    spike_deviations: PositiveFloat = Field(
        default=10.0,
        description="Standard deviations (1.4826 x median absolute deviation) above the recent losses' median "
        "from which a loss is a spike.",
    )
    spike_window: int = Field(
        default=64,
        ge=8,
        description="Number of recent losses to compare with; nothing is judged before that many exist.",
    )
    on_collapse: Literal["ignore", "warn", "stop"] = Field(
        default="warn",
        description="What to do about a collapsed load: a few experts of a mixture layer receive nearly all "
        "tokens. warn: write an event and a line, and again when it is over; stop: end without an "
        "update; ignore: do not watch.",
    )
    collapse_evenness: float = Field(
        default=0.1,
        gt=0.0,
        lt=1.0,
        description="A layer's load is uneven where its evenness is below this: (H - ln k) / (ln n - ln k), with H the "
        "entropy of the shares of the n experts in the tokens of the step, of which each goes to k. 0: all go to the "
        "same k, 1: all experts have as many.",
    )
    collapse_steps: PositiveInt = Field(
        default=50,
        description="Steps in succession with an uneven load after which it has collapsed; that is over when the "
        "evenness is half-way between collapse_evenness and 1.",
    )
    rollback_batches: PositiveInt = Field(
        default=1, description="Batches skipped after a rollback; the offending one is the last of them."
    )
    limit: PositiveInt = Field(
        default=10,
        description="Most skips or rollbacks within spike_window steps; the run stops at one more.",
    )
