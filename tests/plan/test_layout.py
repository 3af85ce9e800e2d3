from hypothesis import given
from hypothesis import strategies as st

from slipway.plan.layout import Grid, chunks_in_flight

sizes = st.integers(1, 5)


@st.composite
def grids(draw) -> Grid:
    tp, cp, dp, pp = (draw(sizes) for _ in range(4))
    ep = draw(st.sampled_from([n for n in range(1, cp * dp + 1) if cp * dp % n == 0]))
    return Grid(tp=tp, cp=cp, ep=ep, dp=dp, pp=pp)


@given(grids())
def test_ranks_and_coordinates_are_one_to_one(grid: Grid) -> None:
    places = [grid.coordinates(rank) for rank in range(grid.world_size)]
    assert len(set(places)) == grid.world_size
    assert [grid.rank(tp=at.tp, cp=at.cp, dp=at.dp, pp=at.pp) for at in places] == list(
        range(grid.world_size)
    )


@given(grids())
def test_each_coordinate_takes_all_its_values_equally_often(grid: Grid) -> None:
    places = [grid.coordinates(rank) for rank in range(grid.world_size)]
    for name in ("tp", "cp", "ep", "dp", "pp"):
        values = [getattr(at, name) for at in places]
        size = getattr(grid, name)
        assert {values.count(value) for value in range(size)} == {grid.world_size // size}


@given(grids())
def test_tensor_parallel_ranks_are_neighbours(grid: Grid) -> None:
    """They talk most, so they sit on one node."""
    for rank in range(grid.world_size):
        assert grid.coordinates(rank).tp == rank % grid.tp
        assert grid.coordinates(rank).pp == rank // (grid.world_size // grid.pp)


@given(sizes, st.integers(1, 20))
def test_chunks_in_flight_without_interleaving(stages: int, microbatches: int) -> None:
    kept = [chunks_in_flight(stages, 1, microbatches, stage) for stage in range(stages)]
    assert kept == [min(stages - stage, microbatches) for stage in range(stages)]


def test_chunks_in_flight_with_interleaving() -> None:
    # arXiv 2205.05198, 4.2.3: stage 0 keeps L (1 + (P - 1) / (P V)) layers, here for L = 96, P = 8, V = 3.
    assert chunks_in_flight(8, 3, 96, 0) * (96 // 24) == 96 * (1 + 7 / 24)
    assert chunks_in_flight(8, 3, 2, 0) == 6
