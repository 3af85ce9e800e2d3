"""Slipway's Triton kernels: their numbers by Triton's interpreter, their code for GPUs that are not here."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton", reason="no Triton here: torch's builds for CPU alone bring none")

from triton.backends.compiler import GPUTarget  # noqa: E402  # pyright: ignore[reportMissingImports]
from triton.backends.nvidia.compiler import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    get_ptxas,
)
from triton.compiler import ASTSource  # noqa: E402  # pyright: ignore[reportMissingImports]

from breadth import some  # noqa: E402
from slipway.kernels.sizes import NORM_WIDTH  # noqa: E402
from slipway.kernels.triton import norms, rotary, swiglu  # noqa: E402
from slipway.kernels.triton.operators import warps  # noqa: E402

INTERPRETED = Path(__file__).with_name("interpreted.py")


def test_against_float64() -> None:
    """See interpreted.py."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "passed" in done.stdout and "skipped" not in done.stdout


TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# name: kernel, elements that a program holds at a time, constants
KERNELS: dict[str, tuple[Any, int, dict[str, Any]]] = {
    f"{kind}_{way}_{width}": (kernel, width, {"CENTRED": kind == "LayerNorm", "BLOCK": width})
    for kind, widest in NORM_WIDTH.items()
    for way, kernel in (("forward", norms.forward_kernel), ("backward", norms.backward_kernel))
    for width in (4096, widest)
}
ALONE = {"bias": None, "factor": None, "BLOCK": swiglu.BLOCK}
KERNELS |= {
    "swiglu_forward": (swiglu.forward_kernel, swiglu.BLOCK, ALONE),
    "swiglu_backward": (swiglu.backward_kernel, swiglu.BLOCK, ALONE),
    "swiglu_weighted_backward": (swiglu.backward_kernel, swiglu.BLOCK, {"bias": None, "BLOCK": swiglu.BLOCK}),
    "rotary": (rotary.kernel, 512, {"BACK": False, "HEADS": 4, "HALF": 64, "REST": 0}),
    "rotary_part": (rotary.kernel, 512, {"BACK": True, "HEADS": 4, "HALF": 64, "REST": 64}),
}
FP32 = {"mean", "scale", "weight_parts", "bias_parts", "factor", "grad_factor", "angles"}
NUMBERS = {"width", "count", "each", "batch", "heads", "channels", "half"}
NUMBERS |= {"sequence_stride", "batch_stride", "head_stride", "angle_stride"}
BUILDS = some(
    {f"{name}-{target}": (name, target) for name in KERNELS for target in TARGETS},
    [
        *(f"{name}-{target}" for name in ("RMSNorm_backward_16384", "rotary_part") for target in TARGETS),
        *(f"swiglu_weighted_backward-{target}" for target in TARGETS),
        *("LayerNorm_forward_8192-sm_90", "LayerNorm_backward_8192-sm_90", "swiglu_forward-gfx942"),
    ],
)
NO_MORE_SPILLS = 8  # bytes of a thread's registers that go to memory: RMSNorm's widest on sm_90


def build(name: str, target: GPUTarget) -> Any:
    """A kernel as a launch of large and aligned tensors in bf16 would have it compiled."""
    kernel, block, constants = KERNELS[name]

    def kind(argument: str) -> str:
        if argument in constants:
            return "constexpr"
        if argument in NUMBERS:
            return "i32"
        return "fp32" if argument == "epsilon" else "*fp32" if argument in FP32 else "*bf16"

    signature = {argument: kind(argument) for argument in kernel.arg_names}
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, argument in enumerate(signature)
        if signature[argument] not in ("constexpr", "fp32")
    }
    source = ASTSource(kernel, signature, constants, aligned)
    return triton.compile(source, target=target, options={"num_warps": warps(block, target.warp_size)})


@pytest.mark.parametrize("build_name", BUILDS)
def test_it_compiles_for(build_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the device's own code: registers hold what they should, and no sum depends on who comes first."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    name, target = BUILDS[build_name]
    text = build(name, TARGETS[target]).asm
    amd = target.startswith("gfx")
    assert text["hsaco" if amd else "cubin"][:4] == b"\x7fELF"
    assembly = text["amdgcn" if amd else "ptx"]
    assert not re.search(r"\b(atom|red)\.|global_atomic|flat_atomic", assembly)
    assert (spilled_on_amd if amd else spilled)(assembly, tmp_path) <= NO_MORE_SPILLS


def spilled(ptx: str, folder: Path) -> int:
    """Bytes, as NVIDIA's assembler says."""
    (folder / "kernel.ptx").write_text(ptx)
    architecture = re.search(r"^\.target (\w+)", ptx, re.M)
    assert architecture
    tool = get_ptxas(int(re.sub(r"\D", "", architecture[1]))).path
    words = [tool, "-v", f"--gpu-name={architecture[1]}", "kernel.ptx", "-o", "kernel.cubin"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    (stored,) = re.findall(r"(\d+) bytes spill stores", done.stderr + done.stdout)
    return int(stored)


def spilled_on_amd(assembly: str, folder: Path) -> int:
    """Registers, as the compiler notes."""
    (spilled,) = re.findall(r"\.vgpr_spill_count:\s*(\d+)", assembly)
    return int(spilled)


@pytest.mark.parametrize("name", [name for name in KERNELS if "4096" in name or "swiglu" in name])
def test_rows_of_large_tensors_have_64_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offsets beyond 2^31 elements: a program's number is widened before anything is multiplied by it."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    lines = build(name, TARGETS["gfx942"]).asm["ttir"].splitlines()
    (number,) = [line.split()[0] for line in lines if "tt.get_program_id x" in line]
    uses = [line for line in lines if re.search(rf"{number}\b(?! =)", line)]
    assert uses and all("arith.extsi" in line for line in uses), uses
