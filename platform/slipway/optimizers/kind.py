"""The interface of an optimizer: ALGORITHM of its module `algorithm`, and with torch OPTIMIZER of `optimizer`."""

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
    """Whether it is shaped like the parameter or is one number for the whole parameter."""
    of: Literal["all", "matrices", "others"] = "all"
    """The parameters that have it: all, only hidden matrices (see slipway.optimizers.matrix), or all but those."""


class Algorithm(Protocol):
    """The pure half of an optimizer."""

    @property
    def states(self) -> Sequence[State]:
        """The tensors that it keeps of parameters between updates, besides the number of updates."""
        ...

    @property
    def backends(self) -> frozenset[str]:
        """The backends (kernels.optimizer) that can compute it; empty: there is nothing to choose."""
        ...


class Builder(Protocol):
    """The torch half of an optimizer."""

    def build(self, groups: list[dict[str, Any]], config: RunConfig) -> "Optimizer":
        """Return the optimizer of these groups of parameters.

        Engines set each group's lr and weight_decay before every update.
        """
        ...

    def begin(self, optimizer: "Optimizer", parameter: "Tensor") -> None:
        """Complete a parameter's state before its first update. `parameter` has any shape.

        Algorithm.states lists the tensors that are there already.
        """
        ...

    def set_updates(
        self, optimizer: "Optimizer", group: dict[str, Any], parameter: "Tensor", updates: int
    ) -> None:
        """Set the number of updates that a parameter, of any shape, has had, if the optimizer counts them."""
        ...


class Wholes(Protocol):
    """An engine's hidden matrices, numbered alike on all ranks; each rank may hold only a part of a matrix."""

    def apply(
        self,
        piece: Callable[[int], "Tensor"],
        function: Callable[[int, "Tensor"], "Tensor"],
        take: Callable[[int, "Tensor"], None],
    ) -> None:
        """Assemble each matrix, apply a function to it, and distribute the result.

        piece: returns this rank's elements of a matrix; called once for each matrix of which the rank has any.
        function: takes a whole matrix, [matrices, rows, columns], and returns the same shape and type; it is called on
        one of the ranks that hold a part of it, or on several with the same numbers. take: is given this rank's
        elements of the result, flat.
        All ranks that share matrices must call it.
        """
        ...


class Held(NamedTuple):
    """A rank's part of a parameter that is a hidden matrix."""

    matrix: Matrix
    main: "Tensor | None"
    """This rank's elements, which the optimizer updates; None: the rank has none."""


@runtime_checkable
class MatrixBuilder(Protocol):
    """A torch half that treats hidden matrices as wholes: OPTIMIZER then has this method as well."""

    def arrange(self, optimizer: "Optimizer", held: Sequence[Held], wholes: Wholes) -> None:
        """Tell the optimizer, once before the first update, which parameters are matrices, numbered as in `wholes`."""
        ...


def states_of(algorithm: Algorithm, matrix: bool) -> list[State]:
    """Return the tensors that are kept of a parameter. matrix: whether it is a hidden matrix."""
    return [state for state in algorithm.states if state.of in ("all", "matrices" if matrix else "others")]


def knows_matrices(algorithm: Algorithm) -> bool:
    """Return whether the optimizer treats hidden matrices as matrices, and therefore needs them whole."""
    return any(state.of == "matrices" for state in algorithm.states)


def bytes_per_parameter(algorithm: Algorithm, matrix: bool) -> int:
    """Return the bytes of fp32 state for each element of a parameter; scalars of whole parameters are not counted."""
    return 4 * sum(state.shape == "like" for state in states_of(algorithm, matrix))
