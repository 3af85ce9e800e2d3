"""The plan's arithmetic is Megatron-core's, for the version installed."""

import pytest

from slipway.models.spans import even
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


@pytest.mark.parametrize(("layers", "stages", "virtual"), [(12, 1, 1), (12, 3, 1), (24, 4, 3), (96, 8, 3)])
def test_layers_of_chunks(layers: int, stages: int, virtual: int) -> None:
    import torch
    from megatron.core.transformer.transformer_block import get_num_layers_to_build
    from megatron.core.transformer.transformer_config import TransformerConfig
    from megatron.core.transformer.transformer_layer import get_transformer_layer_offset

    config = TransformerConfig(
        num_layers=layers,
        hidden_size=8,
        num_attention_heads=1,
        pipeline_model_parallel_size=stages,
        virtual_pipeline_model_parallel_size=virtual if virtual > 1 else None,
        pipeline_dtype=torch.float32,
    )
    blocks = even([True] * layers, stages, virtual)
    for stage in range(stages):
        for chunk in range(virtual):
            vp_stage = chunk if virtual > 1 else None
            span = blocks[chunk * stages + stage]
            assert span.start == get_transformer_layer_offset(config, vp_stage=vp_stage, pp_rank=stage)
            assert len(span) == get_num_layers_to_build(config, vp_stage=vp_stage, pp_rank=stage)


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
