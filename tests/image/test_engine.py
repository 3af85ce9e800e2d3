"""Which engine is taken, and the one line where there is none."""

import pytest

from slipway.errors import UserError
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
    with pytest.raises(UserError, match="neither podman nor docker is on this machine"):
        choose(None, False, machine())
    with pytest.raises(UserError, match="docker: it is not on this machine; allowed here: podman"):
        choose("docker", False, machine("podman"))
    with pytest.raises(UserError, match="install podman or Docker"):
        choose("docker", False, machine())
