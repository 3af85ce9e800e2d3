"""A small real corpus, prepared once, and ways to train on it; the image, built once."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import breadth
from container_fixtures import clone, image, sif, work
from slipway.engine.runtime import wait_without_spinning
from training import SMALL, slipway, train_in_one_process

__all__ = ["clone", "image", "sif", "work"]

wait_without_spinning()  # tests that import torch run beside each other, too
# tests may run under nohup or in a shell's background, but what they start does not
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
# the same examples every time, however busy the machine is
settings.register_profile(
    "slipway",
    deadline=None,
    derandomize=True,
    max_examples=100 if breadth.ALL else 50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("slipway")

# What takes longest comes first, so that no worker is left with it at the end; files of one test may take minutes.
LONGEST = (
    "bench/gpu/test_rehearsal",
    "faults/test_kill",
    "faults/test_soak",
    "faults",
    "train",
    "reference",
    "launch/test_quoting",
    "kernels",
)


# targets of make that collect only the files in which the marker stands, or a folder whose conftest.py sets it
BY_FILE = ("faults", "image", "cluster", "evaluation", "start", "terratorch")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Order the files, after all that is left out; within one, tests stay as they are."""
    _stand_where_their_tests_are(items)
    yield

    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((i for i, start in enumerate(LONGEST) if name.startswith(start)), len(LONGEST))

    items.sort(key=rank)


def _stand_where_their_tests_are(items: Sequence[pytest.Item]) -> None:
    """Raise UsageError where a test has a marker whose target of make would not find its file."""
    found = {(item.path, name) for item in items for name in BY_FILE if item.get_closest_marker(name)}
    for path, name in found:
        places = [path, path.with_name("conftest.py")]
        if not any(f"pytest.mark.{name}" in place.read_text() for place in places if place.exists()):
            raise pytest.UsageError(
                f"{path}: pytest.mark.{name} is not named there; make test-{name} looks for it"
            )


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for a byte-level corpus from a few modules of the standard library."""
    folder = tmp_path_factory.mktemp("corpus")
    modules = [Path(json.__file__).parent / f"{name}.py" for name in ("decoder", "encoder", "scanner")]
    modules += [Path(subprocess.__file__), Path(json.__file__)]
    overrides = [
        "data=files",
        f"data.sources.files.inputs=[{','.join(str(m) for m in modules)}]",
        "data.tokenizer.kind=byte",
        f"data.dir={folder / 'prepared'}",
    ]
    done = slipway("data", *SMALL, *overrides, cwd=folder)
    assert done.returncode == 0, done.stderr
    return overrides


@pytest.fixture(scope="session")
def train_many(corpus: list[str]) -> Callable[[Sequence[Sequence[str]]], list[int]]:
    """Run several trainings of the small model, given as override lists; returns their exit codes."""

    def run(jobs: Sequence[Sequence[str]]) -> list[int]:
        codes = Path(corpus[-1].split("=", 1)[1]).parent / "codes.json"
        return train_in_one_process([[*SMALL, *corpus, *job] for job in jobs], codes)

    return run
