"""What only a GPU runs of the benchmark, up to the device's door: fake tensors, which have no numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.bench.gpu import exact
from slipway.bench.gpu.device import Here
from slipway.bench.gpu.shapes import SHAPES, fit, overrides
from slipway.bench.kernel_table import CASES
from slipway.kernels.probe import probe_triton

pytestmark = pytest.mark.slow  # `make test-py312` runs it

# shapes that follow from values, which fake tensors lack
BY_NUMBERS = ("attention_documents torch", "experts torch", "experts unfused")
TESTS = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from types import SimpleNamespace
import fake_gpu
import fake_device
import torch
from torch.utils._pytree import tree_leaves
from slipway.bench.gpu import device, trainers
from slipway.bench.kernel_cases import Scene
from slipway.bench.kernel_table import CASES, of_operator, trouble
from slipway.bench.options import configuration
from slipway.kernels.probe import machine
from slipway.engine.megatron import groups
from slipway.kernels import attention

asked = json.loads(sys.argv[1])
torch.cuda.get_device_properties = lambda number: SimpleNamespace(
    name="GPU X", total_memory=80 * 2**30, major=9, minor=0
)
torch.cuda.max_memory_allocated = lambda *_: 3 * 2**30
groups._join = fake_gpu._join
attention._lower_right = fake_gpu._mask
torch.distributed.all_gather_object = fake_gpu._say_the_same
from pathlib import Path
config = configuration([], asked["words"], Path(asked["folder"]))
found = {"here": device._look()}
with fake_device.fake_tensors():
    plain = trainers.plain_trainer(config)
    found["plain"] = [str(plain.device), plain.kernels]
    found["unfused attention"] = torch.backends.cuda.math_sdp_enabled()
    found["memory"] = trainers.memory_gib(plain)
    ours = trainers.slipway_trainer(config)
    found["ours"] = [str(ours.device), sorted(ours.kernels)]
    found["cases"] = {}
    config = configuration([], asked["odd"], Path(asked["folder"]))
    for case in CASES:
        here = of_operator(config, case.operator)
        if trouble(case, machine("cuda"), here) or case.operator == "adamw":
            continue
        name = f"{case.operator} {case.backend}"
        try:
            seen = case.build(Scene(here, ours.device, torch.bfloat16), case.backend)()
        except Exception as error:
            found["cases"][name] = [type(error).__name__]
            continue
        tensors = tree_leaves((seen.output, seen.gradients) if hasattr(seen, "output") else seen)
        found["cases"][name] = sorted({str(x.device) for x in tensors if x is not None})
Path(asked["answer"]).write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both trainers' first step at Llama 3 8B's shape, with the layers that fit beside each other into 80 GiB."""
    folder = tmp_path_factory.mktemp("fake")
    here, shape = Here("cuda", "GPU X", 1, 80.0, None, {}), SHAPES["llama-2048"]
    fits = fit(shape, here, folder)
    assert fits is not None and fits.beside
    answer = folder / "answer.json"
    odd = ["model=demo", "cluster=local_gpu", *exact.COMMON, *exact.SIZES["odd"], "training.precision=bf16"]
    odd.append("training.global_batch_size=3")
    asked = {
        "words": overrides(shape, here, fits.layers),
        "odd": odd,
        "folder": str(folder),
        "answer": str(answer),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(answer.read_text())


def test_the_devices_are_asked(found: dict[str, Any]) -> None:
    assert found["here"] == {"kind": "cuda", "name": "GPU X", "count": 1, "memory_gib": 80.0}


def test_the_plain_model_steps_on_the_gpu_and_computes_no_whole_scores(found: dict[str, Any]) -> None:
    assert found["plain"] == ["cuda:0", {}]
    assert found["unfused attention"] is False
    assert found["memory"] == 3.0


def test_slipway_steps_beside_it(found: dict[str, Any]) -> None:
    where, operators = found["ours"]
    assert where.startswith("cuda") and {"attention", "linear", "norm", "optimizer"} <= set(operators)


def test_every_case_of_torch_is_built_and_runs_on_the_gpu(found: dict[str, Any]) -> None:
    """But for the numbers: where each result lies, with backends that need no package of their own."""
    wanted = {f"{case.operator} {case.backend}" for case in CASES if case.backend in ("torch", "unfused")}
    wanted -= {"adamw torch", "adamw unfused"}  # its step needs the numbers of the weights
    if not probe_triton().usable:
        wanted -= {"swiglu torch", "rotary torch"}  # torch's compiler writes Triton
    assert wanted <= found["cases"].keys()
    elsewhere = {name: where for name, where in found["cases"].items() if where != ["cuda:0"]}
    assert elsewhere == dict.fromkeys(BY_NUMBERS, ["DynamicOutputShapeException"])
