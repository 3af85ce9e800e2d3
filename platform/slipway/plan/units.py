"""The units of a run's throughput and loss: as the plan and metrics.jsonl record them, and as people read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.words import plural

if TYPE_CHECKING:
    from slipway.plan.plan import Plan


@dataclass(frozen=True)
class Units:
    """The units of a run's numbers; the fields are those of the event `start` in metrics.jsonl."""

    unit: str = "unit"
    """The unit of throughput, in the singular: token, patch, image."""
    units_per_sample: int | None = None
    """1: the sample is the unit; None: not known."""
    loss_unit: str = ""
    """Unit of the loss; empty: it has none, or it is not known."""

    @classmethod
    def of(cls, plan: "Plan") -> "Units":
        """Return the units of a plan."""
        return cls(plan.unit, plan.units_per_sample, plan.loss_unit)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Units":
        """Return the units that a record holds; those that it lacks are not known."""
        unit, size, loss = (record.get(name) for name in ("unit", "units_per_sample", "loss_unit"))
        return cls(
            unit if isinstance(unit, str) and unit else "unit",
            size if type(size) is int and size > 0 else None,
            loss if isinstance(loss, str) else "",
        )

    @property
    def name(self) -> str:
        """The unit in the plural."""
        return plural(self.unit)

    @property
    def is_sample(self) -> bool:
        """Whether the sample is the unit, so that one of two equal numbers is enough."""
        return self.units_per_sample == 1

    @property
    def loss(self) -> str:
        """`loss (nats per token)`; `loss` if it has no unit."""
        return f"loss ({self.loss_unit})" if self.loss_unit else "loss"
