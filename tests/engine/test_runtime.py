"""What a rank's threads do while they wait for each other, as OpenMP itself says."""

import os
import subprocess
import sys

import pytest

from slipway.config.compose import compose
from slipway.engine.runtime import switches_of
from slipway.plan import make_plan

PROGRAM = """
from slipway.engine.runtime import wait_without_spinning
wait_without_spinning()
import ctypes, importlib.util, pathlib
torch = pathlib.Path(importlib.util.find_spec("torch").origin).parent
for library in torch.glob("lib/libgomp*"):  # torch takes seconds to import, and this moment to load
    ctypes.CDLL(str(library))
"""


def spin_count(**set_by_user: str) -> str:
    """The value that reached the OpenMP library that torch loads."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**inherited, "OMP_DISPLAY_ENV": "VERBOSE", **set_by_user},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not said:
        pytest.skip("this torch does not load GNU OpenMP")
    return said[0].split("'")[1]


def test_threads_do_not_spin() -> None:
    assert spin_count() == "1000"


def test_what_the_user_has_set_stays() -> None:
    assert spin_count(GOMP_SPINCOUNT="77") == "77"
    assert spin_count(OMP_WAIT_POLICY="active") != "1000"


FORK = """
import os
import torch
import torch.distributed.tensor
torch.set_num_threads(4)  # the pool's size is that of the first call
from slipway.config.compose import compose
from slipway.engine.runtime import load_torch
load_torch(compose(["experiment=demo"]), 1)
torch.get_num_threads()  # torch's own hook does nothing in the forks of a process that has asked
torch._C._ensureCUDADeviceGuardSet()
for _ in range(8):
    fork = os.fork()
    if not fork:
        assert len(os.listdir("/proc/self/task")) == 4  # the pool's threads are there before any other
        (torch.ones(1, requires_grad=True) * 2).sum().backward()
        os._exit(0)
    assert os.waitpid(fork, 0)[1] == 0
"""


def test_a_fork_has_threads_of_its_own_before_the_first_backward_pass() -> None:
    """A build for CUDA aborted in most of these forks; one for CPUs alone has no threads that race."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_what_follows_a_rule_is_told_with_the_rule_and_not_as_forced() -> None:
    """Also of a plan that has its switches already: training prints them after it has chosen them."""
    config = compose(["experiment=demo"])
    rules = make_plan(config).with_kernels({"product": "torch"})
    chosen = switches_of(rules)
    assert chosen, "the demo's pipeline stages have one"
    assert not [one for one in chosen if f"parallelism.{one.name}=" in one.why]
    assert switches_of(rules.with_switches({one.name: one.value for one in chosen})) == chosen
