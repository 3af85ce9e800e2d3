"""What an optimizer says of itself: ALGORITHM of its module `algorithm`, and with torch OPTIMIZER of `optimizer`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from slipway.config.schema import RunConfig
from slipway.optimizers.matrix import Matrix

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


class State(NamedTuple):
    """One tensor that an optimizer keeps for each parameter, in fp32, zero before the first update."""

    name: str
    """Its name in torch's `optimizer.state[parameter]`."""
    shape: Literal["like", "scalar"] = "like"
    """As the parameter, or one number for the whole parameter."""
    of: Literal["all", "matrices", "others"] = "all"
    """Which parameters have it: all, the model's hidden matrices (see slipway.optimizers.matrix), or all but those."""


class Algorithm(Protocol):
    """The pure half of an optimizer."""

    @property
    def states(self) -> Sequence[State]:
        """What it keeps of parameters between updates, besides the number of updates."""
        ...

    @property
    def backends(self) -> frozenset[str]:
        """The backends (kernels.optimizer) that it can be computed by; empty: there is nothing to choose."""
        ...


class Builder(Protocol):
    """The torch half of an optimizer."""

    def build(self, groups: list[dict[str, Any]], config: RunConfig) -> "Optimizer":
        """Return the optimizer of these groups of parameters. Engines set each group's lr and weight_decay at every update."""
        ...

    def begin(self, optimizer: "Optimizer", parameter: "Tensor") -> None:
        """Complete a parameter's state before its first update, where it has more than Algorithm.states."""
        ...

    def set_updates(
        self, optimizer: "Optimizer", group: dict[str, Any], parameter: "Tensor", updates: int
    ) -> None:
        """Tell it how many updates a parameter has had, where it counts them."""
        ...


class Wholes(Protocol):
    """An engine's hidden matrices, of which each rank may hold a part only; by their numbers, the same on all ranks."""

    def apply(
        self,
        piece: Callable[[int], "Tensor"],
        function: Callable[[int, "Tensor"], "Tensor"],
        take: Callable[[int, "Tensor"], None],
    ) -> None:
        """Bring each matrix together, apply a function to it, and hand out what it returns.

        piece: this rank's elements of a matrix, asked for once where it has any. function: of a whole,
        [matrices, rows, columns], called on one of the ranks that hold a part of it, or on several with the same
        numbers; returns the same shape and type. take: is given this rank's elements of that, flat.
        All ranks that share matrices call it.
        """
        ...


class Held(NamedTuple):
    """A rank's part of a parameter that is a hidden matrix."""

    matrix: Matrix
    main: "Tensor | None"
    """What the optimizer updates: this rank's elements; None: it has none."""


@runtime_checkable
class MatrixBuilder(Protocol):
    """A torch half may also treat hidden matrices as wholes: OPTIMIZER has this method then."""

    def arrange(self, optimizer: "Optimizer", held: Sequence[Held], wholes: Wholes) -> None:
        """Tell it which of its parameters are matrices, numbered as in `wholes`; once, before the first update."""
        ...


def states_of(algorithm: Algorithm, matrix: bool) -> list[State]:
    """Return what is kept of a parameter. matrix: whether it is a hidden matrix."""
    return [state for state in algorithm.states if state.of in ("all", "matrices" if matrix else "others")]


def knows_matrices(algorithm: Algorithm) -> bool:
    """Return whether it treats hidden matrices as what they are, so that it needs them whole."""
    return any(state.of == "matrices" for state in algorithm.states)


def bytes_per_parameter(algorithm: Algorithm, matrix: bool) -> int:
    """Return bytes of fp32 state for each element of a parameter; numbers of whole parameters weigh nothing."""
    return 4 * sum(state.shape == "like" for state in states_of(algorithm, matrix))
