"""The Dockerfile as far as it can be judged without a container: stages, pins and locks of every variant."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from slipway.image import pins

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = ("cpu", "cuda", "rocm")


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of each, with continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text())
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def expanded(text: str, arguments: dict[str, str]) -> str:
    """With ${NAME}, ${NAME:-$OTHER} and $NAME replaced."""
    text = re.sub(r"\$\{(\w+):-\$(\w+)\}", lambda m: arguments.get(m[1]) or arguments[m[2]], text)
    return re.sub(r"\$\{?(\w+)\}?", lambda m: arguments[m[1]], text)


def stages(variant: str, base: str = "") -> dict[str, str]:
    """Stage by stage what it is built from, images and earlier stages."""
    arguments = {"VARIANT": variant, "BASE_IMAGE": base}
    found: dict[str, str] = {}
    for word, rest in instructions():
        if word == "ARG" and not found:
            name, _, value = rest.partition("=")
            arguments.setdefault(name, value)
        if word == "FROM":
            source, _, name = expanded(rest, arguments).partition(" AS ")
            found[name] = source
    return found


def chain(found: dict[str, str], stage: str) -> list[str]:
    """A stage and all that it stands on, down to an image's name."""
    return [stage, *chain(found, found[stage])] if stage in found else [stage]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_stage_stands_on_the_variants_base(variant: str) -> None:
    found = stages(variant)
    expected = pins.variant(ROOT, variant).base
    for stage in ("apex", "dependencies", "package", "runtime"):
        assert chain(found, stage)[-2:] == [f"base-{variant}", expected]
    assert chain(found, "runtime") == ["runtime", "dependencies", f"base-{variant}", expected]
    assert list(found)[-1] == "runtime"
    assert chain(stages(variant, "mine@sha256:1"), "runtime")[-1] == "mine@sha256:1"


def test_mounts_and_copies_name_stages_that_come_earlier() -> None:
    seen: list[str] = []
    for word, rest in instructions():
        if word == "FROM":
            seen.append(rest.rpartition(" AS ")[2])
        for name in re.findall(r"from=([\w-]+)", rest):
            assert name in seen[:-1], f"{name} is used in {seen[-1]}"
        # old podman removes what was mounted on, so it must be nothing that a base has
        assert set(re.findall(r"target=(\S+)", rest)) <= {"/wheels", "/apex-source", "/root/.cache/pip"}


def test_what_is_copied_exists_and_is_let_in() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in instructions():
        if word != "COPY" or "--from=" in rest:
            continue
        for source in rest.split()[:-1]:
            for path in {source.replace("${VARIANT}", variant) for variant in VARIANTS}:
                assert (ROOT / path).exists(), path
                assert path.split("/")[0] in allowed, path


@pytest.mark.parametrize("variant", VARIANTS)
def test_locks_pin_what_the_variant_needs(variant: str) -> None:
    lock = (ROOT / "containers" / "lock" / f"image-{variant}.txt").read_text()
    pinned = re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", lock)
    assert len(pinned) == len({name for name, _ in pinned}) > 60, "each package once"
    names = dict(pinned)
    assert names["megatron-core"] == ("0.16.1" if variant == "cpu" else "0.19.2")
    assert names.keys().isdisjoint({"torch", "triton", "transformer-engine", "apex", "pytest", "ruff"})
    assert "dumb-init" in names and "slipway" not in names
    blocks = re.findall(r"(?m)^[a-z].*\n(?:[ \t].*\n)*", lock)
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize("variant", ("cuda", "rocm"))
def test_bases_are_pinned_by_digest(variant: str) -> None:
    assert re.search(r"@sha256:[0-9a-f]{64}$", pins.variant(ROOT, variant).base)


def test_apex_is_pinned_to_a_commit() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    commit = project["tool"]["slipway"]["image"]["apex_commit"]
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    assert ("ARG", f"APEX_COMMIT={commit}") in instructions()


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_locks_agree_and_a_changed_default_is_noticed(tmp_path: Path) -> None:
    """containers/lock.py --check, on a copy whose Dockerfile has another base."""
    for name in ("pyproject.toml", "Dockerfile"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "lock.py").write_text((ROOT / "containers" / "lock.py").read_text())
    (tmp_path / "containers" / "lock").symlink_to(ROOT / "containers" / "lock")
    check = [sys.executable, str(tmp_path / "containers" / "lock.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    changed = (tmp_path / "Dockerfile").read_text().replace("ARG CPU_BASE=", "ARG CPU_BASE=other-")
    (tmp_path / "Dockerfile").write_text(changed)
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 1 and "its defaults are not the pins" in done.stderr
