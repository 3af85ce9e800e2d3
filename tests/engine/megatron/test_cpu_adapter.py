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


DEVICES = """
from slipway.engine.megatron import cpu_adapter
cpu_adapter.install()
import torch

named = "cuda", "cuda:1", torch.device("cuda", 0), 0, torch.cuda.current_device()
for device in named:
    made = torch.zeros(2, device=device), torch.arange(2, device=device), torch.tensor([1], device=device)
    alike = torch.empty_like(made[0], device=device), made[0].new_ones(2, device=device)
    layer = torch.nn.Linear(2, 2, device=device)
    moved = made[0].to(device=device), made[0].to(torch.device("cuda"), torch.bfloat16), layer.to("cuda").weight
    assert {tensor.device.type for tensor in (*made, *alike, layer.weight, *moved)} == {"cpu"}, device
assert not torch.empty(2, pin_memory=True).is_pinned()
assert moved[1].dtype == torch.bfloat16 and moved[1].type() == "torch.cuda.BFloat16Tensor"
assert torch.zeros(2, dtype=torch.int).type(torch.float32).type() == "torch.cuda.FloatTensor"
with torch.device("meta"):
    assert torch.zeros(2).is_meta and torch.nn.Linear(2, 2).weight.is_meta
with cpu_adapter.Devices():
    assert torch.device(f"cuda:{torch.cuda.current_device()}").type == "cpu"
    assert torch.zeros(2, device="cuda").type() == "torch.cuda.FloatTensor"
print("modes:", torch._C._len_torch_function_stack())
"""


def test_whatever_cuda_device_is_named_tensors_are_on_cpu_and_operations_are_not_watched() -> None:
    done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "modes: 0\n"  # each would be asked at every operation
