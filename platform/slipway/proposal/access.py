"""Access modes of supercomputing programmes: which one an amount of computer time falls into."""

from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

FILE = Path(__file__).with_name("access_modes.yaml")


class Mode(BaseModel):
    """A mode of access that one can apply for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    most: PositiveInt | None
    """The largest amount in the programme's unit, inclusive; None: any amount."""


class Programme(BaseModel):
    """The modes of a programme, with the source of their limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    programme: str
    unit: str
    noted: date
    source: str
    remark: str
    modes: list[Mode] = Field(min_length=1)

    @field_validator("modes")
    @classmethod
    def _growing(cls, modes: list[Mode]) -> list[Mode]:
        limits = [mode.most for mode in modes[:-1]]
        if (
            None in limits
            or modes[-1].most is not None
            or limits != sorted(set(limits), key=lambda x: x or 0)
        ):
            raise ValueError("modes: limits must grow, and only the last mode has none")
        return modes

    def of(self, amount: float) -> Mode:
        """Return the smallest mode that the amount fits into."""
        return next(mode for mode in self.modes if mode.most is None or amount <= mode.most)


def read(path: Path = FILE) -> Programme:
    """Return the programme in the file, by default the one that comes with the package."""
    return Programme.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
