"""A SIF in form only, and a program in Apptainer's place that notes how it was called."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NOTES = """\
#!{python}
import json, os, sys
print(json.dumps({{"words": sys.argv[1:], "environment": dict(os.environ)}}))
"""


def sif(path: Path) -> Path:
    """Write what looks like a SIF: its first bytes are right."""
    path.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0" + b"01\0")
    return path


def started(
    script: Path, connection: str, here: Path, runtime: str = "apptainer", **environment: str
) -> dict[str, Any]:
    """Run a kernel's script in a folder; return the words and the environment with which it called the runtime."""
    programs = script.parent / "programs"
    programs.mkdir(exist_ok=True)
    program = programs / runtime
    program.write_text(NOTES.format(python=sys.executable))
    program.chmod(0o755)
    done = run(script, connection, here, PATH=f"{programs}:/usr/bin:/bin", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"said": done.stderr}


def run(script: Path, connection: str, here: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a kernel's script with these variables alone."""
    environment = {"PATH": os.defpath} | environment
    return subprocess.run(
        ["bash", str(script), connection],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
