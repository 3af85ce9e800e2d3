"""What an optimizer says of itself: ALGORITHM of its module `algorithm`, and with torch OPTIMIZER of `optimizer`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from slipway.config.schema import RunConfig

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


class State(NamedTuple):
    """One tensor that an optimizer keeps for each parameter, in fp32, zero before the first update."""

    name: str
    """Its name in torch's `optimizer.state[parameter]`."""
    shape: Literal["like", "scalar"] = "like"
    """As the parameter, or one number for the whole parameter."""


class Algorithm(Protocol):
    """The pure half of an optimizer."""

    @property
    def states(self) -> Sequence[State]:
        """What it keeps of each parameter between updates, besides the number of updates."""
        ...

    @property
    def backends(self) -> frozenset[str]:
        """The backends (kernels.optimizer) that it can be computed by; empty: there is nothing to choose."""
        ...


class Builder(Protocol):
    """The torch half of an optimizer."""

    def build(self, groups: list[dict[str, Any]], config: RunConfig) -> "Optimizer":
        """The optimizer of these groups of parameters. Engines set each group's lr and weight_decay at every update."""
        ...

    def begin(self, optimizer: "Optimizer", parameter: "Tensor") -> None:
        """Complete a parameter's state before its first update, where it has more than Algorithm.states."""
        ...

    def set_updates(
        self, optimizer: "Optimizer", group: dict[str, Any], parameter: "Tensor", updates: int
    ) -> None:
        """Tell it how many updates a parameter has had, where it counts them."""
        ...


def bytes_per_parameter(algorithm: Algorithm) -> int:
    """Bytes of fp32 state for each element of a parameter; numbers of whole parameters weigh nothing."""
    return 4 * sum(state.shape == "like" for state in algorithm.states)
