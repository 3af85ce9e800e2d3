"""Switches: which layouts they matter in, what rules set them to, and what is refused."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.kernels.probe import Machine, Package
from slipway.plan import conflicts, make_plan
from slipway.plan.gpu_variables import CONNECTIONS
from slipway.plan.switches import BOTH_FROM, switches

ROOT = Path(__file__).parents[2]
OLD, NEW = (0, 16), BOTH_FROM
VERSIONS = st.sampled_from([OLD, (0, 18), NEW, (0, 20), (1, 0), None])
DENSE = compose(["model=demo", "data=stdlib", "resources.devices_per_node=8"])
MIXTURE = compose(
    [
        *("model=mixtral_8x7b", "data=bytes", "cluster=jupiter_booster", "resources.nodes=8"),
        *("training.steps=10", "optimizer.lr=1e-4", "training.precision=bf16"),
    ]
)


MISSING, THERE = Package("x", trouble="not installed"), Package("x", "1.0")
HOPPER = Machine(True, (9, 0), THERE, THERE, THERE, THERE, deep_ep=THERE)
AMPERE = Machine(True, (8, 0), THERE, THERE, THERE, THERE, deep_ep=THERE)
NO_DEEP_EP = Machine(True, (9, 0), THERE, THERE, THERE, THERE, deep_ep=MISSING)
MACHINES = st.sampled_from([None, HOPPER, AMPERE, NO_DEEP_EP])
GPUS = compose(
    [
        *(
            "model=llama3_8b",
            "data=bytes",
            "cluster=jupiter_booster",
            "resources.nodes=4",
            "training.steps=10",
        ),
        *("parallelism.tensor_model_parallel_size=4", "parallelism.sequence_parallel=true"),
        *("training.precision=bf16", "training.recompute=none", "optimizer.lr=1e-4"),
    ]
)


def with_layout(config: RunConfig, **fields: Any) -> RunConfig:
    return config.model_copy(update={"parallelism": config.parallelism.model_copy(update=fields)})


def chosen(
    config: RunConfig, megatron: tuple[int, int] | None = OLD, machine: Machine | None = None, **fields: Any
) -> dict[str, Any]:
    return {one.name: one.value for one in switches(with_layout(config, **fields), megatron, machine)}


def with_kernels(config: RunConfig, **fields: Any) -> RunConfig:
    return config.model_copy(update={"kernels": config.kernels.model_copy(update=fields)})


def with_training(config: RunConfig, **fields: Any) -> RunConfig:
    return config.model_copy(update={"training": config.training.model_copy(update=fields)})


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
    forced: dict[str, Any] = {"overlap_p2p_comm": overlap, "deallocate_pipeline_outputs": release}
    asked = {name: value for name, value in forced.items() if value is not None}
    try:
        found = chosen(DENSE, megatron, **stages, **forced)
    except UserError as error:
        assert str(error.path).removeprefix("parallelism.") in asked
        return
    assert asked.items() <= found.items()
    both = found.get("overlap_p2p_comm") and found.get("deallocate_pipeline_outputs")
    assert not (both and megatron is not None and megatron < BOTH_FROM)


FIELDS = tuple(yaml.safe_load((ROOT / "conf" / "parallelism" / "base" / "switches.yaml").read_text()))


def values_of(field: str) -> st.SearchStrategy[Any]:
    """All that forces a switch: what its field takes but null."""
    kinds = [kind for kind in get_args(Parallelism.model_fields[field].annotation) if kind is not type(None)]
    choices = [choice for kind in kinds for choice in (get_args(kind) if get_origin(kind) is Literal else ())]
    return st.sampled_from(choices) if choices else st.booleans() if bool in kinds else st.integers(1, 10**9)


@given(
    st.sampled_from([DENSE, GPUS, MIXTURE]),
    VERSIONS,
    MACHINES,
    st.fixed_dictionaries({}, optional={field: values_of(field) for field in FIELDS}),
    st.sampled_from([PLAIN, PIPELINE, INTERLEAVED]),
    st.sampled_from(["bf16", "fp32"]),
    st.sampled_from([None, "te", "torch"]),
    st.sampled_from([None, "optim_grads_params"]),
)
def test_what_is_asked_for_is_done_or_refused_by_its_own_name_on_every_machine(
    config: RunConfig,
    megatron: Any,
    machine: Machine | None,
    asked: dict[str, Any],
    stages: dict[str, Any],
    precision: str,
    linear: str | None,
    strategy: str | None,
) -> None:
    config = with_kernels(with_training(config, precision=precision), linear=linear)
    config = with_layout(config, **stages, **asked, data_parallel_sharding_strategy=strategy)
    try:
        found = chosen(config, megatron, machine)
    except UserError as error:
        assert str(error.path).removeprefix("parallelism.") in asked
        return
    assert asked.items() <= found.items()
    # what is chosen works, whoever has chosen it
    if found.get("moe_token_dispatcher_type") == "flex":
        assert conflicts.of_flex(config, machine) is None
    if found.get("tp_comm_overlap"):
        assert conflicts.of_tensor_overlap(config) is None
    if found.get("cuda_graph_impl") == "local":
        assert conflicts.of_graphs(config) is None


def test_every_switch_is_a_field_and_a_row_of_the_table() -> None:
    table = (ROOT / "docs" / "megatron.md").read_text().split("\n## Switches\n")[1].split("\n## ")[0]
    rows = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert {*FIELDS, CONNECTIONS} <= rows


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


def test_deep_ep_is_taken_where_it_is_and_experts_are_on_several_nodes() -> None:
    name = "moe_token_dispatcher_type"
    whole: dict[str, Any] = {"tensor_model_parallel_size": 1}
    assert MIXTURE.resources.devices_per_node == 4
    on_one = chosen(MIXTURE, machine=HOPPER, **whole, expert_model_parallel_size=4)
    on_two: dict[str, Any] = {"machine": HOPPER, **whole, "expert_model_parallel_size": 8}
    assert on_one[name] == "alltoall"
    assert chosen(MIXTURE, **on_two)[name] == "flex"
    assert chosen(MIXTURE, **on_two, moe_token_dispatcher_type="alltoall")[name] == "alltoall"
    for machine in (None, AMPERE, NO_DEEP_EP):
        assert chosen(MIXTURE, **{**on_two, "machine": machine})[name] == "alltoall"
    three = MIXTURE.model_copy(update={"resources": MIXTURE.resources.model_copy(update={"nodes": 3})})
    twelve: dict[str, Any] = {"tensor_model_parallel_size": 4, "expert_model_parallel_size": 3}
    assert chosen(three, machine=HOPPER, **twelve)[name] == "alltoall"  # DeepEP has no buffers for 12 ranks


@pytest.mark.parametrize(
    ("machine", "precision", "facts"),
    [(NO_DEEP_EP, "bf16", ["DeepEP"]), (AMPERE, "bf16", ["9.0", "8.0"]), (HOPPER, "fp32", ["bf16"])],
)
def test_deep_ep_is_refused_where_it_cannot_run(machine: Machine, precision: str, facts: list[str]) -> None:
    config = with_training(MIXTURE, precision=precision)
    fields: dict[str, Any] = dict(expert_model_parallel_size=2, moe_token_dispatcher_type="flex")
    with refused("parallelism.moe_token_dispatcher_type", *facts, value="flex", use="null"):
        chosen(config, machine=machine, **fields)
    assert chosen(MIXTURE, machine=HOPPER, **fields)["moe_token_dispatcher_type"] == "flex"


def test_user_buffers_are_told_of_where_transformer_engine_has_the_layers() -> None:
    name, te = "tp_comm_overlap", with_kernels(GPUS, linear="te")
    assert chosen(te)[name] is False
    assert chosen(te, tp_comm_overlap=True)[name] is True
    assert chosen(GPUS, tp_comm_overlap=True)[name] is True  # until the machine is known
    assert name not in chosen(GPUS)
    assert name not in chosen(with_kernels(GPUS, linear="torch"))
    assert name not in chosen(te, sequence_parallel=False)
    with refused(f"parallelism.{name}", "kernels.linear=te", value=True, use="null"):
        chosen(with_kernels(GPUS, linear="torch"), tp_comm_overlap=True)


@pytest.mark.parametrize(
    ("training", "layout", "facts"),
    [
        ({"precision": "fp32"}, {}, ["bf16"]),
        ({}, {"tensor_model_parallel_size": 8}, [8, 4]),
        ({}, {"data_parallel_sharding_strategy": "optim_grads"}, ["CUDA_DEVICE_MAX_CONNECTIONS"]),
        ({"fp8": "hybrid", "fp8_recipe": "blockwise"}, {}, ["blockwise"]),
        ({"fp8": "hybrid", "fp8_recipe": "mxfp8"}, {"context_parallel_size": 128}, [128, 16, 8192]),
    ],
)
def test_user_buffers_are_refused_where_they_cannot_be(
    training: dict[str, Any], layout: dict[str, Any], facts: list[Any]
) -> None:
    many = GPUS.model_copy(update={"resources": GPUS.resources.model_copy(update={"nodes": 128})})
    config = with_training(with_kernels(many, linear="te"), **training)
    with refused("parallelism.tp_comm_overlap", *facts, value=True, use="null"):
        chosen(config, **layout, tp_comm_overlap=True)
    assert chosen(config, **layout, tp_comm_overlap=False)["tp_comm_overlap"] is False


@pytest.mark.parametrize(
    ("training", "layout", "facts"),
    [
        ({"precision": "fp32"}, {}, ["bf16"]),
        ({"fp8": "hybrid"}, {}, ["training.fp8"]),
        ({"recompute": "full"}, {}, ["training.recompute=full"]),
        ({}, {"data_parallel_sharding_strategy": "optim_grads"}, ["data_parallel_sharding_strategy"]),
        ({}, PIPELINE, ["pipeline_model_parallel_size=2"]),
    ],
)
def test_graphs_are_refused_where_a_recording_would_be_wrong(
    training: dict[str, Any], layout: dict[str, Any], facts: list[Any]
) -> None:
    assert chosen(GPUS)["cuda_graph_impl"] == "none"
    assert chosen(GPUS, cuda_graph_impl="local")["cuda_graph_impl"] == "local"
    with refused("parallelism.cuda_graph_impl", *facts, value="local", use="null"):
        chosen(with_training(GPUS, **training), **layout, cuda_graph_impl="local")


@pytest.mark.parametrize(
    "words",
    [
        ["model.hidden_dropout=0.1"],
        ["model.attention_dropout=0.1"],
        ["data.reset_attention_mask=true"],
        ["model.num_moe_experts=4", "model.add_bias_linear=false"],
    ],
)
def test_graphs_are_refused_for_layers_that_are_never_the_same(words: list[str]) -> None:
    run = ["model=demo", "data=stdlib", "cluster=local_gpu", "training.precision=bf16"]
    run += ["parallelism.cuda_graph_impl=local"]
    make_plan(compose(run))
    with refused("parallelism.cuda_graph_impl", words[0], value="local", use="null"):
        make_plan(compose([*run, *words]))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("overlap_p2p_comm", True, []),
        ("overlap_p2p_comm", False, ["parallelism.pipeline_model_parallel_size=2"]),
        ("deallocate_pipeline_outputs", True, []),
        ("bucket_size", 1000, []),
        ("pad_buckets_for_high_nccl_busbw", True, []),
        ("moe_token_dispatcher_type", "allgather", []),
        ("moe_token_dispatcher_type", "flex", []),
        ("tp_comm_overlap", True, []),
        ("cuda_graph_impl", "local", []),
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
