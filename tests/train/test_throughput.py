"""Rates and the peak that they are held against."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from slipway.config.compose import compose
from slipway.train.throughput import memory_gib, peak_tflops, rates

CPU = torch.device("cpu")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A world of one rank."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_rates_are_per_second_and_per_device() -> None:
    config = compose(["training.global_batch_size=8"])
    plan: Any = SimpleNamespace(config=config, flops_per_step=6e12, world_size=4, units_per_sample=32)
    assert rates(plan, seconds=0.5, peak=12.0) == {
        "step_seconds": 0.5,
        "samples_per_second": 16.0,
        "units_per_second": 512.0,
        "tflops_per_device": 3.0,
        "mfu": 0.25,
    }


@pytest.mark.parametrize(("precision", "peak"), [("fp32", 3.5), ("bf16", 7.0)])
def test_the_profiles_peak_counts_at_the_precision_of_training(precision: str, peak: float) -> None:
    known = ["cluster.device.peak_tflops_fp32=3.5", "cluster.device.peak_tflops_bf16=7"]
    assert peak_tflops(compose([*known, f"training.precision={precision}"]), CPU) == peak


def test_a_peak_that_nobody_knows_is_measured_and_draws_no_number_of_trainings(alone: None) -> None:
    config = compose(["cluster.device.peak_tflops_fp32=null"])
    before = torch.get_rng_state()
    measured = peak_tflops(config, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    size, matrix = 512, torch.randn(512, 512)
    started = time.process_time()
    for _ in range(20):
        torch.mm(matrix, matrix)
    own = 20 * 2 * size**3 / (time.process_time() - started) / 1e12
    assert own / 20 < measured < own * 20 * torch.get_num_threads()  # other programs run on this machine, too


def test_memory_is_what_the_process_holds() -> None:
    before = memory_gib(CPU)
    held = torch.ones(64, 2**20)  # 256 MiB, written to
    assert memory_gib(CPU) - before == pytest.approx(0.25, abs=0.05)
    del held
