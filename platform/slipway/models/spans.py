"""How the layers of a model are shared out over pipeline stages. Pure arithmetic."""

from collections.abc import Sequence

from slipway.models.family import Layer


def even(is_block: Sequence[bool], stages: int, virtual_stages: int) -> list[range]:
    """As many blocks in each chunk, other layers with the block beside them. is_block: of each layer.

    Blocks of chunk v of stage p start at v (L / V) + p (L / (P V)), as in Megatron-core's
    `get_transformer_layer_offset`; the number of blocks is known to be divisible.
    """
    blocks = [number for number, block in enumerate(is_block) if block]
    chunks = stages * virtual_stages
    size, rest = divmod(len(blocks), chunks)
    assert size and not rest, "the family's rules have refused this layout"
    starts = [0, *(blocks[chunk * size] for chunk in range(1, chunks)), len(is_block)]
    return [range(starts[chunk], starts[chunk + 1]) for chunk in range(chunks)]


def balanced(layers: Sequence[Layer], chunks: int) -> list[range] | None:
    """Consecutive chunks that each begin with a block, the largest as small as can be by parameters.

    None where there are fewer blocks than chunks.
    """
    starts = [number for number, layer in enumerate(layers) if layer.block]
    if len(starts) < chunks:
        return None
    starts[0] = 0
    ends = [*starts[1:], len(layers)]
    weights = [
        sum(layer.parameters.total for layer in layers[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]
    best = _partition(weights, chunks)
    return [range(starts[first], ends[last - 1]) for first, last in best]


def _partition(weights: Sequence[int], chunks: int) -> list[tuple[int, int]]:
    """The consecutive parts, none empty, whose heaviest is lightest: the linear partition problem, by tables."""
    count, sums = len(weights), [0]
    for weight in weights:
        sums.append(sums[-1] + weight)
    heaviest = [[float(sums[end]) for end in range(count + 1)]]
    cuts: list[list[int]] = [[0] * (count + 1)]
    for part in range(1, chunks):
        row, cut = [float("inf")] * (count + 1), [0] * (count + 1)
        for end in range(part + 1, count + 1):
            row[end], cut[end] = min(
                (max(heaviest[part - 1][middle], float(sums[end] - sums[middle])), middle)
                for middle in range(part, end)
            )
        heaviest.append(row)
        cuts.append(cut)
    parts, end = [], count
    for part in reversed(range(chunks)):
        start = cuts[part][end]
        parts.append((start, end))
        end = start
    return parts[::-1]
