from itertools import product

import pytest

from slipway.metrics.step_time import (
    KINDS,
    OPTIMIZER_RANGE,
    WINDOW_RANGE,
    Event,
    breakdown,
    device_kind,
    read_trace,
)

MAIN, OTHER, STREAM = 1, 2, 7


def op(name: str, start: float, end: float, thread: int = MAIN) -> Event:
    return Event(name, "cpu_op", thread, start, end)


def mark(name: str, start: float, end: float, thread: int = MAIN) -> Event:
    return Event(name, "user_annotation", thread, start, end)


def kernel(name: str, start: float, end: float, stream: int = STREAM) -> Event:
    return Event(name, "kernel", stream, start, end)


def seconds(*events: Event) -> dict[str, object]:
    """The breakdown of ten seconds, without zeros."""
    found = breakdown([mark(WINDOW_RANGE, 0, 10), *events])
    assert set(found) == set(KINDS)
    assert sum(found.values()) == pytest.approx(10)
    return {kind: pytest.approx(value) for kind, value in found.items() if value}


def test_an_operator_inside_another_is_counted_once() -> None:
    found = seconds(
        op("aten::linear", 1, 5), op("aten::addmm", 2, 4), op("aten::copy_", 2.5, 3), op("aten::gelu", 6, 7)
    )
    assert found == {"matmul": 4, "other kernels": 1, "waiting": 5}


def test_what_calls_operators_is_no_operator() -> None:
    found = seconds(
        op("autograd::engine::evaluate_function: AddmmBackward0", 1, 5),
        op("AddmmBackward0", 1, 5),
        op("aten::mm", 2, 4),
    )
    assert found == {"matmul": 2, "waiting": 8}


def test_attention_keeps_what_is_inside() -> None:
    found = seconds(
        op("aten::scaled_dot_product_attention", 0, 3),
        op("aten::bmm", 1, 2),
        op("ScaledDotProductFlashAttentionForCpuBackward0", 5, 8),
        op("aten::_scaled_dot_product_flash_attention_for_cpu_backward", 6, 8),
    )
    assert found == {"attention": 5, "waiting": 5}


def test_a_collective_counts_where_nothing_is_computed_beside_it() -> None:
    found = seconds(
        op("aten::mm", 0, 4),
        mark("gloo:all_reduce", 3, 6, OTHER),
        op("aten::add_", 5, 5.5, OTHER),  # gloo's own sum: part of the collective
        op("c10d::allreduce_", 7, 8),
    )
    assert found == {"matmul": 4, "communication": 3, "waiting": 3}


def test_the_pipelines_neighbour_is_waited_for() -> None:
    assert seconds(mark("gloo:recv", 1, 9), op("aten::mm", 4, 6)) == {"matmul": 2, "waiting": 8}


def test_the_optimizers_collectives_are_communication() -> None:
    found = seconds(
        mark(OPTIMIZER_RANGE, 1, 9),
        op("aten::_fused_adamw_", 2, 4),
        op("aten::mm", 4, 5),
        op("c10d::allgather_into_tensor_coalesced_", 5, 6),
        mark("gloo:all_gather", 6, 8, OTHER),
    )
    assert found == {"optimizer": 3, "communication": 3, "waiting": 4}


def test_the_backward_passes_own_thread_counts() -> None:
    found = seconds(
        op("autograd::engine::evaluate_function: MmBackward0", 1, 3, OTHER), op("aten::mm", 1, 3, OTHER)
    )
    assert found == {"matmul": 2, "waiting": 8}


def test_a_compiled_graph_is_a_kernel() -> None:
    assert seconds(mark("## Call CompiledFxGraph abc ##", 2, 5)) == {"other kernels": 3, "waiting": 7}


def test_only_the_window_counts() -> None:
    found = seconds(op("aten::mm", -5, -1), mark("gloo:broadcast", -1, 2, OTHER), op("aten::mm", 11, 12))
    assert found == {"communication": 2, "waiting": 8}


def test_on_a_gpu_its_kernels_decide() -> None:
    found = seconds(
        op("aten::mm", 0, 10),  # launches, and waits at the end
        kernel("nvjet_hsh_128x256", 0, 3),
        kernel("ncclDevKernel_AllReduce_Sum", 2, 5, STREAM + 1),
        kernel("ncclDevKernel_SendRecv", 5, 6, STREAM + 1),
        kernel("flash_fwd_kernel", 6, 7),
        kernel("elementwise_kernel", 7, 8),
        Event(OPTIMIZER_RANGE, "gpu_user_annotation", STREAM, 8, 9.5),
        kernel("elementwise_kernel", 8, 8.5),
        Event("Memset (Device)", "gpu_memset", STREAM, 9.5, 9.75),
    )
    assert found == {
        "matmul": 3, "communication": 2, "attention": 1, "other kernels": 1.25, "optimizer": 0.5, "waiting": 2.25,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matmul"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm>", "matmul"),
        ("nvjet_tst_256x128_64x4_1x2_h_bz_coopA_TNT", "matmul"),
        ("void cublasLt::splitKreduce_kernel<32, 16>", "matmul"),
        ("Cijk_Ailk_Bljk_BBS_BH_MT128x128", "matmul"),
        ("void flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel", "attention"),
        ("fmha_cutlassF_bf16_aligned_64x128_rf_sm80", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "attention"),
        ("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL", "communication"),
        ("rcclGenericKernel", "communication"),
        ("void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>", "optimizer"),
        ("void at::native::vectorized_layer_norm_kernel", "other kernels"),
        ("triton_poi_fused_add_gelu_0", "other kernels"),
        ("Memcpy DtoD (Device -> Device)", "other kernels"),
    ],
)
def test_device_kernels_by_name(name: str, kind: str) -> None:
    assert device_kind(name) == kind


def test_random_timelines_add_up() -> None:
    names = ["aten::mm", "aten::add", "c10d::allreduce_", "AddBackward0", OPTIMIZER_RANGE]
    events = [
        op(name, start / 3, start / 3 + length)
        for (name, start), length in zip(
            product(names, range(30)), [0.1, 0.9, 0.0, 2.5, 0.3] * 30, strict=True
        )
    ]
    seconds(*events)


def test_a_trace_is_read_in_seconds() -> None:
    trace = {
        "traceEvents": [
            {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "tid": 4, "ts": 2e6, "dur": 5e5, "pid": 1},
            {
                "ph": "X",
                "cat": "Trace",
                "name": "PyTorch Profiler (0)",
                "tid": "PyTorch Profiler",
                "ts": 0,
                "dur": 9,
            },
            {"ph": "M", "name": "process_name"},
        ]
    }
    assert read_trace(trace) == [Event("aten::mm", "cpu_op", 4, 2.0, 2.5)]
