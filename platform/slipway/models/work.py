"""The computation and the exchanges of a layer on one rank for one microbatch: a family's description, without torch.

The model of a step (slipway.plan.step) turns it into seconds. Nothing here knows what the layer is.
"""

from typing import Literal, NamedTuple

Group = Literal["tensor", "context", "expert", "tensor_expert"]
Collective = Literal["all_gather", "reduce_scatter", "all_reduce", "all_to_all", "send"]


class Product(NamedTuple):
    """`count` matrix products of m x k by k x n."""

    m: int
    n: int
    k: int
    count: int = 1
    kind: Literal["linear", "attention", "grouped"] = "linear"
    """linear: one kernel each; grouped: all in one kernel, as for a mixture's experts; attention: flash attention,
    whose intermediate results never reach memory."""
    part: float = 1.0
    """The part of the product that is computed: a half under a causal mask."""
    element_bytes: int = 2
    output_bytes: int = 2
    """Bytes moved for each element of the result; 8 if it is added to an fp32 gradient."""

    pace: float = 1.0
    """Speed of its kernel relative to the device's best."""
    by_columns: bool = False
    """Whether it reads both operands by columns, as for a weight's gradient: then k is not the length of a row."""

    @property
    def flop(self) -> float:
        """Floating-point operations of all `count` products."""
        return 2.0 * self.m * self.n * self.k * self.count * self.part

    @property
    def rows(self) -> tuple[int, ...]:
        """Elements of the rows that it reads and writes; attention's scores are not rows in memory."""
        if self.kind == "attention":
            return (self.k,)
        return (self.n,) if self.by_columns else (self.k, self.n)

    @property
    def moved_bytes(self) -> float:
        """Bytes that are at least read and written."""
        inputs = self.element_bytes * self.k * (self.m + self.n)
        return self.count * (inputs + self.output_bytes * self.m * self.n)


class Exchange(NamedTuple):
    """One exchange among the ranks of a group.

    size: bytes of the whole message on each rank: what all_gather returns, what reduce_scatter and all_reduce take,
    what all_to_all and send distribute.
    """

    kind: Collective
    group: Group
    size: float
    copies: int = 1
    """Ranks that each element goes to in an all_to_all, but to each node only once, as DeepEP's kernels send."""
    beside: tuple[Product, ...] = ()
    """Products of the same layer that run meanwhile; only the time beyond theirs is waited for."""


class Pass(NamedTuple):
    """A forward pass, a backward pass, or the part that the backward pass recomputes."""

    products: tuple[Product, ...] = ()
    moved_bytes: float = 0.0
    """Bytes that operators without a product read and write: norms, activations, residuals, losses."""
    kernels: int = 0
    """Kernels launched one after another, including those of products."""
    exchanges: tuple[Exchange, ...] = ()

    def __add__(self, other: "Pass") -> "Pass":  # type: ignore[override]
        return Pass(
            self.products + other.products,
            self.moved_bytes + other.moved_bytes,
            self.kernels + other.kernels,
            self.exchanges + other.exchanges,
        )


class Work(NamedTuple):
    """A layer's work on one rank for one microbatch."""

    forward: Pass = Pass()
    backward: Pass = Pass()
    again: Pass = Pass()
    """The part of the forward pass that the backward pass recomputes."""

    def __add__(self, other: "Work") -> "Work":  # type: ignore[override]
        return Work(self.forward + other.forward, self.backward + other.backward, self.again + other.again)
