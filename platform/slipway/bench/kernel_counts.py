"""Formulas for the bytes that an operator of the GPT family has to move and the operations it has to do.

Imports no torch. Bytes are the least: what a perfectly fused operator reads and writes in the device's memory. FLOP are
those of the mathematics: nothing that is computed again counts. Both are the same for every backend, so that backends
compare. A backward pass costs twice the forward pass's FLOP. T: tokens, h: hidden size, n and g: query and key heads,
d: head size, f: MLP size, V: padded vocabulary, e: bytes of an element.
"""

from typing import NamedTuple

from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.models.gpt.config import gpt_of

NORM_OPERATIONS = {
    "layer_norm": 7,
    "rms_norm": 4,
}  # per element: subtract, square, add...; LayerNorm shifts, too
ROTARY_OPERATIONS = 3  # two products and a sum
SWIGLU_OPERATIONS = 5  # exponential, sum, quotient, two products
ADAMW_OPERATIONS = 15  # decay 1, moments 3 + 4, bias corrections 2, root, epsilon, quotient, update 2 and 1


DOCUMENTS = 4
"""Documents of one sample, of equal length, when they are kept apart."""


class Cost(NamedTuple):
    """The cost of one call."""

    bytes: float
    flops: float


class Shape(NamedTuple):
    """The sizes of a micro batch of the model on one device."""

    sequence: int
    batch: int
    hidden: int
    heads: int
    groups: int
    head: int
    mlp: int
    vocabulary: int
    element: int

    @property
    def tokens(self) -> int:
        """T: tokens of the micro batch."""
        return self.sequence * self.batch


def shape_of(config: RunConfig) -> Shape:
    """Return the shape of a configuration's micro batch."""
    model, training = gpt_of(config), config.training
    return Shape(
        sequence=tokens_of(config).sequence_length,
        batch=training.micro_batch_size,
        hidden=model.hidden_size,
        heads=model.num_attention_heads,
        groups=model.query_groups,
        head=model.head_size,
        mlp=model.mlp_size,
        vocabulary=model.padded_vocab_size,
        element=2 if training.precision == "bf16" else 4,
    )


def norm(shape: Shape, operator: str) -> Cost:
    """Return the cost of a norm: 5 T h e bytes.

    Forward reads x, writes y; backward reads x and dy, writes dx. Vectors are not counted.
    """
    elements = shape.tokens * shape.hidden
    return Cost(5 * elements * shape.element, 3 * NORM_OPERATIONS[operator] * elements)


def attention_forward(shape: Shape, documents: int = 1) -> Cost:
    """Return the cost of attention's forward pass: T d (2n + 2g) e bytes, 2 s T n d FLOP.

    Reads q, k, v, writes o. Two products over half the square. For a sample that is cut into equal documents: over half
    of each one's square, 2 s T n d / documents.
    """
    moved = shape.tokens * shape.head * (2 * shape.heads + 2 * shape.groups) * shape.element
    return Cost(moved, 2 * shape.sequence * shape.tokens * shape.heads * shape.head // documents)


def attention(shape: Shape, documents: int = 1) -> Cost:
    """Return the cost of attention, forward and backward: T d (6n + 6g) e bytes, three times the forward pass's FLOP.

    Backward reads q, k, v, o, do and writes dq, dk, dv.
    """
    forward = attention_forward(shape, documents)
    return Cost(3 * forward.bytes, 3 * forward.flops)


def mlp(shape: Shape, *, gated: bool) -> Cost:
    """Return the cost of an MLP, forward and backward: of p products, two or, if gated, three.

    Each product reads and writes memory; what lies between them is one pass. Bytes: the weights read twice and their
    gradients written, 3 p h f; x read twice, y and dx written, dy read, 5 T h; inside, (p-1) T f before the activation
    3 times and its gradient 3 times, T f after it 3 times and its gradient twice. FLOP: 2 T h f for each product, three
    times with the backward pass.
    """
    products = 3 if gated else 2
    weights = products * shape.hidden * shape.mlp
    inside = shape.tokens * shape.mlp * (6 * (products - 1) + 5)
    moved = 3 * weights + 5 * shape.tokens * shape.hidden + inside
    return Cost(moved * shape.element, 6 * shape.tokens * weights)


def swiglu(shape: Shape) -> Cost:
    """Return the cost of SwiGLU: 8 T f e bytes.

    Forward reads both halves and writes one; backward reads three and writes two.
    """
    elements = shape.tokens * shape.mlp
    return Cost(8 * elements * shape.element, 3 * SWIGLU_OPERATIONS * elements)


def experts(config: RunConfig) -> Cost:
    """Return the cost of a mixture's experts.

    As a gated MLP with the tokens that all experts see together, topk T, and the weights of all of them.
    """
    model, shape = gpt_of(config), shape_of(config)
    count, tokens = model.num_moe_experts or 1, model.moe_router_topk * shape.tokens
    weights = 3 * shape.hidden * shape.mlp
    moved = 3 * count * weights + 5 * tokens * shape.hidden + 17 * tokens * shape.mlp
    return Cost(moved * shape.element, 6 * tokens * weights)


def rotary(shape: Shape) -> Cost:
    """Return the cost of the rotary embedding: 4 T (n + g) d e bytes.

    Both q and k are read and written, forward and backward; turning back costs as much.
    """
    elements = shape.tokens * (shape.heads + shape.groups) * shape.head
    return Cost(4 * elements * shape.element, 2 * ROTARY_OPERATIONS * elements)


def cross_entropy(shape: Shape) -> Cost:
    """Return the cost of the output layer with its loss: 3 (T + V) h e bytes, 6 T h V FLOP.

    Input and weight are read twice, gradients written. The logits are not counted: they need never be held whole.
    """
    moved = 3 * (shape.tokens + shape.vocabulary) * shape.hidden * shape.element
    return Cost(moved, 6 * shape.tokens * shape.hidden * shape.vocabulary)


def adamw(config: RunConfig) -> Cost:
    """Return the cost of a step of AdamW in fp32 on one layer's parameters: 28 bytes each.

    Parameter and two moments are read and written, the gradient read.
    """
    count = sum(rows * columns for rows, columns in layer_weights(config))
    return Cost(28 * count, ADAMW_OPERATIONS * count)


def layer_weights(config: RunConfig) -> list[tuple[int, int]]:
    """Return the shapes of one dense layer's weights and vectors (of one column), as an optimizer gets them."""
    model, shape = gpt_of(config), shape_of(config)
    width, first = shape.heads * shape.head, shape.mlp * (2 if model.activation == "swiglu" else 1)
    outputs = width + 2 * shape.groups * shape.head
    shapes = [
        (outputs, shape.hidden),
        (shape.hidden, width),
        (first, shape.hidden),
        (shape.hidden, shape.mlp),
    ]
    vectors = [shape.hidden] * (4 if model.normalization == "LayerNorm" else 2)
    if model.add_bias_linear:
        vectors += [outputs, shape.hidden, first, shape.hidden]
    return [*shapes, *((length, 1) for length in vectors)]


def least_seconds(cost: Cost, flops_per_second: float, bytes_per_second: float) -> tuple[float, str]:
    """Return the seconds that the ceilings allow, and which of them decides (roofline, Williams et al. 2009)."""
    compute, memory = cost.flops / flops_per_second, cost.bytes / bytes_per_second
    return max(compute, memory), "matmul" if compute >= memory else "memory"
