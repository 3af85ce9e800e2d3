"""The commands that build: pure, so compared word by word."""

from pathlib import Path

import pytest

from slipway.image import build as builds
from slipway.image.build import Build

ROOT = Path("/src")


def test_podman_offline_with_everything() -> None:
    build = Build(
        "podman",
        ROOT,
        "cuda",
        "slipway:cuda",
        base="base@sha256:1",
        wheels=Path("/wheels"),
        apex_source=Path("/apex"),
        platform="linux/arm64",
        offline=True,
        cache=False,
        labels={"VERSION": "1"},
    )
    assert " ".join(builds.command(build)) == (
        "podman build --format docker --timestamp 315532800 --network none --no-cache --platform linux/arm64 "
        "--build-arg VARIANT=cuda --build-arg BASE_IMAGE=base@sha256:1 --build-arg PIP_NO_INDEX=1 "
        "--build-arg VERSION=1 --build-context wheels=/wheels --build-context apex-source=/apex "
        "--tag slipway:cuda --file /src/Dockerfile /src"
    )


def test_docker_by_default() -> None:
    words = builds.command(Build("docker", ROOT, "cpu", "slipway:cpu", torch_index="https://index"))
    assert " ".join(words) == (
        "docker buildx build --load --network host --build-arg VARIANT=cpu --build-arg TORCH_INDEX_URL=https://index "
        "--build-arg SOURCE_DATE_EPOCH=315532800 --tag slipway:cpu --file /src/Dockerfile /src"
    )


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("podman", "podman save --format docker-archive --output a.tar t"),
        ("docker", "docker save --output a.tar t"),
    ],
)
def test_save(engine: str, expected: str) -> None:
    assert " ".join(builds.save(engine, "t", Path("a.tar"))) == expected
