"""The number of a source's documents in each split, by Megatron-core's arithmetic, without torch."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from slipway.data.split import SPLITS
from slipway.data.text.config import Config as Data
from slipway.data.text.manifest import Manifest
from slipway.errors import UserError


def document_counts(documents: int, split: tuple[float, float, float]) -> tuple[int, int, int]:
    """Return how many documents training, validation and test get: consecutive stretches, borders rounded.

    This is the arithmetic of BlendedMegatronDatasetBuilder._build_megatron_dataset_splits and
    parse_and_normalize_split.
    """
    total = sum(split)
    shares = [share / total for share in split]
    borders = [0.0, *accumulate(shares)]
    first = [int(round(border * float(documents))) for border in borders]
    counts = [stop - start for start, stop in pairwise(first)]
    return counts[0], counts[1], counts[2]


def samples_per_epoch(tokens: int, length: int) -> int:
    """Return how many samples of `length` tokens and one to predict so many tokens hold.

    Each begins where the one before ends.
    """
    return max(0, (tokens - 1) // length)


def check_split(data: Data, manifest: Manifest, wanted: tuple[bool, bool, bool]) -> None:
    """Raise UserError unless every source has documents in each of the wanted splits."""
    if sum(data.split) == 0:
        raise UserError("data.split", "sums to 0", value=list(data.split), use="a training share above 0")
    for name in data.sources:
        documents = manifest.sources[name].documents
        counts = document_counts(documents, data.split)
        empty = _empty(counts, wanted)
        if empty:
            better = better_split(
                [manifest.sources[name].documents for name in data.sources], data.split, wanted
            )
            raise UserError(
                "data.split",
                f"gives {counts[0]} of the {documents} documents of data.sources.{name} to training, {counts[1]} to "
                f"validation and {counts[2]} to test: none for {' and '.join(empty)}",
                value=list(data.split),
                use=f"larger shares, such as {_in_words(better)}" if better else "more documents",
                do="set validation.steps=0" if "validation" in empty else "",
            )


def better_split(
    documents: Sequence[int], split: tuple[float, float, float], wanted: tuple[bool, bool, bool]
) -> tuple[float, float, float] | None:
    """Return round shares that give each source documents in each wanted split, and training the most.

    None if no such shares exist.
    """
    for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3):
        others = [
            share if part or is_wanted else 0.0 for part, is_wanted in zip(split[1:], wanted[1:], strict=True)
        ]
        found = (round(1 - sum(others), 2), others[0], others[1])
        if not any(_empty(document_counts(count, found), wanted) for count in documents):
            return found
    return None


def _empty(counts: tuple[int, int, int], wanted: tuple[bool, bool, bool]) -> list[str]:
    """Return the wanted splits without documents."""
    return [
        split
        for split, count, is_wanted in zip(SPLITS, counts, wanted, strict=True)
        if is_wanted and not count
    ]


def _in_words(split: tuple[float, float, float]) -> str:
    return f"[{','.join(f'{share:g}' for share in split)}]"
