"""The lock files: every package with its checksums, resolved from the pins in pyproject.toml.

`lock.py` writes them (needs uv and the network), `lock.py --check` says whether they agree with
pyproject.toml, `lock.py --torch` prints the pins of torch. One resolution serves Python 3.11 and 3.12
and all platforms; it is split in two because a build of torch for CPU needs none of NVIDIA's libraries.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "containers" / "lock"
HEADER = "# Written by `make lock` from pyproject.toml; do not edit.\n"
CUDA_ONLY = re.compile(r"(nvidia-|cuda-|triton\b)")
PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;\\]+)")


def direct_pins() -> set[tuple[str, str]]:
    """(name, version) of all that pyproject.toml asks for, dev tools included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {pin(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]}


def pin(requirement: str) -> tuple[str, str]:
    """Name and version of `name[extra]==version; marker`."""
    match = PINNED.match(requirement)
    if not match:
        sys.exit(f"pyproject.toml: `{requirement}` is not pinned with ==")
    return re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"]


def blocks(text: str) -> list[str]:
    """One string for each locked package: the requirement, its hashes, its comments."""
    return re.findall(r"^[^\s#].*\n(?:[ \t].*\n)*", text, flags=re.MULTILINE)


def resolve() -> str:
    """The whole resolution, in requirements format with hashes."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--extra", "dev"]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", "--no-config", "--no-emit-index-url", "--no-emit-find-links"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def write() -> None:
    """Resolves anew and writes both files."""
    found = blocks(resolve())
    LOCK.joinpath("base.txt").write_text(HEADER + "".join(b for b in found if not CUDA_ONLY.match(b)))
    LOCK.joinpath("cuda.txt").write_text(HEADER + "".join(b for b in found if CUDA_ONLY.match(b)))


def check() -> None:
    """Exits with a message where a pin of pyproject.toml and the locks differ, in either direction."""
    locked = blocks((LOCK / "base.txt").read_text()) + blocks((LOCK / "cuda.txt").read_text())
    asked = {pin(block) for block in locked if re.search(r"# .*\bslipway \(pyproject\.toml\)", block)}
    if asked != direct_pins():
        differing = ", ".join(sorted(f"{name}=={version}" for name, version in asked ^ direct_pins()))
        sys.exit(f"containers/lock and pyproject.toml differ in {differing}: run `make lock`")
    if missing := [pin(block)[0] for block in locked if "--hash=sha256:" not in block]:
        sys.exit(f"containers/lock: no checksum for {', '.join(missing)}: run `make lock`")
    for block in blocks((LOCK / "torch-cpu.txt").read_text()):
        name, version = pin(block)
        if (name, version.split("+")[0]) not in asked:
            sys.exit(f"containers/lock/torch-cpu.txt: {name}=={version} is not what pyproject.toml pins")
    print(f"containers/lock: {len(locked)} packages, in agreement with pyproject.toml")


def print_torch() -> None:
    """The requirements on torch alone, without checksums."""
    for block in blocks((LOCK / "base.txt").read_text()):
        if pin(block)[0] == "torch":
            print(block.split("\\")[0].strip())


if __name__ == "__main__":
    {"": write, "--check": check, "--torch": print_torch}[sys.argv[1] if len(sys.argv) > 1 else ""]()
