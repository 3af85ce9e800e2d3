"""Where training's random numbers come from, on a CPU; what ranks draw is in test_continuation."""

import subprocess
import sys

PROGRAM = """
from slipway.engine.megatron import cpu_adapter
cpu_adapter.install()
import logging
import torch
from megatron.core.tensor_parallel import get_cuda_rng_tracker
from slipway.engine.megatron import generators

logging.basicConfig(level=logging.WARNING)
tracker = get_cuda_rng_tracker()
torch.manual_seed(1)
tracker.add("heads", 2)
tracker.add("experts", 3)
drawn = {"default": [], "heads": [], "experts": []}
def draw(name):
    drawn[name].append(torch.rand(1).item())

draw("default")
for _ in range(2):
    with tracker.fork("heads"):
        draw("heads")
        with tracker.fork("experts"):
            draw("experts")
        draw("heads")
    draw("default")
try:
    with tracker.fork("heads"):
        draw("heads")
        raise KeyError
except KeyError:
    draw("default")
with generators.undisturbed():
    torch.rand(5)
    with tracker.fork("heads"):
        torch.rand(5)
draw("default")
with tracker.fork("heads"):
    draw("heads")

assert set(generators.states()) == {"default", "heads", "experts"}
for seed, (name, numbers) in enumerate(drawn.items(), start=1):
    torch.manual_seed(seed)
    assert numbers == [torch.rand(1).item() for _ in numbers], name

# a recorded layer goes on advancing the generators that it was recorded with: they stay the same
held = {name: torch.Generator().manual_seed(7) for name in ("heads", "experts")}
tracker.set_states(dict(held))
before = generators.states()
first = torch.rand(3, generator=held["heads"])
with generators.undisturbed():
    second = torch.rand(3, generator=held["heads"])
assert torch.equal(second, torch.rand(3, generator=held["heads"])) and not torch.equal(first, second)
generators.set_states(before)
assert all(tracker.get_states()[name] is one for name, one in held.items())
assert torch.equal(first, torch.rand(3, generator=held["heads"]))
"""


def test_each_part_of_the_model_draws_from_its_own_generator_and_nothing_warns() -> None:
    words = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        PROGRAM,
    ]  # not what Megatron-core misses when it is imported
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "RNG" not in done.stderr  # a build of torch for GPUs speaks of those that are missing
