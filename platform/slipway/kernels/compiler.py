"""Whether torch's compiler can build code for this machine's processor. Imports no torch."""

import os
import shutil
import sysconfig
from pathlib import Path


def cpp_trouble() -> str | None:
    """Return why torch.compile cannot build code for a CPU here; None: it can.

    It calls a C++ compiler for each new graph: the program in CXX, or g++. Its code includes Python.h.
    """
    program = os.environ.get("CXX", "g++")
    if shutil.which(program) is None:
        return f"torch.compile needs a C++ compiler for CPUs, and there is no {program} here"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "torch.compile needs Python's headers for CPUs, and there is no Python.h here"
    return None
