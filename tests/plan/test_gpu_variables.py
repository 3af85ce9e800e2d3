"""Variables of CUDA and NCCL: what a layout asks for, what the user's value does to it, what is told."""

import pytest

from refusals import refused
from slipway.config.schema import Parallelism
from slipway.plan.gpu_variables import (
    CONNECTIONS,
    check_graph_variables,
    connections_switch,
    device_connections,
)

HOPPER, BLACKWELL = (9, 0), (10, 0)
ALONE = Parallelism()
TP2, CP2 = Parallelism(tensor_model_parallel_size=2), Parallelism(context_parallel_size=2)
HIDDEN = TP2.model_copy(update={"tp_comm_overlap": True})
PP2 = Parallelism(pipeline_model_parallel_size=2)
ZERO3 = Parallelism(data_parallel_sharding_strategy="optim_grads_params", tensor_model_parallel_size=2)
GRAPHS = Parallelism(cuda_graph_impl="local")
GROWING = {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512,expandable_segments:True"}


def test_tensor_and_context_parallel_ranks_have_one_queue_until_blackwell() -> None:
    assert [device_connections(layout, HOPPER, None) for layout in (TP2, CP2, HIDDEN)] == ["1", "1", "1"]
    assert device_connections(TP2, None, None) == "1"
    assert device_connections(TP2, BLACKWELL, None) is None
    assert device_connections(PP2, HOPPER, None) is None


def test_what_the_user_has_said_of_queues_stays_or_is_refused() -> None:
    assert device_connections(TP2, HOPPER, "8") is None
    assert [device_connections(ZERO3, HOPPER, found) for found in (None, "8")] == [None, None]
    with refused(CONNECTIONS, 1, "optim_grads_params"):
        device_connections(ZERO3, HOPPER, "1")


def test_user_buffers_need_one_queue_until_blackwell() -> None:
    assert device_connections(HIDDEN, HOPPER, "1") is None
    assert device_connections(HIDDEN, BLACKWELL, "8") is None
    with refused(CONNECTIONS, 8, use="tp_comm_overlap=false"):
        device_connections(HIDDEN, HOPPER, "8")


@pytest.mark.parametrize("layout", [ALONE, TP2, CP2, PP2, HIDDEN, ZERO3, GRAPHS])
@pytest.mark.parametrize("capability", [None, (8, 0), HOPPER, BLACKWELL])
def test_the_record_says_what_the_ranks_get(layout: Parallelism, capability: tuple[int, int] | None) -> None:
    told = connections_switch(layout, capability, None)
    assert told.value == (device_connections(layout, capability, None) or "unset")
    assert connections_switch(layout, capability, "4")[:2] == (CONNECTIONS, "4")
    assert told.why


def test_recorded_transfers_need_memory_that_stays() -> None:
    for layout, capability, environment in (
        (ALONE, HOPPER, GROWING),
        (GRAPHS, HOPPER, {}),
        (GRAPHS, BLACKWELL, GROWING),
        (GRAPHS, HOPPER, {**GROWING, "NCCL_GRAPH_REGISTER": "0"}),
    ):
        check_graph_variables(layout, capability, environment)
    with refused("NCCL_GRAPH_REGISTER", value=None, use="0"):
        check_graph_variables(GRAPHS, HOPPER, GROWING)
