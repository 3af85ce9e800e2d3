"""What an optimizer says of itself without torch: in `algorithm.ALGORITHM` of its package."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol


class State(NamedTuple):
    """One tensor that an optimizer keeps for each parameter, in fp32."""

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


def bytes_per_parameter(algorithm: Algorithm) -> int:
    """Bytes of fp32 state for each element of a parameter; numbers of whole parameters weigh nothing."""
    return 4 * sum(state.shape == "like" for state in algorithm.states)
