from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusals import refused
from slipway.config.schema import Parallelism
from slipway.errors import UserError
from slipway.models.spans import shared_out

sizes = st.integers(1, 4)
costs = st.integers(1, 9)


def layout(stages: int, virtual: int = 1, forced: list[int] | None = None) -> Parallelism:
    return Parallelism(
        pipeline_model_parallel_size=stages,
        virtual_pipeline_model_parallel_size=virtual,
        pipeline_layout=forced,
    )


class Model:
    """Blocks of these costs, between an embedding and a head where they are given."""

    def __init__(self, blocks: list[int], embedding: int | None = None, head: int | None = None) -> None:
        before, after = ([] if end is None else [end] for end in (embedding, head))
        self.costs = [*before, *blocks, *after]
        self.is_block = [*[False] * len(before), *[True] * len(blocks), *[False] * len(after)]
        self.blocks = [number for number, block in enumerate(self.is_block) if block]

    def shared_out(self, it: Parallelism, **how: bool) -> list[range]:
        return shared_out(self.is_block, self.costs, it, **how)

    def counts(self, it: Parallelism, **how: bool) -> list[int]:
        """Blocks of each chunk."""
        return [sum(self.is_block[number] for number in span) for span in self.shared_out(it, **how)]

    def every_way(self, chunks: int) -> list[list[int]]:
        """The cost of each chunk, for every way to cut the model in front of a block or behind the last one."""
        ends = [*self.blocks, self.blocks[-1] + 1]
        found = []
        for cuts in combinations_with_replacement(ends, chunks - 1):
            starts = [0, *cuts, len(self.costs)]
            pieces = [range(start, end) for start, end in zip(starts, starts[1:], strict=False)]
            idle = [not any(self.is_block[number] for number in piece) for piece in pieces]
            if all(pieces) and not any(idle[1:-1]):
                found.append([sum(self.costs[number] for number in piece) for piece in pieces])
        return found


alike = st.builds(
    lambda number, cost, *ends: Model([cost] * number, *ends),
    st.integers(1, 9),
    costs,
    st.none() | costs,
    st.none() | costs,
)
uneven = st.builds(Model, st.lists(costs, min_size=1, max_size=7), st.none() | costs, st.none() | costs)


@given(alike | uneven, sizes, sizes)
def test_every_layer_is_in_one_chunk_in_order(model: Model, stages: int, virtual: int) -> None:
    try:
        spans = model.shared_out(layout(stages, virtual))
    except UserError as error:
        assert error.path == "parallelism.pipeline_model_parallel_size" and not model.every_way(
            stages * virtual
        )
        return
    assert len(spans) == stages * virtual and all(spans)
    assert [number for span in spans for number in span] == list(range(len(model.costs)))
    assert all(any(model.is_block[number] for number in span) for span in spans[1:-1])


@given(alike, sizes, sizes, st.booleans())
def test_equal_blocks_are_as_many_in_each_chunk_or_the_dearest_stage_is_the_cheapest_there_is(
    model: Model, stages: int, virtual: int, level: bool
) -> None:
    chunks = stages * virtual
    ways = model.every_way(chunks)
    if not ways:
        return
    if len(model.blocks) % chunks == 0 and not level:
        counts = model.counts(layout(stages, virtual))
        assert set(counts) == {len(model.blocks) // chunks}
        return

    def by_stage(chunk_costs: list[int]) -> list[int]:
        return [sum(chunk_costs[stage::stages]) for stage in range(stages)]

    spans = model.shared_out(layout(stages, virtual), always_level=level)
    found = [sum(model.costs[number] for number in span) for span in spans]
    assert max(by_stage(found)) == min(max(by_stage(way)) for way in ways)
    # and of the ways with these stages, none has a cheaper dearest chunk
    assert max(found) == min(max(way) for way in ways if by_stage(way) == by_stage(found))


@given(uneven, sizes, sizes)
def test_of_blocks_that_differ_the_dearest_chunk_is_the_cheapest_there_is(
    model: Model, stages: int, virtual: int
) -> None:
    ways = model.every_way(stages * virtual)
    if not ways or len({model.costs[number] for number in model.blocks}) == 1:
        return
    spans = model.shared_out(layout(stages, virtual))
    assert max(sum(model.costs[number] for number in span) for span in spans) == min(map(max, ways))


def test_llama_3_405b_as_it_was_trained() -> None:
    """126 layers on 16 stages, one less on the first and the last (arXiv 2407.21783, section 3.3.2)."""
    model = Model([100] * 126, 1, 50)
    assert model.counts(layout(16)) == [7, *[8] * 14, 7]
    assert model.counts(layout(16, 8)) == [0, *[1] * 126, 0]
    assert [sum(model.counts(layout(16, 4))[stage::16]) for stage in (0, 1, 14, 15)] == [7, 8, 8, 7]


def test_later_stages_take_what_could_be_anywhere() -> None:
    assert Model([10] * 10).counts(layout(4)) == [2, 2, 3, 3]
    assert Model([10] * 10).counts(layout(2, 2)) == [2, 2, 3, 3]


@given(alike, st.lists(st.integers(0, 3), min_size=2, max_size=6))
def test_a_forced_layout_is_followed_or_refused(model: Model, counts: list[int]) -> None:
    fewest = [int(model.is_block[0]), *[1] * (len(counts) - 2), int(model.is_block[-1])]
    fits = sum(counts) == len(model.blocks) and all(
        count >= least for count, least in zip(counts, fewest, strict=True)
    )
    if fits:
        assert model.counts(layout(len(counts), forced=counts)) == counts
    else:
        with refused("parallelism.pipeline_layout", value=counts):
            model.shared_out(layout(len(counts), forced=counts))


@pytest.mark.parametrize(
    ("it", "facts", "use"),
    [
        (layout(1, forced=[6]), [1], "null"),
        (layout(2, forced=[2, 2, 2]), [3, 2], ["2 numbers", 6]),
        (layout(2, 2, forced=[3, 3]), [2, "pipeline 2 x virtual 2 = 4"], ["4 numbers", 6]),
        (layout(3, forced=[2, 2, 1]), [5, 6], ["3 numbers", 6]),
        (layout(2, 2, forced=[3, 0, 2, 1]), ["virtual stage 0 of stage 1"], ["number 2 at least 1"]),
    ],
)
def test_a_layout_that_does_not_fit_is_refused_with_the_arithmetic(
    it: Parallelism, facts: list, use: list
) -> None:
    with refused("parallelism.pipeline_layout", *facts, value=it.pipeline_layout, use=use):
        Model([1] * 6, 1, 1).shared_out(it)


def test_too_many_stages_are_refused_with_how_many_would_do() -> None:
    path = "parallelism.pipeline_model_parallel_size"
    with refused(path, "pipeline 4 x virtual 3 = 12", 10, 6, value=4, use="at most 2"):
        Model([1] * 6, 1, 1).shared_out(layout(4, 3))
    with refused(path, 9, 7, 6, value=9, use="at most 8"):
        Model([1] * 6, 1, 1).shared_out(layout(9))
