"""What the CPU adapter changes in torch."""

import subprocess
import sys

PROGRAM = """
from slipway.engine.megatron import cpu_adapter
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
