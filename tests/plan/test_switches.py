"""Switches: which layouts they matter in, what rules set them to, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan import make_plan
from slipway.plan.switches import BOTH_FROM, switches

OLD, NEW = (0, 16), BOTH_FROM
VERSIONS = st.sampled_from([OLD, (0, 18), NEW, (0, 20), (1, 0), None])
DENSE = compose(["model=demo", "data=stdlib", "resources.devices_per_node=8"])
MIXTURE = compose(
    [
        *("model=mixtral_8x7b", "data=bytes", "cluster=jupiter_booster", "resources.nodes=8"),
        *("training.steps=10", "optimizer.lr=1e-4", "training.precision=bf16"),
    ]
)


def with_layout(config: RunConfig, **fields: Any) -> RunConfig:
    return config.model_copy(update={"parallelism": config.parallelism.model_copy(update=fields)})


def chosen(config: RunConfig, megatron: tuple[int, int] | None = OLD, **fields: Any) -> dict[str, Any]:
    return {one.name: one.value for one in switches(with_layout(config, **fields), megatron)}


PIPELINE: dict[str, Any] = {"pipeline_model_parallel_size": 2}
INTERLEAVED: dict[str, Any] = {**PIPELINE, "virtual_pipeline_model_parallel_size": 2}
PLAIN: dict[str, Any] = dict(pipeline_model_parallel_size=1, virtual_pipeline_model_parallel_size=None)


@given(
    VERSIONS,
    st.booleans() | st.none(),
    st.booleans() | st.none(),
    st.sampled_from([PLAIN, PIPELINE, INTERLEAVED]),
)
def test_what_trains_wrongly_is_never_chosen_and_what_is_asked_for_is_done_or_refused(
    megatron: Any, overlap: bool | None, release: bool | None, stages: dict[str, Any]
) -> None:
    forced = {"overlap_p2p_comm": overlap, "deallocate_pipeline_outputs": release}
    asked = {name: value for name, value in forced.items() if value is not None}
    try:
        found = chosen(DENSE, megatron, **stages, **forced)
    except UserError as error:
        assert str(error.path).removeprefix("parallelism.") in asked
        return
    assert asked.items() <= found.items()
    both = found.get("overlap_p2p_comm") and found.get("deallocate_pipeline_outputs")
    assert not (both and megatron is not None and megatron < BOTH_FROM)


def test_each_matters_only_where_it_does_something() -> None:
    assert chosen(DENSE, **PLAIN) == {}
    assert chosen(DENSE, **PIPELINE) == {"deallocate_pipeline_outputs": True}
    before, since = chosen(DENSE, OLD, **INTERLEAVED), chosen(DENSE, NEW, **INTERLEAVED)
    assert before == {"overlap_p2p_comm": True, "deallocate_pipeline_outputs": False}
    assert since == {"overlap_p2p_comm": True, "deallocate_pipeline_outputs": True}
    alone = chosen(DENSE, OLD, **INTERLEAVED, overlap_p2p_comm=False)
    assert alone == {"overlap_p2p_comm": False, "deallocate_pipeline_outputs": True}


def test_buckets_are_padded_for_nccl_alone() -> None:
    name = "pad_buckets_for_high_nccl_busbw"
    assert chosen(DENSE, **PLAIN, use_distributed_optimizer=True) == {name: False}
    assert chosen(MIXTURE, use_distributed_optimizer=True)[name] is True
    sharded: dict[str, Any] = dict(
        use_distributed_optimizer=True, data_parallel_sharding_strategy="optim_grads"
    )
    assert name not in chosen(MIXTURE, **sharded)


def test_buckets_grow_with_the_replicas() -> None:
    """Megatron-core's rule, which FSDP needs to be told; without overlap there are no buckets."""
    assert "bucket_size" not in chosen(DENSE, **PLAIN)
    assert chosen(DENSE, **PLAIN, overlap_grad_reduce=True)["bucket_size"] == 40_000_000
    many = DENSE.model_copy(update={"resources": DENSE.resources.model_copy(update={"nodes": 16})})
    assert chosen(many, **PLAIN, overlap_grad_reduce=True)["bucket_size"] == 128_000_000
    assert chosen(many, **PIPELINE, overlap_grad_reduce=True)["bucket_size"] == 64_000_000
    assert chosen(many, **PLAIN, overlap_grad_reduce=True, bucket_size=1000)["bucket_size"] == 1000


def test_mixtures_send_each_token_to_its_experts_alone() -> None:
    name = "moe_token_dispatcher_type"
    assert chosen(MIXTURE)[name] == "alltoall"
    assert chosen(MIXTURE, moe_token_dispatcher_type="allgather")[name] == "allgather"
    assert name not in chosen(DENSE)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("overlap_p2p_comm", True, []),
        ("overlap_p2p_comm", False, ["parallelism.pipeline_model_parallel_size=2"]),
        ("deallocate_pipeline_outputs", True, []),
        ("bucket_size", 1000, []),
        ("pad_buckets_for_high_nccl_busbw", True, []),
        ("moe_token_dispatcher_type", "allgather", []),
    ],
)
def test_what_would_have_no_effect_is_refused_by_the_plan(field: str, value: Any, words: list[str]) -> None:
    run = ["model=demo", "data=stdlib", "resources.devices_per_node=4", *words]
    with refused(f"parallelism.{field}", value=value, use="null"):
        make_plan(compose([*run, f"parallelism.{field}={str(value).lower()}"]))


def test_the_wrong_pair_is_refused_with_the_version() -> None:
    with refused("parallelism.deallocate_pipeline_outputs", value=True, use="null"):
        chosen(DENSE, OLD, **INTERLEAVED, deallocate_pipeline_outputs=True)
    assert chosen(DENSE, NEW, **INTERLEAVED, deallocate_pipeline_outputs=True)["overlap_p2p_comm"]
