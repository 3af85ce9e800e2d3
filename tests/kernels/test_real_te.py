"""The real Transformer Engine, where its extension is (tests/build-transformer-engine.sh): up to its first kernel.

It shows that the probe finds it, that the provider's modules hold what those of the column torch hold, and that the
extension takes the arguments of their calls. It shows no number: no kernel runs.
"""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from training import SMALL, layout

DRIVE = Path(__file__).parents[1] / "real_te.py"
try:
    version("transformer_engine_torch")
except PackageNotFoundError:
    pytest.skip("Transformer Engine's extension is not installed", allow_module_level=True)

BASE = [*SMALL, "cluster=local_gpu", "data.tokenizer.kind=byte", *layout(ranks=8, precision="bf16")]
LLAMA = [
    *("model.activation=swiglu", "model.normalization=RMSNorm", "model.add_bias_linear=false"),
    *("model.num_query_groups=2", "model.untie_embeddings_and_output_weights=true"),
]
EXPERTS = [*LLAMA, "model.num_moe_experts=4", "model.moe_router_topk=2"]
EXPERTS += ["parallelism.expert_model_parallel_size=2"]
TP2 = layout(tp=2, sp=True, distopt=True)
HOPPER = (9, 0)
OTHERS = {"grad_accumulation": "torch", "cross_entropy": "torch"}  # TE has none, and torch's comes first

# name: compute capability, overrides
RUNS: dict[str, tuple[tuple[int, int], list[str]]] = {
    "gpt": (HOPPER, []),
    "gpt_fp32": (HOPPER, layout(precision="fp32")),
    "llama_tp2": (HOPPER, [*LLAMA, *TP2]),
    "llama_cp2": (HOPPER, [*LLAMA, *layout(cp=2)]),
    "experts": (HOPPER, EXPERTS),
    "llama_delayed": (HOPPER, [*LLAMA, "training.fp8=hybrid", "training.fp8_recipe=delayed"]),
    "llama_tensorwise": (HOPPER, [*LLAMA, *TP2, "training.fp8=e4m3", "training.fp8_recipe=tensorwise"]),
    "llama_blockwise": (HOPPER, [*LLAMA, "training.fp8=e4m3", "training.fp8_recipe=blockwise"]),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = tmp_path_factory.mktemp("te") / "found.json"
    runs = {name: (capability, [*BASE, *words]) for name, (capability, words) in RUNS.items()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", DRIVE, result],
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


def test_the_probe_finds_it_in_a_process_that_has_imported_nothing() -> None:
    program = "from slipway.kernels.probe import *; print(probe(TRANSFORMER_ENGINE, TE_MODULES).trouble)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["None"], done.stderr


@pytest.mark.parametrize("name", RUNS)
def test_its_modules_hold_what_those_of_torch_hold(found: dict[str, Any], name: str) -> None:
    run = found[name]
    assert "error" not in run, run["error"]
    fp32 = {"attention": "torch", "moe": "torch"} if "fp32" in name else {}  # it is fused in bf16 only
    assert run["kernels"] == {**dict.fromkeys(run["kernels"], "te"), **OTHERS, **fp32}
    assert len(run["held"]) > 10
    assert run["held"] == run["others"]


@pytest.mark.parametrize("name", RUNS)
def test_its_extension_takes_the_arguments(found: dict[str, Any], name: str) -> None:
    norm = "layernorm_fwd" if "gpt" in name else "rmsnorm_fwd"
    product = "quantize" if any("fp8" in word for word in RUNS[name][1]) else "generic_gemm"
    for module, end in found[name]["ends"].items():
        expected = norm if "norm" in module else "multi_tensor_adam" if module == "optimizer" else product
        assert end.split(": ")[0] == expected, f"{module}: {end}"
    assert len(found[name]["ends"]) >= 5


def test_user_buffers_are_asked_for_as_it_wants_them() -> None:
    program = """
import inspect, torch
from slipway.engine.megatron import user_buffers
base = user_buffers._base()
for fp8 in (False, True):
    inspect.signature(base.initialize_ub).bind(
        shape=[8, 8], tp_size=2, dtype=torch.bfloat16, ub_cfgs={}, bootstrap_backend=user_buffers.BOOTSTRAP,
        **user_buffers._precision(base, fp8))
user_buffers.close_them()
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
