from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from slipway.models.family import Layer, Shard
from slipway.models.spans import balanced, even

sizes = st.integers(1, 5)


def layers(weights: list[int], *, ends: bool = False) -> list[Layer]:
    """Blocks of so many parameters; ends: between an embedding and a head, which are none."""
    blocks = [Layer(f"block {number}", Shard(weight)) for number, weight in enumerate(weights)]
    end = [Layer("end", Shard(3), block=False)] if ends else []
    return [*end, *blocks, *end]


@given(sizes, sizes, sizes, st.booleans())
def test_even_chunks_hold_each_layer_once_in_order(stages: int, virtual: int, each: int, ends: bool) -> None:
    model = layers([1] * (stages * virtual * each), ends=ends)
    spans = even([layer.block for layer in model], stages, virtual)
    assert [number for span in spans for number in span] == list(range(len(model)))
    assert {sum(model[number].block for number in span) for span in spans} == {each}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=7), sizes, st.booleans())
def test_balanced_chunks_are_the_lightest_that_there_are(weights: list[int], chunks: int, ends: bool) -> None:
    model = layers(weights, ends=ends)
    spans = balanced(model, chunks)
    if chunks > len(weights):
        assert spans is None
        return
    assert spans is not None and len(spans) == chunks
    assert [number for span in spans for number in span] == list(range(len(model)))
    assert all(any(model[number].block for number in span) for span in spans)

    def heaviest(cuts: tuple[int, ...]) -> int:
        starts = [0, *(cut + ends for cut in cuts), len(model)]
        return max(
            sum(layer.parameters.total for layer in model[start:end])
            for start, end in zip(starts, starts[1:], strict=False)
        )

    least = min(heaviest(cuts) for cuts in combinations(range(1, len(weights)), chunks - 1))
    assert max(sum(model[number].parameters.total for number in span) for span in spans) == least
