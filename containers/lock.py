"""The lock files: every package with its checksums, resolved from the pins in pyproject.toml.

`lock.py` writes them and the Dockerfile's defaults (needs uv and the network), `lock.py --check` says whether
they agree with pyproject.toml, `lock.py --torch` prints the pins of torch. One resolution serves Python 3.11 and
3.12 and all platforms; base.txt and cuda.txt split it because a build of torch for CPU needs none of NVIDIA's
libraries; the image's files are the parts of it that a variant of the image installs. terratorch.txt and docs.txt are
resolutions of their own, for Python 3.11 on Linux, of what the dependency groups of these names ask for; `lock.py
--group NAME` writes one of them.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "containers" / "lock"
DOCKERFILE = ROOT / "Dockerfile"
HEADER = "# Written by `make lock` from pyproject.toml; do not edit.\n"
CUDA_ONLY = re.compile(r"(nvidia-|cuda-|triton\b)")
NVML = re.compile(r"nvidia-ml-py\b")
TORCH = re.compile(r"torch\b")
PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;\\]+)")
MACHINES = ("x86_64", "aarch64")
INSIDE = ("container", "earth", "evaluation", "formats", "jupyter", "mirrors", "nvidia")
"""The extras that images have; `nvidia` only the variant for CUDA."""
GROUPS = ("terratorch", "docs")
"""The dependency groups with an environment, and so with a lock, of their own."""


def project() -> dict:
    """The pins: all of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def direct_pins() -> set[tuple[str, str]]:
    """(name, version) of all that pyproject.toml asks for, every extra included."""
    asked = project()["project"]
    extras = [line for lines in asked["optional-dependencies"].values() for line in lines]
    return {pin(line) for line in asked["dependencies"] + extras}


def pin(requirement: str) -> tuple[str, str]:
    """Name and version of `name[extra]==version; marker`."""
    match = PINNED.match(requirement)
    if not match:
        sys.exit(f"pyproject.toml: `{requirement}` is not pinned with ==")
    return re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"]


def blocks(text: str) -> list[str]:
    """One string for each locked package: the requirement, its hashes, its comments."""
    return re.findall(r"^[^\s#].*\n(?:[ \t].*\n)*", text, flags=re.MULTILINE)


def resolve(extras: Iterable[str], source: str = "pyproject.toml", within: Iterable[str] = ()) -> list[str]:
    """The blocks of a whole resolution with hashes; within: blocks whose versions it keeps to."""
    return _compiled(
        [source, *(word for extra in extras for word in ("--extra", extra)), "--universal"], within
    )


def resolve_group(name: str) -> list[str]:
    """The blocks of a dependency group by itself, for Python 3.11 on Linux."""
    return _compiled(["--group", name, "--python-platform", "linux"], ())


def _compiled(what: list[str], within: Iterable[str]) -> list[str]:
    command = [sys.executable, "-m", "uv", "pip", "compile", *what]
    command += ["--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", "--no-config", "--no-emit-index-url", "--no-emit-find-links"]
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as constraints:
        constraints.writelines(block.split("\\")[0].rstrip() + "\n" for block in within)
        constraints.flush()
        command += ["--constraint", constraints.name] if within else []
        found = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [re.sub(r"^ +# +-c .*\n", "", block, flags=re.MULTILINE) for block in blocks(found)]


def write() -> None:
    """Resolves anew and writes all files."""
    pins = project()
    found = resolve(pins["project"]["optional-dependencies"])
    _write("base.txt", [b for b in found if not CUDA_ONLY.match(b)])
    _write("cuda.txt", [b for b in found if CUDA_ONLY.match(b)])
    inside = resolve(INSIDE, within=found)
    for variant, image in pins["tool"]["slipway"]["image"]["variants"].items():
        _write(
            f"image-{variant}.txt", [b for b in inside if _belongs(b, variant) and serves(b, image["python"])]
        )
    _write("image-build.txt", _tools(found))
    for name in GROUPS:
        write_group(name)
    DOCKERFILE.write_text(with_defaults(DOCKERFILE.read_text(), pins))


def write_group(name: str) -> None:
    """Resolves a dependency group anew; a torch in it is one of base.txt's, with the libraries in cuda.txt."""
    _write(f"{name}.txt", [b for b in resolve_group(name) if not CUDA_ONLY.match(b)])


def _belongs(block: str, variant: str) -> bool:
    """Whether a variant of the image installs it: torch and its libraries are the base's, or a lock's of their own."""
    if NVML.match(block):
        return variant == "cuda"
    return not (CUDA_ONLY.match(block) or TORCH.match(block))


