"""What holds of the plan's memory for every model and layout."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from presets import large
from slipway.config.compose import compose
from slipway.config.schema import Parallelism, RunConfig
from slipway.plan.layout import Grid
from slipway.plan.memory import PARTS, Share, StageMemory, fullest, stage_memory

MODELS = ["gpt3_6_7b", "llama3_8b", "llama3_70b", "mixtral_8x7b"]
# the numbers of a family that does not know of more ranks than there are: rules are another subject
SIZES = {
    "tp": "tensor_model_parallel_size",
    "pp": "pipeline_model_parallel_size",
    "cp": "context_parallel_size",
    "ep": "expert_model_parallel_size",
}
STRATEGIES = {
    "zero0": {},
    "zero1": {"use_distributed_optimizer": True},
    "zero2": {"use_distributed_optimizer": True, "data_parallel_sharding_strategy": "optim_grads"},
    "zero3": {"use_distributed_optimizer": True, "data_parallel_sharding_strategy": "optim_grads_params"},
}


@cache
def base(model: str, recompute: str) -> RunConfig:
    words = [
        "cluster.device.memory_gib=null",
        "training.precision=bf16",
        f"training.recompute={recompute}",
        "kernels.cross_entropy=torch",
    ]
    return compose([*large(model), *words])


def shared(model: str, recompute: str, sharding: str, dp: int, **sizes: int) -> tuple[RunConfig, Share, Grid]:
    """A layout with dp replicas of whatever the other sizes are."""
    fields = {SIZES[name]: size for name, size in sizes.items()}
    layout = Parallelism(**STRATEGIES[sharding], **fields, sequence_parallel=sizes.get("tp", 1) > 1)  # type: ignore[arg-type]
    config = base(model, recompute).model_copy(update={"parallelism": layout})
    return config, Share.of(config), Grid(dp=dp, **sizes)


def stages(*words: str, **sizes: int) -> list[StageMemory]:
    """Of every pipeline stage, with 32 microbatches for each replica."""
    config, share, grid = shared(*words, **sizes)  # type: ignore[arg-type]
    return [stage_memory(config, share, grid, stage, 32) for stage in range(grid.pp)]


def largest(*words: str, **sizes: int) -> int:
    return max(stage.total for stage in stages(*words, **sizes))  # type: ignore[arg-type]


some = settings(max_examples=25)  # of some hundred combinations; they are the same each time
RUNS = st.tuples(st.sampled_from(MODELS), st.sampled_from(["none", "selective", "full"]))
ANY = st.tuples(st.sampled_from(MODELS), st.sampled_from(["none", "full"]), st.sampled_from(list(STRATEGIES)))
POWERS = st.sampled_from([1, 2, 4])


@some
@given(ANY, st.sampled_from([1, 2, 8, 64]), POWERS, st.sampled_from([1, 2, 8]))
def test_parts_sum_to_the_total(run: tuple[str, str, str], dp: int, tp: int, pp: int) -> None:
    for stage in stages(*run, dp=dp, tp=tp, pp=pp):
        parts = {name: getattr(stage, name) for name in PARTS}
        assert min(parts.values()) >= 0
        assert stage.total == sum(parts.values())
        assert stage.allocated == stage.total - parts["framework"] - parts["fragmentation"]


@some
@given(ANY, st.sampled_from([1, 8]), st.sampled_from([1, 2, 4, 8]))
def test_the_fullest_stage_is_found_without_the_others(run: tuple[str, str, str], dp: int, pp: int) -> None:
    found = fullest(*shared(*run, dp=dp, pp=pp), 32)
    assert found.total == largest(*run, dp=dp, pp=pp)
    assert found in stages(*run, dp=dp, pp=pp)


@some
@given(ANY, st.sampled_from([1, 8, 64]), POWERS, st.sampled_from([1, 2, 8]))
def test_memory_falls_with_tensor_parallelism(run: tuple[str, str, str], dp: int, tp: int, pp: int) -> None:
    assert largest(*run, dp=dp, tp=2 * tp, pp=pp) < largest(*run, dp=dp, tp=tp, pp=pp)


@some
@given(RUNS, st.sampled_from(["zero0", "zero1"]), st.sampled_from([1, 8, 64]), POWERS, POWERS)
def test_memory_falls_with_pipeline_stages(
    run: tuple[str, str], sharding: str, dp: int, tp: int, pp: int
) -> None:
    """FSDP has none."""
    fewer, more = (largest(*run, sharding, dp=dp, tp=tp, pp=size) for size in (pp, 2 * pp))
    assert more < fewer


@some
@given(RUNS, st.sampled_from(["zero1", "zero2", "zero3"]), st.sampled_from([2, 8, 64]), POWERS)
def test_memory_falls_with_the_replicas_that_share(
    run: tuple[str, str], sharding: str, dp: int, tp: int
) -> None:
    assert largest(*run, sharding, dp=2 * dp, tp=tp) < largest(*run, sharding, dp=dp, tp=tp)


@some
@given(RUNS, st.sampled_from([8, 64]), st.sampled_from([1, 2]))
def test_memory_falls_with_what_is_shared(run: tuple[str, str], dp: int, tp: int) -> None:
    """From 3 x 10^9 parameters of a rank on: 10^9 gradients are whole even so."""
    found = [largest(*run, sharding, dp=dp, tp=tp) for sharding in STRATEGIES]
    assert found == sorted(found, reverse=True) and len(set(found)) == len(found)


@some
@given(st.sampled_from([8, 64]), POWERS)
def test_memory_falls_with_expert_parallelism(dp: int, ep: int) -> None:
    assert largest("mixtral_8x7b", "none", "zero1", dp=dp, ep=2 * ep) < largest(
        "mixtral_8x7b", "none", "zero1", dp=dp, ep=ep
    )


@some
@given(st.sampled_from(MODELS), st.sampled_from(list(STRATEGIES)), POWERS)
def test_memory_falls_with_recomputation(model: str, sharding: str, tp: int) -> None:
    none, some, whole = (
        largest(model, recompute, sharding, dp=64, tp=tp) for recompute in ("none", "selective", "full")
    )
    assert whole < some < none


@some
@given(ANY, st.sampled_from([1, 8]))
def test_stages_have_the_whole_model(run: tuple[str, str, str], pp: int) -> None:
    """Weights of all stages are those of one, and of tied embeddings one table more."""
    one, several = (
        sum(stage.parameters for stage in stages(run[0], run[1], "zero0", dp=1, pp=size)) for size in (1, pp)
    )
    model = base(run[0], run[1]).model
    tied = pp > 1 and not model.untie_embeddings_and_output_weights  # type: ignore[attr-defined]
    table = 2 * model.padded_vocab_size * model.hidden_size  # type: ignore[attr-defined]
    assert several == one + tied * table
