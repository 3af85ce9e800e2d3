"""Which engine is taken, and the one line where there is none."""

from refusals import refused
from slipway.image.engine import choose


def machine(*programs: str):  # noqa: ANN201
    return lambda name: f"/usr/bin/{name}" if name in programs else None


def test_what_is_here_is_taken() -> None:
    assert choose(None, False, machine("docker")) == "docker"
    assert choose(None, False, machine("docker", "podman")) == "podman"
    assert choose("docker", False, machine("docker", "podman")) == "docker"


def test_a_dry_run_needs_none() -> None:
    assert choose(None, True, machine()) == "podman"
    assert choose("docker", True, machine()) == "docker"


def test_what_is_missing_is_said() -> None:
    with refused("image"):
        choose(None, False, machine())
    with refused("image --engine", value="docker", use="podman"):
        choose("docker", False, machine("podman"))
    with refused("image --engine", value="docker", use="podman"):
        choose("docker", False, machine())
