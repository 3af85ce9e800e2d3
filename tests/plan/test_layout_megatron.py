"""The plan's arithmetic is Megatron-core's, for the version installed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.config.compose import compose
from slipway.config.schema import Parallelism
from slipway.engine.megatron.settings import settings
from slipway.models.gpt.transformer import transformer_config
from slipway.plan import make_plan
from slipway.plan.layout import Grid, chunks_in_flight

ORDER = "tp-cp-ep-dp-pp"
GRIDS = [
    Grid(tp=2, cp=1, ep=1, dp=2, pp=2),
    Grid(tp=2, cp=2, ep=1, dp=3, pp=2),
    Grid(tp=1, cp=2, ep=4, dp=4, pp=3),
    Grid(tp=2, cp=1, ep=2, dp=4, pp=2),
    Grid(tp=4, cp=2, ep=6, dp=3, pp=1),
]


def _groups(grid: Grid, *same: str) -> list[list[int]]:
    """Ranks that agree in the coordinates `same`, as sorted groups."""
    found: dict[tuple[int, ...], list[int]] = {}
    for rank in range(grid.world_size):
        at = grid.coordinates(rank)
        found.setdefault(tuple(getattr(at, name) for name in same), []).append(rank)
    return sorted(found.values())


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_groups(grid: Grid) -> None:
    from megatron.core.parallel_state import RankGenerator

    dense = RankGenerator(tp=grid.tp, ep=1, dp=grid.dp, pp=grid.pp, cp=grid.cp, order=ORDER)
    assert sorted(dense.get_ranks("tp")) == _groups(grid, "cp", "dp", "pp")
    assert sorted(dense.get_ranks("cp")) == _groups(grid, "tp", "dp", "pp")
    assert sorted(dense.get_ranks("dp")) == _groups(grid, "tp", "cp", "pp")
    assert sorted(dense.get_ranks("pp")) == _groups(grid, "tp", "cp", "dp")
    assert sorted(dense.get_ranks("tp-pp")) == _groups(grid, "cp", "dp")

    expert = RankGenerator(tp=grid.tp, ep=grid.ep, dp=grid.expert_dp, pp=grid.pp, cp=1, order=ORDER)
    assert sorted(expert.get_ranks("dp")) == _groups(grid, "tp", "ep", "pp")
    for group in expert.get_ranks("ep"):
        assert [grid.coordinates(rank).ep for rank in group] == list(range(grid.ep))


@pytest.mark.parametrize(
    ("layers", "stages", "virtual"),
    [(12, 1, 1), (12, 3, 1), (24, 4, 3), (96, 8, 3), (3, 2, 1), (3, 2, 2), (11, 4, 2), (126, 16, 8)],
)
def test_layers_of_chunks(layers: int, stages: int, virtual: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from megatron.core import parallel_state
    from megatron.core.transformer.transformer_block import get_num_layers_to_build
    from megatron.core.transformer.transformer_layer import get_transformer_layer_offset

    monkeypatch.setattr(
        parallel_state,
        "get_virtual_pipeline_model_parallel_world_size",
        lambda: virtual if virtual > 1 else None,
    )
    run = compose(
        [
            *("model=demo", f"model.num_layers={layers}"),
            f"parallelism.pipeline_model_parallel_size={stages}",
            f"parallelism.virtual_pipeline_model_parallel_size={virtual}",
            f"resources.devices_per_node={stages}",
            f"training.global_batch_size={2 * stages}",
        ]
    )
    plan = make_plan(run)
    config = transformer_config(run, settings(run))
    for stage in range(stages):
        monkeypatch.setattr(parallel_state, "get_pipeline_model_parallel_rank", lambda stage=stage: stage)
        for chunk in range(virtual):
            vp_stage = chunk if virtual > 1 else None
            first, count = plan.stages[stage].blocks[chunk]
            assert first == get_transformer_layer_offset(config, vp_stage=vp_stage, pp_rank=stage)
            assert count == get_num_layers_to_build(config, vp_stage=vp_stage, pp_rank=stage)
    assert (config.pipeline_model_parallel_layout is None) == (layers % (stages * virtual) == 0)


@given(
    st.lists(
        st.sampled_from(["t", "t*2", "|", "|*2", "t*3|", "(t|)*2", "(t*2|t)*3", "(|t)*2", ",", "t*0"]),
        max_size=6,
    )
)
def test_the_notation_of_pipeline_layout(parts: list[str]) -> None:
    """As Megatron-core reads it."""
    from megatron.core.transformer.enums import LayerType
    from megatron.core.transformer.pipeline_parallel_layer_layout import PipelineParallelLayerLayout

    text = f"E{''.join(parts)}L"
    chunks = PipelineParallelLayerLayout.parse_str_to_list(text)
    assert Parallelism(pipeline_layout=text).pipeline_layout == [  # type: ignore[arg-type]
        chunk.count(LayerType.decoder) for chunk in chunks
    ]


def test_chunks_in_flight(monkeypatch) -> None:
    from megatron.core import parallel_state
    from megatron.core.pipeline_parallel.schedules import get_pp_rank_microbatches

    for stages, virtual, microbatches in [(4, 1, 8), (4, 1, 2), (4, 2, 8), (8, 3, 8), (2, 4, 2)]:
        for stage in range(stages):
            for name, value in (
                ("get_pipeline_model_parallel_world_size", stages),
                ("get_pipeline_model_parallel_rank", stage),
                ("get_virtual_pipeline_model_parallel_world_size", virtual if virtual > 1 else None),
            ):
                monkeypatch.setattr(parallel_state, name, lambda value=value: value)
            total, _, warmup, _ = get_pp_rank_microbatches(microbatches, virtual, stages)
            # The pass that follows the warm-up is kept too when the first backward pass begins.
            assert chunks_in_flight(stages, virtual, microbatches, stage) == min(warmup + 1, total)
