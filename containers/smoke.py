"""The smoke test that runs inside the image: is what is in here whole, and does it compute? Below a minute.

Usage: smoke.py. One line for each part; exit code 1 where one fails. Writes below SLIPWAY_CACHE or /tmp only.
"""

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RANKS = 4  # at most: on GPUs as many as there are
PACKAGES = ("slipway", "torch", "megatron-core", "transformer-engine", "apex", "triton", "numpy", "dumb-init")
STEP = [
    "model=demo",
    "model.vocab_size=257",
    "model.max_position_embeddings=32",
    "training.steps=1",
    "training.global_batch_size=4",
    "training.micro_batch_size=1",
    "optimizer.lr_warmup_steps=0",
    "validation.steps=0",
    "data=files",
    "data.tokenizer.kind=byte",
    "data.sources.files.inputs=[text.txt]",
    "data.dir=data",
    "run.dir=run",
]


def main() -> int:
    """Run all parts in a folder of their own."""
    started = time.monotonic()
    parts: list[tuple[str, Callable[[], str]]] = [
        ("versions", versions),
        ("libraries", libraries),
        ("kernels", kernels),
        ("data helper", data_helper),
        ("collective", collective),
        ("optimizer step of the demo model", optimizer_step),
    ]
    caches = Path(os.environ.get("SLIPWAY_CACHE", tempfile.gettempdir()))
    caches.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="smoke-", dir=caches) as folder:
        os.chdir(folder)
        for name, part in parts:
            try:
                print(f"ok    {name}: {part()}", flush=True)
            except Exception as error:  # the part is named, whatever it was
                print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
                return 1
            finally:
                os.chdir(folder)
        os.chdir("/")
    print(f"ok    all, in {time.monotonic() - started:.0f} s, as user {os.getuid()}")
    return 0


def versions() -> str:
    """Of what decides results."""
    found = [f"python {platform.python_version()} ({platform.machine()})"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def libraries() -> str:
    """CUDA, ROCm and NCCL as torch was built with them, and the C++ ABI that extensions must have."""
    import torch
    from torch.cuda import nccl

    found = [f"C++11 ABI {torch.compiled_with_cxx11_abi()}"]
    found.append(f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA")
    found.append(f"ROCm {torch.version.hip}" if torch.version.hip else "no ROCm")
    if torch.distributed.is_nccl_available():
        found.append(f"NCCL {'.'.join(map(str, nccl.version()))}")
    if torch.backends.cudnn.is_available():
        found.append(f"cuDNN {torch.backends.cudnn.version()}")
    found.append(f"{gpus()} GPUs here")
    return ", ".join(found)


def gpus() -> int:
    """GPUs that can be used, counted without starting CUDA: ranks are forked later."""
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def ranks() -> int:
    """Four, on GPUs no more than there are: one, two or four."""
    found = gpus()
    return min(RANKS, 1 << (found.bit_length() - 1)) if found else RANKS


def kernels() -> str:
    """Which backends can compute each operator on this machine."""
    cluster = "local_gpu" if gpus() else "local"
    rows = json.loads(slipway("kernels", f"cluster={cluster}", "--json"))["kernels"]
    return "; ".join(f"{row['operator']} {' or '.join(row['usable'])}" for row in rows)


def data_helper() -> str:
    """Megatron-core's compiled helper: built in the image, because a job could not write it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each optional package that is not here
        from megatron.core.datasets import helpers_cpp  # type: ignore[attr-defined]

    return Path(helpers_cpp.__file__).name


def collective() -> str:
    """A sum and a gather over ranks in processes of their own."""
    from slipway.ranks.environment import Place
    from slipway.ranks.local import run_local

    backend, world = "nccl" if gpus() else "gloo", ranks()

    def rank(place: Place) -> int:
        import torch
        from torch import distributed

        device = torch.device("cpu")
        if backend == "nccl":
            device = torch.device("cuda", place.local_rank)
            torch.cuda.set_device(device)
        else:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the host's name may not resolve
        store = distributed.TCPStore(
            place.master_addr,
            place.master_port,
            place.world_size,
            is_master=place.rank == 0,
            wait_for_workers=False,
            master_listen_fd=place.store_fd if place.rank == 0 else None,
        )
        distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.world_size)
        total = torch.full((1000,), float(place.rank + 1), device=device)
        distributed.all_reduce(total)
        gathered = [torch.zeros(1, device=device) for _ in range(place.world_size)]
        distributed.all_gather(gathered, torch.full((1,), float(place.rank), device=device))
        if not (total == world * (world + 1) / 2).all() or [int(g) for g in gathered] != list(range(world)):
            raise RuntimeError(f"rank {place.rank} got {total[0].item()} and {gathered}")
        distributed.destroy_process_group()
        return 0

    run_local(world, Path("logs"), rank)
    return f"{backend} over {world} ranks, sum and gather as expected"


def optimizer_step() -> str:
    """One step of the trainer itself, tensor and pipeline parallel where there are ranks for it."""
    Path("text.txt").write_text((Path(json.__file__).parent / "decoder.py").read_text(), encoding="utf-8")
    words = [*STEP, f"cluster={'local_gpu' if gpus() else 'local'}", f"resources.devices_per_node={ranks()}"]
    words += [f"parallelism.tensor_model_parallel_size={2 if ranks() > 1 else 1}"]
    words += [f"parallelism.pipeline_model_parallel_size={2 if ranks() > 2 else 1}"]
    slipway("data", *words)
    slipway("train", *words)
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    step = next(line for line in lines if line["kind"] == "train")
    if not (math.isfinite(step["loss"]) and step["grad_norm"] > 0):
        raise RuntimeError(f"loss {step['loss']}, gradient norm {step['grad_norm']}")
    return f"loss {step['loss']:.4f}, gradient norm {step['grad_norm']:.3f}, checkpoint written"


def slipway(*words: str) -> str:
    """A slipway command's standard output; its last words where it fails."""
    done = subprocess.run([sys.executable, "-m", "slipway", *words], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise RuntimeError(f"slipway {words[0]} ended with {done.returncode}: {last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
