"""The layout of a GPT's tensors in checkpoints and in transformers' files: the building blocks of the key maps.

Queries, keys and values of a checkpoint are ordered by group, [groups, heads of a group + 2, head size, hidden]: the
queries of a group, then its key and its value (Megatron-core's linear_qkv). Gated first layers are [all gates; all
others], whatever the layout was.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from slipway.models.formats import Array, Part, same
from slipway.models.gpt.config import Config
from slipway.models.gpt.keys import layer_key


class Place(NamedTuple):
    """The place of a layer in both formats."""

    key: str
    """The prefix of the names of its tensors here."""
    at: tuple[int, ...]
    """Its index on the axes before each tensor's own."""
    there: str
    """The prefix of the names in the other format."""


def place(model: Config, layer: int, there: str) -> Place:
    """Return the place of a transformer layer. there: the prefix of its number in the other format's names."""
    return Place(*layer_key(model, layer), f"{there}.{layer}")


def table(model: Config, key: str, name: str) -> Part:
    """Return the part of an embedding's or output layer's table: padded here with unused rows, and unpadded there."""
    rows, hidden = model.vocab_size, model.hidden_size

    def join(theirs: Sequence[Array]) -> Array:
        from torch.nn.functional import pad

        missing = model.padded_vocab_size - rows
        return pad(theirs[0], (0, 0, 0, missing)) if missing else theirs[0]  # pad copies even to add no rows

    shape = (model.padded_vocab_size, hidden)
    return Part(key, (), shape, {name: (rows, hidden)}, lambda t: [t[:rows]], join)


def tables(model: Config, embedding: str, head: str) -> Iterator[Part]:
    """Yield the part of the embedding and, if it has weights of its own, of the output layer."""
    yield table(model, "embedding.word_embeddings.weight", embedding)
    if model.untie_embeddings_and_output_weights:
        yield table(model, "output_layer.weight", head)


def norm(model: Config, key: str, at: tuple[int, ...], name: str, width: int | None = None) -> Iterator[Part]:
    """Yield the parts of a norm's weight and bias. width: None: that of the hidden state."""
    shape = (model.hidden_size if width is None else width,)
    yield same(f"{key}.weight", at, shape, f"{name}.weight")
    if model.normalization == "LayerNorm":
        yield same(f"{key}.bias", at, shape, f"{name}.bias")


def linear(
    model: Config,
    key: str,
    at: tuple[int, ...],
    name: str,
    outputs: int,
    inputs: int,
    *,
    turned: bool = False,
) -> Iterator[Part]:
    """Yield the parts of a linear layer. turned: whether it is [inputs, outputs] there (GPT-2's Conv1D)."""
    weight = f"{key}.weight"
    if turned:
        theirs = {f"{name}.weight": (inputs, outputs)}
        yield Part(
            weight, at, (outputs, inputs), theirs, lambda t: [t.swapaxes(0, 1)], lambda t: t[0].swapaxes(0, 1)
        )
    else:
        yield same(weight, at, (outputs, inputs), f"{name}.weight")
    if model.add_bias_linear:
        yield same(f"{key}.bias", at, (outputs,), f"{name}.bias")


def apart(key: str, at: tuple[int, ...], names: Sequence[str], each: int, rest: tuple[int, ...]) -> Part:
    """Return the part of equally shaped tensors that are concatenated here, and have a name each there."""

    def join(theirs: Sequence[Array]) -> Array:
        from torch import cat

        return cat(list(theirs))

    shapes = {name: (each, *rest) for name in names}
    return Part(
        key,
        at,
        (len(names) * each, *rest),
        shapes,
        lambda t: [t[n * each : (n + 1) * each] for n in range(len(names))],
        join,
    )


def gated(
    model: Config,
    where: Place,
    width: int,
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> Iterator[Part]:
    """Yield the parts of a gated MLP, whose first two layers are one here.

    names: of the gate, of the layer that it multiplies, and of the last layer.
    """
    *first, last = names
    for kind, rest in _kinds(model, bias=model.add_bias_linear):
        theirs = [f"{where.there}.{name}.{kind}" for name in first]
        yield apart(f"{where.key}.linear_fc1.{kind}", where.at, theirs, width, rest)
    yield from linear(
        model, f"{where.key}.linear_fc2", where.at, f"{where.there}.{last}", model.hidden_size, width
    )


def heads_apart(model: Config, where: Place, names: Sequence[str]) -> Iterator[Part]:
    """Yield the parts of queries, keys and values that are separate linear layers there."""
    for kind, rest in _kinds(model, bias=model.add_bias_linear or model.add_qkv_bias):
        yield _grouped(model, where, kind, rest, [f"{where.there}.{name}.{kind}" for name in names])


def heads_joined(model: Config, where: Place, name: str) -> Iterator[Part]:
    """Yield the parts of all queries, all keys, all values in one layer, [inputs, outputs] there (GPT-2's Conv1D)."""
    for kind, rest in _kinds(model, bias=model.add_bias_linear):
        inner = _grouped(model, where, kind, rest, ["queries", "keys", "values"])
        ends = [sum(shape[0] for shape in list(inner.theirs.values())[:n]) for n in range(4)]
        whole = (*rest, inner.shape[0])

        def split(ours: Array, inner: Part = inner, rest: tuple = rest) -> Sequence[Array]:
            from torch import cat

            joined = cat(list(inner.split(ours)))
            return [joined.swapaxes(0, 1) if rest else joined]

        def join(
            theirs: Sequence[Array], inner: Part = inner, rest: tuple = rest, ends: list[int] = ends
        ) -> Array:
            upright = theirs[0].swapaxes(0, 1) if rest else theirs[0]
            return inner.join([upright[a:b] for a, b in zip(ends, ends[1:], strict=False)])

        yield Part(inner.key, inner.at, inner.shape, {f"{where.there}.{name}.{kind}": whole}, split, join)


def _kinds(model: Config, *, bias: bool) -> list[tuple[str, tuple[int, ...]]]:
    return [("weight", (model.hidden_size,)), *([("bias", ())] if bias else [])]


def _grouped(model: Config, where: Place, kind: str, rest: tuple[int, ...], names: Sequence[str]) -> Part:
    groups, size = model.query_groups, model.head_size
    each = model.num_attention_heads // groups
    queries, keys = (model.num_attention_heads * size, *rest), (groups * size, *rest)

    def split(ours: Array) -> Sequence[Array]:
        by_group = ours.reshape((groups, each + 2, size, *rest))
        return [
            by_group[:, :each].reshape(queries),
            by_group[:, each].reshape(keys),
            by_group[:, each + 1].reshape(keys),
        ]

    def join(theirs: Sequence[Array]) -> Array:
        from torch import cat

        q, k, v = theirs
        by_group = [
            q.reshape((groups, each, size, *rest)),
            *(t.reshape((groups, 1, size, *rest)) for t in (k, v)),
        ]
        return cat(by_group, 1).reshape(whole)

    whole = (groups * (each + 2) * size, *rest)
    return Part(
        f"{where.key}.self_attention.linear_qkv.{kind}",
        where.at,
        whole,
        dict(zip(names, (queries, keys, keys), strict=True)),
        split,
        join,
    )
