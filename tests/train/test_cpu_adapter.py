"""What the CPU adapter changes in torch and Megatron-core."""

import subprocess
import sys

PROGRAM = """
from slipway.train import cpu_adapter
cpu_adapter.install()
import torch
from torch import distributed

distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
group = distributed.new_group()
backends = [each._get_backend(torch.device("cpu")) for each in (distributed.group.WORLD, group)]
print(*(backend.options._threads for backend in backends))

gathered, shard = torch.empty(4), torch.ones(4)
for _ in range(200):
    under_way = []
    for _ in range(100):
        with distributed._coalescing_manager(group, async_ops=True) as work:
            distributed.all_gather_into_tensor(gathered, shard, group=group)
        under_way.append(work)
    for work in under_way:
        work.wait()
assert torch.equal(gathered, shard)
"""


def test_gathers_under_way_do_not_corrupt_memory() -> None:
    """With torch's two threads a group about every second run of this ends in SIGABRT or SIGSEGV, on two cores."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 1\n"


FORKS = """
from slipway.train import cpu_adapter
cpu_adapter.install()
import logging
import torch
from megatron.core.tensor_parallel.random import CudaRNGStatesTracker

logging.basicConfig(level=logging.WARNING)
tracker = CudaRNGStatesTracker()
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
for seed, (name, numbers) in enumerate(drawn.items(), start=1):
    torch.manual_seed(seed)
    assert numbers == [torch.rand(1).item() for _ in numbers], name
assert set(tracker.get_states()) == {"heads", "experts"}
"""


def test_forks_draw_from_their_own_generator_and_warn_of_nothing() -> None:
    words = [sys.executable, "-W", "ignore", "-c", FORKS]  # not what Megatron-core misses when it is imported
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
