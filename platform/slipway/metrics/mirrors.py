"""The mirrors of metrics.jsonl: TensorBoard and wandb. A fault in one ends that mirror, not the training."""

from collections.abc import Callable, Mapping
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.metrics.wandb_access import HOW_TO_MEND, installed, key_problem, one_line
from slipway.metrics.wandb_data import how_to_upload
from slipway.metrics.wandb_mirror import WandbMirror
from slipway.plan import Plan
from slipway.plan.units import Units
from slipway.run_dir import RunDir

RATES = ("samples_per_second", "units_per_second")


def check(config: RunConfig) -> None:
    """Raise UserError if a mirror that was asked for cannot be used. Needs no network, imports no torch."""
    wandb = config.logging.wandb
    if config.logging.tensorboard and not installed("tensorboard"):
        raise UserError("logging.tensorboard", "needs tensorboard, which is not installed here", use="false")
    if wandb.mode == "disabled":
        return
    if not installed("wandb"):
        raise UserError(
            "logging.wandb.mode", "needs wandb, which is not installed here", value=wandb.mode, use="disabled"
        )
    if wandb.mode == "online" and (problem := key_problem()):
        raise UserError(
            "logging.wandb.mode",
            f"is not possible: {problem}",
            value="online",
            do=f"{HOW_TO_MEND}, or choose offline",
        )


def mirrored(kind: str, values: Mapping[str, Any], units: Units) -> dict[str, Any]:
    """Return the numbers of a line under their names in mirrors: `train/loss`, `train/tokens_per_second`.

    A rate is named by the run's unit; if the unit is the sample, there is only one rate.
    """
    numbers = {name: value for name, value in values.items() if name != "step" and name not in RATES}
    rates = {
        f"{name}_per_second": values[field]
        for field, name in zip(RATES, ("samples", units.name.replace(" ", "_")), strict=True)
        if field in values and not (units.is_sample and field == RATES[0])
    }
    named = {**numbers, **values.get("measures", {}), **rates}
    return {f"{kind}/{name}": value for name, value in named.items() if isinstance(value, int | float)}


class Mirrors:
    """The mirrors that a plan asks for. No method raises; only `close` waits, and not for long."""

    def __init__(self, plan: Plan, start_step: int, tell: Callable[[str, str | None], None]) -> None:
        """Start the mirrors.

        tell(event, reason): called from log and close when something happened to a mirror.
        """
        config = plan.config
        self._tell = tell
        self._upload = how_to_upload(config.run.name, config.run.dir)
        self._tensorboard: Any = None
        if config.logging.tensorboard:
            self._guard(lambda: self._start_tensorboard(config, start_step))
        self._wandb = WandbMirror(plan) if config.logging.wandb.mode != "disabled" else None

    def log(self, numbers: dict[str, Any], step: int) -> None:
        """Mirror the numbers of one line."""
        if self._tensorboard:
            self._guard(lambda: self._write_tensorboard(numbers, step))
        if self._wandb:
            self._wandb.log({**numbers, "step": step})
            self._hear()

    def close(self) -> None:
        """Flush everything, in at most wandb_mirror.CLOSE_SECONDS."""
        if self._tensorboard:
            self._guard(self._tensorboard.close)
        if self._wandb:
            self._wandb.close()
            self._hear()

    def _start_tensorboard(self, config: RunConfig, start_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._tensorboard = SummaryWriter(str(RunDir(config.run.dir).tensorboard), purge_step=start_step + 1)

    def _write_tensorboard(self, numbers: dict[str, Any], step: int) -> None:
        for name, value in numbers.items():
            self._tensorboard.add_scalar(name, value, step)

    def _guard(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:
            self._tensorboard = None
            self._tell("tensorboard stopped", one_line(error))

    def _hear(self) -> None:
        assert self._wandb is not None
        for note in self._wandb.notes():
            event = note["event"]
            if event == "wandb online":
                print(f"{event}: {note['url']}", flush=True)
                continue
            later = f"; `{self._upload}` uploads it later" if event == "wandb offline" else ""
            print(f"{event}: {note['reason']}{later}", flush=True)
            self._tell(event, note["reason"])
