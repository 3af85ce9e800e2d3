"""The records that a run writes, and their mirrors."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from slipway.config.section import Section


class Wandb(Section):
    """A mirror of the metrics in Weights & Biases."""

    mode: Literal["disabled", "offline", "online"] = Field(
        default="disabled",
        description="disabled: do not use wandb; offline: keep the data on disk for `slipway runs sync`; online: "
        "send it while training runs.",
    )
    project: str = Field(default="slipway", description="Name of the project in wandb.")
    entity: str | None = Field(default=None, description="User or team in wandb; null: your default one.")


class Logging(Section):
    """A run's metrics: what metrics.jsonl, which is always written, has besides each step's line, and its mirrors."""

    interval: PositiveInt = Field(default=1, description="Steps between progress lines on the console.")
    profile_step: PositiveInt | None = Field(
        default=None,
        description="First of four steps that run under torch's profiler on all ranks, each slower than usual; "
        "metrics.jsonl gets the seconds of each kind of work, for the receipt of `slipway report`. "
        "null: profile none.",
    )
    load_interval: NonNegativeInt | None = Field(
        default=None,
        description="Steps between lines of kind `load`, with the load of every expert, for models with experts; "
        "0: none; null: about 200 lines in the whole run.",
    )
    tensorboard: bool = Field(default=False, description="Mirror the metrics into run.dir/tensorboard.")
    wandb: Wandb = Wandb()

    @property
    def profiled(self) -> range:
        """The steps under the profiler; the first warms it up and does not count."""
        return range(0) if self.profile_step is None else range(self.profile_step, self.profile_step + 4)
