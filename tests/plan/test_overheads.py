"""What is counted besides the model: libraries, buffers of switches that are on, fragmentation."""

import pytest

from presets import large
from slipway.config.compose import compose
from slipway.plan import make_plan
from slipway.plan import overheads as of
from slipway.plan.layout import Grid
from slipway.plan.memory import GIB, StageMemory

LLAMA = [*large("llama3_8b"), "parallelism=tp2", "training.precision=bf16", "kernels.linear=te"]
MIXTURE = [*large("mixtral_8x7b", 2), "parallelism=tp2", "parallelism.expert_model_parallel_size=4"]
ONE_CARD = ["parallelism=single", "resources.devices_per_node=1", "training.micro_batch_size=1"]


def stage(*words: str) -> StageMemory:
    return make_plan(compose(list(words))).memory.stages[0]


def test_on_cpus_tensors_are_all() -> None:
    for found in make_plan(compose(["experiment=demo"])).memory.stages:
        assert (found.framework, found.fragmentation) == (0, 0)
        assert found.allocated == found.total


@pytest.mark.parametrize(
    ("grid", "bytes_"),
    [
        (Grid(), 0),
        (Grid(dp=2), 2 * of.OF_TWO),  # the replicas, and all ranks
        (Grid(tp=4, dp=2), 2 * of.COMMUNICATOR + of.OF_TWO),
        (Grid(tp=2, pp=4, dp=2), 2 * of.COMMUNICATOR + 2 * of.OF_TWO),
        (Grid(dp=4, ep=2), 2 * of.COMMUNICATOR + 2 * of.OF_TWO + of.PEER),
        (Grid(dp=64, ep=32), 3 * of.COMMUNICATOR + of.OF_TWO + 7 * of.PEER),
    ],
    ids=str,
)
def test_each_group_of_several_ranks_has_buffers(grid: Grid, bytes_: int) -> None:
    assert of.of_framework(compose(LLAMA), grid) == of.CONTEXT + bytes_


def test_tensor_parallel_exchanges_beside_products_take_user_buffers() -> None:
    tokens, hidden = 8192, 4096
    off, on = (
        stage(*LLAMA, "parallelism.sequence_parallel=true", f"parallelism.tp_comm_overlap={value}")
        for value in ("false", "true")
    )
    # each holds what all ranks of a group gather, in bf16
    assert on.buffers - off.buffers == 10 * 2 * tokens * hidden


def test_deep_ep_has_buffers_for_its_peers() -> None:
    few, more = (
        stage(*MIXTURE, "parallelism.moe_token_dispatcher_type=flex", f"model.hidden_size={hidden}")
        for hidden in (4096, 8192)
    )
    # 10 channels for each of 8 ranks have room for 256 tokens
    assert more.buffers - few.buffers == 10 * 8 * 256 * 2 * 4096
    assert few.buffers > stage(*MIXTURE).buffers


def test_recorded_layers_read_and_write_in_places_of_their_own() -> None:
    plain = [*large("gpt3_1_3b"), *ONE_CARD, "training.recompute=none"]
    off, on = stage(*plain), stage(*plain, "parallelism.cuda_graph_impl=local")
    assert on.buffers - off.buffers == 24 * 2 * (2 * 2048 * 2048)


def test_stages_receive_into_buffers() -> None:
    one, two = (
        stage(*large("llama3_8b"), "parallelism=single", f"parallelism.pipeline_model_parallel_size={pp}")
        for pp in (1, 2)
    )
    assert two.buffers - one.buffers == 2 * (2 * 8192 * 4096)


def test_a_full_device_has_no_room_for_blocks_that_nobody_uses() -> None:
    words = [*large("llama3_8b"), "parallelism=tp2"]
    roomy = stage(*words, "cluster.device.memory_gib=1000")
    passing = roomy.activations + roomy.head
    assert roomy.fragmentation == int(of.FRAGMENTED * passing)
    needed = (roomy.total - roomy.fragmentation) / GIB
    tight, full = (
        stage(*words, f"cluster.device.memory_gib={needed + room * passing / GIB}") for room in (0.1, 0.01)
    )
    assert tight.total <= (needed + 0.1 * passing / GIB) * GIB < roomy.total
    assert full.fragmentation == int(of.AT_LEAST * passing)
    assert make_plan(compose([*words, f"cluster.device.memory_gib={needed}"])).memory.fits is False


def test_the_memory_follows_what_is_chosen_for_the_machine() -> None:
    plan = make_plan(compose([*LLAMA, "parallelism.sequence_parallel=true"]))
    buffered = plan.with_switches({"tp_comm_overlap": True})
    assert buffered.memory.stages[0].buffers > plan.memory.stages[0].buffers
    whole = plan.with_kernels({"cross_entropy": "unfused"})
    assert whole.memory.stages[0].head > plan.memory.stages[0].head
    assert whole.memory.largest == max(stage.total for stage in whole.memory.stages)
