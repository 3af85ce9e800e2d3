"""The checks of image, driver and packages against each other.

Versions are read from files: nothing heavy is imported.
"""

import importlib.util
import json
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from slipway.doctor.finding import Finding, judged, skipped
from slipway.doctor.here import IN_JOB, Here

PACKAGES = ("slipway", "torch", "megatron-core")

# The oldest driver for each major version of CUDA: release notes of the CUDA toolkit, "CUDA Driver", table of
# minimum versions for minor version compatibility (Linux).
OLDEST_DRIVER = {11: (450, 80), 12: (525, 60), 13: (580, 65)}
_DRIVER = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+)\.(\d+)(?:\.(\d+))?")
_ASSIGNED = re.compile(r"^(cuda|hip)\b[^=\n]*=\s*['\"]([\d.]+)", re.MULTILINE)


def torch_toolkits(folder: Path | None = None) -> dict[str, str]:
    """Return {"cuda": "13.0"} or {"hip": "7.2"} from the installed torch's version.py; empty for CPU builds.

    Empty, too, if torch is not installed.
    """
    if folder is None:
        found = importlib.util.find_spec("torch")
        if found is None or not found.origin:
            return {}
        folder = Path(found.origin).parent
    try:
        return dict(_ASSIGNED.findall((folder / "version.py").read_text()))
    except OSError:
        return {}


def driver_version(text: str) -> tuple[int, int] | None:
    """Return (580, 65) from the text of /proc/driver/nvidia/version; None if it names no version."""
    found = _DRIVER.search(text)
    return (int(found[1]), int(found[2])) if found else None


def driver(here: Here, toolkits: dict[str, str] | None = None) -> Finding:
    """Return whether the driver fits the CUDA (or ROCm) that torch was built with.

    toolkits: None: the installed torch's.
    """
    if here.config.cluster.device.kind == "cpu":
        return skipped("driver", "the profile's devices are CPUs")
    toolkits = torch_toolkits() if toolkits is None else toolkits
    if "hip" in toolkits:
        return _rocm(here, toolkits["hip"])
    text = here.read("/proc/driver/nvidia/version")
    if text is None and not here.on_node:
        return skipped("driver", IN_JOB)
    if "cuda" not in toolkits:
        return skipped("driver", "torch here is built for CPU, or missing: ask inside the image")
    major = int(toolkits["cuda"].split(".")[0])
    oldest = OLDEST_DRIVER.get(major, max(OLDEST_DRIVER.values()))
    expected = f"{_dotted(oldest)} or newer, for CUDA {toolkits['cuda']}"
    found = driver_version(text) if text else None
    if found is None:
        advice = "load NVIDIA's driver, or start the container with --nv; take this node out until then"
        return Finding("driver", "fault", "no /proc/driver/nvidia/version", expected, advice)
    if found >= oldest:
        return Finding("driver", "ok", f"driver {_dotted(found)}", expected)
    compat = _compat(here)
    if compat:
        saw = f"driver {_dotted(found)}, with compatibility libraries in {compat}"
        return judged(found >= OLDEST_DRIVER[12], "driver", saw, expected, _ADVICE)
    return Finding(
        "driver", "fault", f"driver {_dotted(found)}, no compatibility libraries", expected, _ADVICE
    )


_ADVICE = (
    "ask the site for a newer driver; or use an image with an older CUDA; or, on data-centre GPUs, its compatibility "
    "libraries (SLIPWAY_CUDA_COMPAT=1)"
)


def _compat(here: Here) -> str | None:
    """Return the directory of the image's compatibility libraries if the loader searches it; else None."""
    folders = here.environment.get("LD_LIBRARY_PATH", "").split(":")
    return next((folder for folder in folders if "/compat" in folder and "cuda" in folder), None)


def _rocm(here: Here, hip: str) -> Finding:
    expected = f"amdgpu's module and /dev/kfd, for ROCm {hip}"
    module, device = here.read("/sys/module/amdgpu/version"), here.path("/dev/kfd").exists()
    loaded = module is not None or here.path("/sys/module/amdgpu").exists()
    if not here.on_node and not loaded:
        return skipped("driver", IN_JOB)
    saw = f"amdgpu {module.strip() if module else 'present' if loaded else 'missing'}, /dev/kfd "
    saw += "present" if device else "missing"
    return judged(loaded and device, "driver", saw, expected, "load amdgpu, start the container with --rocm")


def image_labels(here: Here) -> dict[str, str]:
    """Return the labels of a SIF; empty outside one."""
    try:
        labels = json.loads(here.read("/.singularity.d/labels.json") or "{}")
    except ValueError:
        return {}
    return labels if isinstance(labels, dict) else {}


def image(here: Here) -> Finding:
    """Return whether the image's variant fits the profile's devices."""
    kind = here.config.cluster.device.kind
    if not here.in_image:
        return skipped("image", "this is not Slipway's image: ask inside it")
    labels = image_labels(here)
    toolkits = torch_toolkits()
    variant = labels.get("org.slipway.variant")
    variant = variant or ("rocm" if "hip" in toolkits else "cuda" if "cuda" in toolkits else "cpu")
    digest = labels.get("org.slipway.image.digest", "")
    saw = " ".join(word for word in (f"variant {variant}", digest[:19]) if word)
    return judged(
        kind == "cpu" or variant != "cpu",
        "image",
        saw,
        "variant cuda or rocm, for GPUs" if kind != "cpu" else "any variant",
        "give launch.image an image that was built with --variant cuda (or rocm)",
    )


def facts(here: Here) -> dict[str, str]:
    """Return the versions that must be the same on all nodes."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    if "slipway" in found:
        from slipway import __version__

        found["slipway"] = __version__
    if digest := image_labels(here).get("org.slipway.image.digest"):
        found["image"] = digest
    return found


def _dotted(pair: tuple[int, int]) -> str:
    return ".".join(map(str, pair))
