"""Rendered scripts in a real bash in which every program of a cluster is a stand-in that writes down its words."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Programs of the scripts that do what they do; nothing else is found.
REAL = (
    *(
        "bash",
        "cat",
        "cp",
        "date",
        "env",
        "grep",
        "head",
        "hostname",
        "ln",
        "mkdir",
        "mv",
        "paste",
        "readlink",
        "rm",
        "sed",
    ),
    *("sleep", "sort", "tail", "awk"),
)

_RECORDER = """#!{bash}
folder={folder}
printf '%s\\0' "$@" >"$folder/{name}.words"
env -0 >"$folder/{name}.environment"
readlink -n /proc/self/cwd >"$folder/{name}.cwd"
{says}
"""
STAND_INS = {
    "srun": "",
    "slipway": "",
    "apptainer": "",
    "singularity": "",
    "module": "",
    "scancel": "",
    "canary": "touch {folder}/canary",
    "sbatch": "echo 4242",
    "scontrol": "echo node1",
    "squeue": "echo 2051222400",
    "getent": "echo 10.0.0.1 STREAM node1",
}


@dataclass(frozen=True)
class Told:
    """What a program was told."""

    words: list[str]
    environment: dict[str, str]
    cwd: Path


@dataclass(frozen=True)
class Ran:
    """What a script did."""

    code: int
    output: str
    folder: Path

    def told(self, program: str) -> Told | None:
        """The last call of a program; None: there was none."""
        words = self.folder / f"{program}.words"
        if not words.exists():
            return None
        pairs = (self.folder / f"{program}.environment").read_bytes().split(b"\0")
        environment = dict(_text(pair).split("=", 1) for pair in pairs if pair)
        cwd = Path(_text((self.folder / f"{program}.cwd").read_bytes()))
        return Told([_text(word) for word in words.read_bytes().split(b"\0")[:-1]], environment, cwd)

    @property
    def canary(self) -> bool:
        """Whether something in the script ran a command of its own."""
        return (self.folder / "canary").exists()


def prepare(folder: Path) -> None:
    """Make the stand-ins in folder/bin; they write into folder/told."""
    (folder / "bin").mkdir()
    (folder / "told").mkdir()
    for name in [*REAL, "touch"]:
        found = shutil.which(name)
        assert found, f"{name} is not on this machine"
        (folder / "bin" / name).symlink_to(found)
    for name, says in STAND_INS.items():
        text = _RECORDER.format(
            bash=shutil.which("bash"),
            folder=folder / "told",
            name=name,
            says=says.format(folder=folder / "told"),
        )
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)


def run(folder: Path, script: str, **variables: str) -> Ran:
    """Run a script as Slurm would: a file, by bash, in an environment of its own."""
    for old in (folder / "told").iterdir():
        old.unlink()
    path = folder / "script.sh"
    path.write_text(script, encoding="utf-8")
    environment: Mapping[str, str] = {"PATH": str(folder / "bin"), "LC_ALL": "C.UTF-8", **variables}
    done = subprocess.run(
        [str(folder / "bin" / "bash"), str(path)],
        cwd="/",
        env=environment,
        capture_output=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return Ran(done.returncode, _text(done.stdout + done.stderr), folder / "told")


def _text(data: bytes) -> str:
    return os.fsdecode(data)
