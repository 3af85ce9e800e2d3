"""A kernel's two files as text: kernel.json, which Jupyter reads, and the script that it starts. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway import __version__
from slipway.config.cluster import Container
from slipway.launch import leftovers
from slipway.launch.checks import one_line
from slipway.launch.slurm import option_words
from slipway.launch.templates import template

SPEC, SCRIPT = "kernel.json", "kernel.sh"
"""The names of the files in the kernel's directory."""
TEMPLATE = "jupyter/kernel.sh.j2"
GPU = {"nvidia": "--nv", "amd": "--rocm"}
"""Apptainer's option that gives the image access to the machine's GPUs, by vendor."""
COMMAND = (
    "/opt/slipway/bin/slipway-entry",  # sets the image's environment again, with the variables that are passed on
    *("/opt/slipway/bin/python", "-m", "ipykernel_launcher", "-f"),
)
"""The command in the image, before the connection file."""
HANDED_ON = (
    *leftovers.DEVICES,
    *("SLURM_JOB_ID", "SLIPWAY_CACHE", "SLIPWAY_LD_LIBRARY_PATH", "SLIPWAY_CUDA_COMPAT"),
)
"""Variables of the Jupyter server that the kernel sees, too: its GPUs, and what containers/env.sh reads."""


@dataclass(frozen=True)
class Kernel:
    """A kernel to be written."""

    name: str
    """The name of its directory, by which Jupyter and `jupyter kernelspec` know it."""
    display_name: str
    """The name that notebooks show."""
    folder: Path
    """The absolute path of the directory for its files."""
    image: Path
    """The absolute path of a SIF."""
    container: Container
    """The way in which the cluster runs images: runtime, modules, options, binds."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of the cluster's ranks, set for the kernel as well."""
    binds: tuple[str, ...] = ()
    """SOURCE[:TARGET[:MODE]], besides the cluster's."""
    gpu: str | None = None
    """A vendor of GPUs, whose option the runtime gets if the cluster's options lack it; None: only the cluster's."""


def spec(kernel: Kernel) -> str:
    """Return the text of kernel.json.

    Interrupts come as messages, because a signal to the script would not reach the kernel.
    """
    content: dict[str, Any] = {
        "argv": ["bash", str(kernel.folder / SCRIPT), "{connection_file}"],
        "display_name": kernel.display_name,
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"debugger": True, "slipway": {"version": __version__, "image": str(kernel.image)}},
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def script(kernel: Kernel) -> str:
    """Return the text of the script that starts the kernel in the image."""
    container = kernel.container
    return template(TEMPLATE).render(
        title=one_line(f"The Jupyter kernel {kernel.name}: Slipway {__version__} in {kernel.image}"),
        script=SCRIPT,
        runtime=container.runtime,
        orders=[f'"${{!{prefix}@}}"' for prefix in _ORDERS],
        kept=[name for name in leftovers.KEPT if name.startswith(_ORDERS)],
        handed_on=HANDED_ON,
        environment=kernel.environment,
        modules=container.modules,
        options=_options(kernel),
        binds=list(dict.fromkeys([*kernel.binds, *container.binds])),
        image=kernel.image,
        command=COMMAND,
    )


_ORDERS = ("APPTAINER", "SINGULARITY")
"""Prefixes of variables from which the runtimes take options, and values for the image."""


def _options(kernel: Kernel) -> Sequence[list[str]]:
    """Return the words after the runtime's name, line by line; the script adds the binds."""
    given = [option_words(option) for option in kernel.container.options]
    gpu = [GPU[kernel.gpu]] if kernel.gpu else []
    if gpu and gpu not in given:
        given.append(gpu)
    return [["exec", "--cleanenv", "--no-home"], *given]
