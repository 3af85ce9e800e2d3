"""Fills a folder with wheels: Slipway and all that it needs but torch, for a machine with a torch of its own.

Usage: wheels.py FOLDER [--python 3.12] [--machine x86_64]. The packages, their versions and checksums are those of
containers/lock; the folder gets what pip needs to install them without a network beside the torch that is there
(README.md), and checksums of all of it.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import lock

LEFT_OUT = {
    "torch": "the machine has one, with the packages that torch brings",
    "huggingface-hub": "tokenizers loads it to fetch tokenizers from the hub, which Slipway never does",
}
EXTRAS = ("nvidia",)
SHARED = {"numpy"}
"""Pins of Slipway's that give way to what is there: other packages, torch among them, were built for that one."""
MOST_BYTES = 60_000_000
GLIBC = 28  # 2.28, what torch's own wheels ask for
README = """\
Slipway {version} for Python {python} on {machine} (glibc 2.{glibc} or newer), with Megatron-core: all but torch.

Install it into an environment that has torch 2.9 or newer; nothing is fetched, and torch is not touched:

    PIP_CONSTRAINT= python -m pip install --no-deps -r FOLDER/requirements.txt

`sha256sum -c SHA256SUMS`, in this folder, checks whether it was copied whole. docs/install.md has the rest.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", choices=["3.11", "3.12"])
    parser.add_argument("--machine", default="x86_64", choices=lock.MACHINES)
    asked = parser.parse_args()
    folder, python, machine = asked.folder, asked.python, asked.machine
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "SHA256SUMS").is_file():
        sys.exit(f"{folder} holds something else than wheels of Slipway's: name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheels-") as name:
        made = Path(name, "made")
        made.mkdir()
        fetch(needed(python, machine), made, python, machine)
        build(lock.ROOT, made)
        describe(made, python, machine)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    wheels = sorted(folder.glob("*.whl"), key=lambda path: -path.stat().st_size)
    whole = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {len(wheels)} wheels, {whole / 1e6:.1f} MB, for Python {python} on {machine}")
    if whole > MOST_BYTES:
        largest = ", ".join(
            f"{path.name.partition('-')[0]} {path.stat().st_size / 1e6:.1f}" for path in wheels[:8]
        )
        sys.exit(f"That is more than {MOST_BYTES / 1e6:.0f} MB; the largest, in MB: {largest}")


def needed(python: str, machine: str) -> list[str]:
    """The locked blocks of Slipway's dependencies and of what these need, without LEFT_OUT and what only it needs."""
    locked = [
        b for name in ("base.txt", "cuda.txt") for b in lock.blocks((lock.LOCK / name).read_text("utf-8"))
    ]
    here = {lock.pin(block)[0]: block for block in locked if lock.serves(block, python, [machine])}
    project = lock.project()["project"]
    direct = project["dependencies"] + [
        line for name in EXTRAS for line in project["optional-dependencies"][name]
    ]
    taken = {lock.pin(line)[0] for line in direct} - LEFT_OUT.keys()
    while more := {n for n, block in here.items() if asked_by(block) & taken} - taken - LEFT_OUT.keys():
        taken |= more
    return [here[name] for name in sorted(taken)]


def asked_by(block: str) -> set[str]:
    """The packages that need the one of a block: its comment `via`."""
    return set(re.findall(r"^ +#(?: via)? +([a-z0-9][a-z0-9.-]+)(?:\[.*\])?$", block, flags=re.MULTILINE)) - {
        "via"
    }


def fetch(blocks: list[str], folder: Path, python: str, machine: str) -> None:
    """Wheels of all blocks, checked against the lock; of what has only a source archive one for any Python is built."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    platforms += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
    target = ["--python-version", python, *(word for name in platforms for word in ("--platform", name))]
    with tempfile.TemporaryDirectory() as scratch:
        listed, archives = Path(scratch, "list.txt"), Path(scratch, "archives")
        # without markers, which pip holds against the Python that it runs in
        bare = [re.sub(r" ; .*\\\n", r" \\\n", block, count=1) for block in blocks]
        listed.write_text("".join(bare), encoding="utf-8")
        pip("download", *target, "--require-hashes", "--no-build-isolation", "-d", archives, "-r", listed)
        for path in sorted(archives.iterdir()):
            if path.suffix == ".whl":
                path.rename(folder / path.name)
                continue
            pip("wheel", "--no-index", "--no-build-isolation", "-w", archives / "built", path)
        for path in (archives / "built").glob("*.whl"):
            if not path.name.endswith("-none-any.whl"):
                sys.exit(
                    f"{path.name} was compiled here, for this Python and this machine: no wheel is offered"
                )
            path.rename(folder / path.name)
    there = {canonical(path.name.split("-")[0]) for path in folder.glob("*.whl")}
    if missing := {lock.pin(block)[0] for block in blocks} - there:
        sys.exit(f"pip fetched no {', '.join(sorted(missing))}")


def build(source: Path, folder: Path) -> None:
    """Slipway's own wheel."""
    pip("wheel", "--no-index", "--no-build-isolation", "-w", folder, source)


def describe(folder: Path, python: str, machine: str) -> None:
    """Write requirements.txt, README.md and SHA256SUMS for the wheels in a folder."""
    lines = requirements(folder, python, machine)
    options = "--no-index\n--find-links .\n"  # relative to this file
    (folder / "requirements.txt").write_text(
        options + "".join(f"{line}\n" for line in lines), encoding="utf-8"
    )
    version = next(folder.glob("slipway-*.whl")).name.split("-")[1]
    words = dict(version=version, python=python, machine=machine, glibc=GLIBC)
    (folder / "README.md").write_text(README.format(**words), encoding="utf-8")
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def requirements(folder: Path, python: str, machine: str) -> list[str]:
    """What is installed: Slipway's own pins as they are, all others where none that fits is there.

    What fits is what the packages in the folder say that need it; pip leaves that as it is.
    """
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    metadata = [_metadata(path) for path in sorted(folder.glob("*.whl"))]
    versions = {canonical(str(one["Name"])): str(one["Version"]) for one in metadata}
    wanted = {name: SpecifierSet() for name in versions}
    linux = {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": machine,
    }
    here = {**linux, "python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    own: set[str] = {"slipway"}
    for one in metadata:
        asked = [Requirement(line) for line in one.get_all("Requires-Dist", [])]
        asked = [
            r for r in asked if canonical(r.name) in wanted and (not r.marker or r.marker.evaluate(here))
        ]
        if one["Name"] == "slipway":
            own |= {canonical(r.name) for r in asked}
            continue
        for requirement in asked:
            wanted[canonical(requirement.name)] &= requirement.specifier
    own |= {
        lock.pin(line)[0]
        for name in EXTRAS
        for line in lock.project()["project"]["optional-dependencies"][name]
    }
    return [
        f"{name}=={version}" if name in own - SHARED else f"{name}{wanted[name]}"
        for name, version in sorted(versions.items())
    ]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _metadata(wheel: Path):  # noqa: ANN202
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        return message_from_bytes(archive.read(name))


def pip(verb: str, *words: object) -> None:
    """Run pip without dependencies; what it says is shown only where it fails."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        verb,
        "--no-deps",
        *map(str, words),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\npip {verb} failed")


if __name__ == "__main__":
    main()
