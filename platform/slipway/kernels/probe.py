"""Find out which optional packages of fused kernels work here, with one line for each; a broken one is no error.

A package that is installed but cannot be loaded (compiled for another torch, a missing CUDA library) would make
Megatron-core's own import fail. It is hidden before that, so that Megatron-core considers it missing.
"""

import functools
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TRANSFORMER_ENGINE, APEX, TRITON, DEEP_EP = "transformer_engine", "apex", "triton", "deep_ep"
# Its library needs NCCL's, which torch has loaded. Megatron-core imports the two others; without the last, which is
# deprecated, its own import would fail
TE_MODULES = ["torch", "transformer_engine.pytorch", "transformer_engine.pytorch.fp8"]
GRADIENT_KERNEL = "fused_weight_gradient_mlp_cuda"  # built with NVIDIA's apex


@dataclass(frozen=True)
class Package:
    """An optional package, which is usable if trouble is None."""

    name: str
    version: str | None = None
    trouble: str | None = None

    @property
    def usable(self) -> bool:
        """Whether its modules could be imported."""
        return self.trouble is None


@dataclass(frozen=True)
class Machine:
    """The properties of this machine that decide which kernels can be used."""

    cuda: bool
    compute_capability: tuple[int, int] | None
    te: Package
    apex: Package
    gradient_kernel: Package
    triton: Package
    deep_ep: Package = Package(DEEP_EP, trouble="not looked for")
    amd_avx512: bool = field(default=False, kw_only=True)
    """Whether the processor is AMD's and has AVX-512."""


@functools.cache
def machine(kind: str) -> Machine:
    """Return what this machine has for devices of a kind (cpu, cuda); call it before Megatron-core is imported.

    It looks only once, and hides unusable packages from later imports. It does not touch CUDA, so that ranks can still
    be forked.
    """
    if kind == "cpu":  # these packages' kernels are for GPUs: not even looked for
        away = Package("", trouble="needs a GPU")
        return Machine(False, None, away, away, away, away, amd_avx512=_is_amd_with_avx512())
    return Machine(
        cuda=True,
        compute_capability=_compute_capability(),
        te=probe(TRANSFORMER_ENGINE, TE_MODULES),
        apex=probe_apex(),
        gradient_kernel=probe(GRADIENT_KERNEL, [GRADIENT_KERNEL]),
        triton=probe_triton(),
        deep_ep=probe(DEEP_EP, [DEEP_EP]),
    )


def _is_amd_with_avx512() -> bool:
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:  # not Linux
        return False
    return {"AuthenticAMD", "avx512f"} <= words


def _compute_capability() -> tuple[int, int] | None:
    """Return the first GPU's compute capability, from the driver; None: the driver cannot be asked."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        major, minor = asked.stdout.split()[0].split(".")
        return int(major), int(minor)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def probe(name: str, modules: Sequence[str]) -> Package:
    """Import `modules` of a top-level package and return the Package; if one fails, hide it and report the reason."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        return _hidden(name, _line(error))
    if found is None:
        return Package(name, trouble="not installed")
    try:
        for module in modules:
            importlib.import_module(module)
    except Exception as error:  # a broken binary can raise anything
        return _hidden(name, f"installed, but cannot be loaded: {_line(error)}")
    return Package(name, _version(name))


def probe_apex() -> Package:
    """Return the Package of NVIDIA's apex.

    The Python registry's package of that name is a toolkit for Pyramid, and is refused.
    """
    found = importlib.util.find_spec(APEX) if sys.modules.get(APEX, True) is not None else None
    if found is not None:
        folders = [Path(folder) for folder in found.submodule_search_locations or []]
        if not any((folder / "normalization").is_dir() for folder in folders):
            return _hidden(
                APEX,
                "the package installed as apex is not NVIDIA's (the Python registry's apex is another one): "
                "uninstall it, and build NVIDIA's from its source",
            )
    return probe(APEX, ["apex.normalization", "apex.optimizers"])


def probe_triton() -> Package:
    """Return the Package of Triton, which is usable only if what it needs to start a kernel is here.

    torch's compiler uses Triton as well. The driver is not asked.
    """
    found = probe(TRITON, [TRITON])
    trouble = found.trouble or _interpreted() or _no_compiler()
    return replace(found, trouble=trouble)


def _interpreted() -> str | None:
    if os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y"):
        return "TRITON_INTERPRET is set: its kernels would run in Python; unset it"
    return None


def _no_compiler() -> str | None:
    """Return why Triton could not build its driver module; None: it could.

    Triton compiles the module when it first runs, and keeps it in its cache.
    """
    if not os.environ.get("CC") and not any(map(shutil.which, ("gcc", "clang"))):
        return "it needs a C compiler (CC, gcc or clang) to start its kernels, and none is here"
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").is_file():
        return f"it needs Python's C headers to start its kernels: no Python.h in {headers}"
    return None


def _hidden(name: str, trouble: str) -> Package:
    """Hide a package, so that importing it raises ImportError from now on, and return it with the trouble."""
    for loaded in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[loaded]
    sys.modules[name] = None  # type: ignore[assignment]
    return Package(name, _version(name), trouble)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:300]}"
