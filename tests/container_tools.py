"""What tests with real containers share: a storage of their own, users without rights, the run that they train."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training import LAYOUT

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 65534
STEPS, MIDDLE = 6, 3

# A run that all runtimes train; paths are relative to the run folder, the only place that may be written.
RUN = [
    "model=demo",
    "model.vocab_size=257",
    "model.max_position_embeddings=64",
    f"{LAYOUT['ranks']}=4",
    f"{LAYOUT['tp']}=2",
    f"{LAYOUT['pp']}=2",
    "training.global_batch_size=8",
    "validation.steps=0",
    "checkpoint.interval=0",
    "logging.interval=1000",
    "optimizer.lr_warmup_steps=2",
    "data=files",
    "data.tokenizer.kind=byte",
    "data.sources.files.inputs=[one.txt,two.txt]",
    "data.dir=data",
]


def slipway(*words: str, cwd: Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """The command line of this checkout, with its environment's programs (syft) in reach."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return run([sys.executable, "-m", "slipway", *words], cwd=cwd, timeout=timeout, PATH=path)


def run(
    command: Sequence[str], cwd: Path | None = None, timeout: float = 300, **more: str
) -> subprocess.CompletedProcess[str]:
    """A command with its output caught and variables added to the environment."""
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **more}, capture_output=True, text=True, timeout=timeout
    )


def good(done: subprocess.CompletedProcess[str]) -> str:
    """Standard output of what must have worked."""
    assert done.returncode == 0, f"{done.args}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


# With root's rights a private /dev/fuse is made that users may open, as distributions have it, in a mount
# namespace of its own; then the rights are given up. $1: user id.
_GIVE_UP = """
set -eu
user=$1; shift
own=$(mktemp -d)
cp -a /dev/fuse "$own/fuse"
chmod 666 "$own/fuse"
mount --bind "$own/fuse" /dev/fuse
rm -rf "$own"
cd / # the checkout may lie where this user cannot go
exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
"""


def as_user(command: Sequence[str]) -> list[str]:
    """The command by a user without rights: nobody where the tests run as root, else who runs them."""
    if os.getuid() != 0:
        return list(command)
    return ["unshare", "--mount", "sh", "-c", _GIVE_UP, "sh", str(NOBODY), *command]


def missing_tools() -> list[str]:
    """What these tests need and this machine lacks."""
    needed = ["podman", "apptainer", "openssl", "git", "unshare", "setpriv"]
    lacking = [tool for tool in needed if shutil.which(tool) is None]
    if not Path("/dev/fuse").exists() or not stat.S_ISCHR(Path("/dev/fuse").stat().st_mode):
        lacking.append("/dev/fuse")
    return lacking


@dataclass(frozen=True)
class Image:
    """What `slipway image build` made."""

    tag: str
    digest: str
    archive: Path
    record: Path


@dataclass(frozen=True)
class Runtime:
    """One way to run a command on a run folder, read-only otherwise and without rights."""

    name: str
    image: str
    extra: tuple[str, ...] = ()

    def command(self, folder: Path, words: Sequence[str]) -> list[str]:
        """The whole command line."""
        if self.name == "podman":
            own = ["podman", "run", "--rm", "--read-only", "--user", f"{NOBODY}:{NOBODY}"]
            return [*own, "--network", "none", "--volume", f"{folder}:/work", *self.extra, self.image, *words]
        own = [
            "apptainer",
            "exec",
            "--containall",
            "--no-home",
            "--bind",
            f"{folder}:/work",
            "--pwd",
            "/work",
        ]
        return as_user([*own, *self.extra, self.image, *words])

    def train(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """`slipway train` of the common run."""
        return run(self.command(folder, ["slipway", "train", *RUN, *words]))


def measured(run_dir: Path) -> list[tuple[int, str, str]]:
    """(step, loss, gradient norm) of every step, as written: bit for bit."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [
        (line["step"], float(line["loss"]).hex(), float(line["grad_norm"]).hex())
        for line in lines
        if line["kind"] == "train"
    ]


def storage(folder: Path) -> Path:
    """A configuration of container storage below a folder, which sees the host's images but adds none to them."""
    text = f"""[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
[storage.options]
additionalimagestores = ["/var/lib/containers/storage"]
"""
    path = folder / "storage.conf"
    path.write_text(text)
    return path
