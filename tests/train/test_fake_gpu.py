"""The GPU path of training without a GPU (see fake_device.py): devices, dtypes, shapes, and what makes it wait.

It shows no numbers, no speed and no memory, and nothing that torch's compiler or a kernel does.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from breadth import some
from slipway.config.compose import compose
from slipway.kernels.probe import probe_triton
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.fp8 import sizes as fp8_sizes
from slipway.plan import switches
from training import SMALL, layout

DRIVE = Path(__file__).parents[1] / "fake_gpu.py"
GPT = [
    "model.position_embedding_type=learned_absolute",
    "model.hidden_dropout=0.1",
    "model.attention_dropout=0.1",
]
LLAMA = [
    "model.activation=swiglu",
    "model.normalization=RMSNorm",
    "model.add_bias_linear=false",
    "model.num_query_groups=2",
    "model.untie_embeddings_and_output_weights=true",
]
# each token goes to all experts: where there are no numbers, none is left out
EXPERTS = [*LLAMA, "model.num_moe_experts=4", "model.moe_router_topk=4"]
EXPERTS += ["parallelism.expert_model_parallel_size=2"]
BASE = [
    *SMALL,
    "cluster=local_gpu",
    "data.tokenizer.kind=byte",
    "model.num_layers=2",
    "validation.steps=1",
    *layout(ranks=8, precision="bf16"),
]


def again(modules: str) -> list[str]:
    return [*layout(recompute="selective"), f"training.recompute_modules=[{modules}]"]


ALONE = [*layout(ranks=1), "training.global_batch_size=2"]
FIRST, LAST = 0, 7  # of eight ranks
OVERLAPS = dict(distopt=True, grad_overlap=True, param_overlap=True)

GRAPHS = "parallelism.cuda_graph_impl=local"

# name: rank, overrides
RUNS: dict[str, tuple[int, list[str]]] = {
    "gpt": (FIRST, [*GPT, *ALONE]),
    "gpt_fp32": (FIRST, [*GPT, *ALONE, *layout(precision="fp32")]),
    "gpt_tp2_sp": (FIRST, [*GPT, *layout(tp=2, sp=True)]),
    "gpt_tp2_sp_last": (LAST, [*GPT, *layout(tp=2, sp=True)]),
    "gpt_pp2_first": (FIRST, [*GPT, *layout(pp=2)]),
    "gpt_pp2_last": (LAST, [*GPT, *layout(pp=2)]),
    "gpt_interleaved_last": (LAST, [*GPT, "model.num_layers=4", *layout(pp=2, vpp=2)]),
    "gpt_recompute_full": (LAST, [*GPT, *layout(tp=2, sp=True, recompute="full")]),
    "gpt_overlaps": (FIRST, [*GPT, *layout(**OVERLAPS)]),
    "gpt_alone_distopt": (FIRST, [*GPT, *ALONE, *layout(distopt=True)]),
    "gpt_zero2": (FIRST, [*GPT, "parallelism=zero2"]),
    "llama": (FIRST, [*LLAMA, *ALONE]),
    "llama_unfused": (FIRST, [*LLAMA, "kernels.linear=unfused", "kernels.cross_entropy=unfused"]),
    "llama_tp2_sp": (LAST, [*LLAMA, *layout(tp=2, sp=True)]),
    "llama_pp2": (LAST, [*LLAMA, *layout(pp=2)]),
    "llama_cp2_first": (FIRST, [*LLAMA, *layout(cp=2)]),
    "llama_cp2_last": (LAST, [*LLAMA, *layout(cp=2)]),
    "llama_documents_cp2": (LAST, [*LLAMA, "data.reset_attention_mask=true", *layout(cp=2)]),
    "gpt_documents_pp2": (FIRST, [*GPT, "data.reset_attention_mask=true", *layout(pp=2)]),
    "llama_tp2_pp2_cp2": (LAST, [*LLAMA, *layout(tp=2, pp=2, cp=2, sp=True)]),
    "llama_recompute_selective": (LAST, [*LLAMA, "kernels=torch", *layout(recompute="selective")]),
    "llama_recompute_mlp": (FIRST, [*LLAMA, *again("norm,mlp"), *layout(tp=2, pp=2, cp=2, sp=True)]),
    "gpt_recompute_activation": (FIRST, [*GPT, *again("activation"), *layout(tp=2)]),
    "llama_zero3_recompute": (FIRST, [*LLAMA, "parallelism=zero3", *again("norm,mlp")]),
    "llama_overlaps": (FIRST, [*LLAMA, *layout(tp=2, **OVERLAPS)]),
    "llama_zero3": (FIRST, [*LLAMA, "parallelism=zero3"]),
    "experts": (FIRST, EXPERTS),
    "experts_recompute_selective": (FIRST, [*EXPERTS, *layout(tp=2, sp=True, recompute="selective")]),
    "experts_recompute_experts": (LAST, [*EXPERTS, *again("norm,experts")]),
    "experts_tp2": (LAST, [*EXPERTS, *layout(tp=2, sp=True, distopt=True)]),
    "llama_graphs": (FIRST, [*LLAMA, GRAPHS, *layout(tp=2, sp=True, **OVERLAPS)]),
    "gpt_interleaved_forced": (
        FIRST,
        [
            *(*GPT, "model.num_layers=4", *layout(pp=2, vpp=2, distopt=True)),
            *("parallelism.overlap_p2p_comm=false", "parallelism.deallocate_pipeline_outputs=false"),
            "parallelism.pad_buckets_for_high_nccl_busbw=false",
        ],
    ),
    "muon_tp2": (LAST, [*LLAMA, "optimizer=muon", *layout(tp=2, sp=True)]),
    "muon_experts_tp2": (FIRST, [*EXPERTS, "optimizer=muon", *layout(tp=2, sp=True)]),
    "experts_forced": (FIRST, [*EXPERTS, "parallelism.moe_token_dispatcher_type=allgather"]),
}
RUNS = some(
    RUNS,
    [
        *("gpt_fp32", "gpt_interleaved_last", "gpt_zero2", "llama_tp2_pp2_cp2", "experts_tp2"),
        "muon_experts_tp2",
    ],
    second=[
        *("gpt_overlaps", "gpt_interleaved_forced", "llama_zero3_recompute", "llama_graphs"),
        *("experts_recompute_experts", "experts_forced"),
        *("gpt_documents_pp2", "llama_unfused", "llama_documents_cp2", "llama_recompute_selective"),
        "llama_recompute_mlp",
    ],
)

CONNECTIONS = "CUDA_DEVICE_MAX_CONNECTIONS"
BOTH = (switches.installed() or (0,)) >= switches.BOTH_FROM  # Megatron-core is right with both
ON_GPUS = {"cuda_graph_impl": "none", CONNECTIONS: "unset"}
PADDED = {"pad_buckets_for_high_nccl_busbw": True}
BUCKETS = {"bucket_size": 40_000_000}  # where gradients are reduced beside the backward pass
ONE_QUEUE = {**ON_GPUS, CONNECTIONS: "1"}
# run: all that is told of its switches, which is what Megatron-core and CUDA were told
SAID: dict[str, dict[str, Any]] = {
    "gpt": ON_GPUS,
    "gpt_fp32": ON_GPUS,
    "gpt_overlaps": {**ON_GPUS, **PADDED, **BUCKETS},
    "gpt_zero2": {**ON_GPUS, **BUCKETS},
    "gpt_documents_pp2": {**ON_GPUS, "deallocate_pipeline_outputs": True},
    "gpt_interleaved_last": {
        **ON_GPUS,
        "overlap_p2p_comm": True,
        "deallocate_pipeline_outputs": BOTH,
    },
    "gpt_interleaved_forced": {
        **ON_GPUS,
        "overlap_p2p_comm": False,
        "deallocate_pipeline_outputs": False,
        "pad_buckets_for_high_nccl_busbw": False,
    },
    "llama_tp2_sp": ONE_QUEUE,
    "llama_cp2_last": ONE_QUEUE,
    "llama_tp2_pp2_cp2": {**ONE_QUEUE, "deallocate_pipeline_outputs": True},
    "llama_zero3": {**ON_GPUS, **BUCKETS},
    "llama_graphs": {**ONE_QUEUE, **PADDED, **BUCKETS, "cuda_graph_impl": "local"},
    "experts": {**ON_GPUS, "moe_token_dispatcher_type": "alltoall"},
    "experts_tp2": {**ONE_QUEUE, **PADDED, "moe_token_dispatcher_type": "alltoall"},
    "experts_forced": {**ON_GPUS, "moe_token_dispatcher_type": "allgather"},
}
# what is refused: overrides, the field
REFUSED: dict[str, tuple[list[str], str]] = {
    "overlap_without_chunks": (
        [*GPT, *layout(pp=2), "parallelism.overlap_p2p_comm=true"],
        "parallelism.overlap_p2p_comm",
    ),
    "release_without_stages": (
        [*GPT, *ALONE, "parallelism.deallocate_pipeline_outputs=true"],
        "parallelism.deallocate_pipeline_outputs",
    ),
    "padding_with_fsdp": (
        [*GPT, "parallelism=zero2", "parallelism.pad_buckets_for_high_nccl_busbw=true"],
        "parallelism.pad_buckets_for_high_nccl_busbw",
    ),
    "dispatch_without_experts": (
        [*LLAMA, *ALONE, "parallelism.moe_token_dispatcher_type=alltoall"],
        "parallelism.moe_token_dispatcher_type",
    ),
    "flex_without_deep_ep": (
        [*EXPERTS, "parallelism.moe_token_dispatcher_type=flex"],
        "parallelism.moe_token_dispatcher_type",
    ),
    "user_buffers_without_te": (
        [*LLAMA, *layout(tp=2, sp=True), "kernels=torch", "parallelism.tp_comm_overlap=true"],
        "parallelism.tp_comm_overlap",
    ),
    "graphs_with_dropout": ([*GPT, *ALONE, GRAPHS], "parallelism.cuda_graph_impl"),
    "graphs_in_fp32": (
        [*LLAMA, *ALONE, *layout(precision="fp32"), GRAPHS],
        "parallelism.cuda_graph_impl",
    ),
    "graphs_with_stages": ([*LLAMA, *layout(pp=2), GRAPHS], "parallelism.cuda_graph_impl"),
}

# where a step may wait for the GPU: one loss, a norm for each optimizer, the number of tokens, who goes to an expert
STEP = "slipway/train/step.py"
NORM = "megatron/core/optimizer/clip_grads.py"
TOKENS = "megatron/core/distributed/finalize_model_grads.py"
DISPATCH = "megatron/core/transformer/moe/"
# what the CPU does itself: samples and their documents, numbers for the device, the experts' counts
ON_CPU = {"slipway/data/collate.py", "slipway/data/upload.py", "slipway/data/reader.py", STEP}
ON_CPU |= {"slipway/kernels/experts.py", "slipway/kernels/spans.py"}
# what is made of the experts' loads, once a step, after they have come with the loss
ON_CPU |= {"slipway/models/gpt/routing.py", "slipway/train/load.py"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each run held, in one process."""
    result = tmp_path_factory.mktemp("fake") / "found.json"
    done = subprocess.run(
        [sys.executable, DRIVE, result],
        input=json.dumps(
            {name: (rank, [*BASE, *overrides]) for name, (rank, overrides) in RUNS.items()}
            | {name: (FIRST, [*BASE, *overrides]) for name, (overrides, _) in REFUSED.items()}
        ),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


@pytest.mark.parametrize("name", RUNS)
def test_a_step_on_the_gpu(found: dict[str, Any], name: str) -> None:
    run = found[name]
    assert "error" not in run, run["error"]
    bf16, fp32 = ["cuda:0 bfloat16"], ["cuda:0 float32"]
    momentum = ("momentum_buffer",) if "muon" in name else ()
    everything = dict.fromkeys(("main_grad", "main", "exp_avg", "exp_avg_sq", *momentum), fp32)
    assert set(run["held"].pop("snapshot", [])) <= {
        "cpu bfloat16",
        "cpu float32",
    }  # none: another rank's task
    assert run["held"] == {"parameter": fp32 if "fp32" in name else bf16, **everything}


@pytest.mark.parametrize("name", RUNS)
def test_it_waits_no_more_than_it_must(found: dict[str, Any], name: str) -> None:
    waits = {file: times for file, times in found[name]["waits"].items() if not file.startswith(DISPATCH)}
    assert waits.pop(STEP) == 1
    assert waits.pop(NORM) <= (2 if "experts" in name else 1)
    assert set(waits) <= {TOKENS}


@pytest.mark.parametrize("name", RUNS)
def test_nothing_else_runs_on_the_cpu(found: dict[str, Any], name: str) -> None:
    assert {file for file in found[name]["on_cpu"] if file.startswith("slipway/")} <= ON_CPU


@pytest.mark.parametrize("name", RUNS)
def test_batches_are_copied_from_pinned_memory_beside_the_step(found: dict[str, Any], name: str) -> None:
    assert {file for file in found[name]["held_up"] if file.startswith("slipway/data/")} == set()


@pytest.mark.parametrize("name", RUNS)
def test_no_weight_is_ever_on_the_cpu(found: dict[str, Any], name: str) -> None:
    weights = (
        "slipway/engine/",
        "slipway/models/",
        "slipway/kernels/",
        "megatron/core/tensor_parallel/layers",
    )
    assert {file for file in found[name]["set_up_on_cpu"] if file.startswith(weights)} == set()


@pytest.mark.parametrize("name", RUNS)
def test_the_plan_knows_the_sizes_of_fp8_products(found: dict[str, Any], name: str) -> None:
    """It has them without torch; these are those of the modules that were built."""
    config = compose([*BASE, *RUNS[name][1]])
    *widths, _ = (size.number for size in fp8_sizes(config))
    gated = {2 * widths[-1]} if gpt_of(config).activation == "swiglu" else set()
    assert set(found[name]["widths"]) <= {*widths, *gated}
    assert found[name]["widths"] or config.parallelism.data_parallel_sharding_strategy


@pytest.mark.parametrize("name", RUNS)
def test_the_switches_are_set_as_is_told(found: dict[str, Any], name: str) -> None:
    said, told = found[name]["said"], found[name]["switches"]
    assert said.items() <= told.items()
    assert switches.values(compose([*BASE, *RUNS[name][1]])).items() <= said.items()
    assert found[name]["recorded"] == (["fwd", "fwd", "bwd", "bwd"] if "graphs" in name else [])


@pytest.mark.parametrize("name", [name for name in SAID if name in RUNS])
def test_each_layout_has_its_switches(found: dict[str, Any], name: str) -> None:
    assert found[name]["said"] == SAID[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_a_line(found: dict[str, Any], name: str) -> None:
    run = found[name]
    assert "refused" in run, run.get("error", "it trained")
    assert run["refused"]["path"] == REFUSED[name][1]
    assert len(run["line"].splitlines()) == 1


@pytest.mark.parametrize("name", ["gpt_interleaved_last", "llama_tp2_pp2_cp2", "experts_tp2"])
def test_tritons_kernels_are_called_where_there_is_triton(found: dict[str, Any], name: str) -> None:
    if trouble := probe_triton().trouble:
        pytest.skip(f"Triton: {trouble}")
    expected = {"norm", "norm_backward"}
    if "gpt" not in name:
        expected |= {"swiglu", "swiglu_backward", "rotary"}
    assert set(found[name]["own"]) == expected
    assert found[name]["kernels"]["activation"] == ("unfused" if "gpt" in name else "triton")