def _tools(found: list[str]) -> list[str]:
    """What builds packages in the image: the extra `build` and what it needs, nothing else."""
    asked = project()["project"]["optional-dependencies"]["build"]
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".in") as source:
        source.write("\n".join(asked) + "\n")
        source.flush()
        return [re.sub(r"\n +#.*", "", b) for b in resolve([], source.name, within=found)]


def _write(name: str, found: list[str]) -> None:
    LOCK.joinpath(name).write_text(HEADER + "".join(found))


def serves(block: str, python: str, machines: Iterable[str] = MACHINES) -> bool:
    """Whether a block is installed on Linux with this Python, on any of the machines."""
    from packaging.markers import Marker

    _, _, marker = block.split("\\")[0].partition(";")
    if not marker.strip():
        return True
    linux = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    version = {"python_version": python, "python_full_version": f"{python}.0"}
    return any(Marker(marker).evaluate({**linux, **version, "platform_machine": m}) for m in machines)


def defaults(pins: dict) -> dict[str, str]:
    """The Dockerfile's arguments whose defaults are pins."""
    image = pins["tool"]["slipway"]["image"]
    bases = {f"{variant.upper()}_BASE": entry["base"] for variant, entry in image["variants"].items()}
    return {**bases, "APEX_COMMIT": image["apex_commit"]}


def with_defaults(dockerfile: str, pins: dict) -> str:
    """The Dockerfile's text with the pins as defaults of its arguments."""
    for name, value in defaults(pins).items():
        dockerfile, changed = re.subn(rf"(?m)^ARG {name}=.*$", f"ARG {name}={value}", dockerfile)
        if not changed:
            sys.exit(f"Dockerfile: no `ARG {name}=`, whose default is a pin of pyproject.toml")
    return dockerfile


def check() -> None:
    """Exits with a message where a pin of pyproject.toml and what follows differ, in either direction."""
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
    _check_image({(pin(block), hashes(block)) for block in locked})
    for name in GROUPS:
        _check_group(name, asked)
    print(f"containers/lock: {len(locked)} packages, in agreement with pyproject.toml")


def _check_group(name: str, asked: set[tuple[str, str]]) -> None:
    found = blocks((LOCK / f"{name}.txt").read_text())
    wanted = {pin(line) for line in project()["dependency-groups"][name]}
    if not {one for one in wanted if one[0] == "torch"} <= asked:
        sys.exit(f"pyproject.toml: the group `{name}` pins another torch than the dependencies do")
    if missing := wanted - {pin(block) for block in found}:
        names = ", ".join(sorted(f"{name}=={version}" for name, version in missing))
        sys.exit(f"containers/lock/{name}.txt: {names} is missing: run `make lock`")
    if bare := [pin(block)[0] for block in found if not hashes(block)]:
        sys.exit(f"containers/lock/{name}.txt: no checksum for {', '.join(bare)}: run `make lock`")


def _check_image(locked: set[tuple[tuple[str, str], frozenset[str]]]) -> None:
    pins = project()
    inside = list(pins["project"]["dependencies"])
    for extra in INSIDE:
        inside += pins["project"]["optional-dependencies"][extra]
    for path in sorted(LOCK.glob("image-*.txt")):
        found = blocks(path.read_text())
        if strange := [pin(block)[0] for block in found if (pin(block), hashes(block)) not in locked]:
            sys.exit(f"containers/lock/{path.name}: {', '.join(strange)} not as in base.txt: run `make lock`")
    for variant, image in pins["tool"]["slipway"]["image"]["variants"].items():
        found = {pin(block) for block in blocks((LOCK / f"image-{variant}.txt").read_text())}
        here = {pin(line) for line in inside if _belongs(line, variant) and serves(line, image["python"])}
        if missing := here - found:
            names = ", ".join(sorted(f"{name}=={version}" for name, version in missing))
            sys.exit(f"containers/lock/image-{variant}.txt: {names} is missing: run `make lock`")
    if DOCKERFILE.read_text() != with_defaults(DOCKERFILE.read_text(), pins):
        sys.exit("Dockerfile: its defaults are not the pins of pyproject.toml: run `make lock`")


def hashes(block: str) -> frozenset[str]:
    """Its checksums."""
    return frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))


def print_torch() -> None:
    """The requirements on torch alone, without checksums."""
    for block in blocks((LOCK / "base.txt").read_text()):
        if pin(block)[0] == "torch":
            print(block.split("\\")[0].strip())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--group"]:
        write_group(*sys.argv[2:])
    else:
        {"": write, "--check": check, "--torch": print_torch}[sys.argv[1] if len(sys.argv) > 1 else ""]()
