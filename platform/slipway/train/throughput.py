"""Turns a step's seconds into rates and model FLOP utilization; reports the memory that a device needs."""

import psutil
import torch

from slipway.models import family
from slipway.plan import Plan


def memory_gib(device: torch.device) -> float:
    """Return the memory this rank has held, in GiB: the most on a GPU, on a CPU the resident memory of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return psutil.Process().memory_info().rss / 2**30


def rates(plan: Plan, seconds: float, peak: float, attended: float | None = None) -> dict[str, float]:
    """Return the rates of a step of so many seconds, by their names in metrics.jsonl.

    peak: of one device, TFLOP/s; attended: see models.network. mfu is model FLOP utilization: FLOP of forward and
    backward, nothing that is computed again, over what the device could have done in that time. Counted as in the
    papers on Megatron (arXiv 2104.04473 without its recomputation, which is the model FLOP of 2205.05198); for mfu_palm
    as in PaLM's (arXiv 2204.02311, appendix B). Either counts the whole square of attention, of which a causal model
    needs half; for documents kept apart, the square of each; for a layer with a sliding window, each token with as many
    tokens as the window has.
    """
    batch_size = plan.config.training.global_batch_size
    sample = family(plan.config).sample(plan.config)
    left_out = 0.0 if attended is None else batch_size * sample.attention_flops * (1 - attended)
    achieved = (plan.flops_per_step - left_out) / seconds / plan.world_size / 1e12
    found = {
        "step_seconds": seconds,
        "samples_per_second": batch_size / seconds,
        "units_per_second": batch_size * plan.units_per_sample / seconds,
        "tflops_per_device": achieved,
        "mfu": achieved / peak,
        "peak_tflops": peak,
    }
    if sample.palm_flops is not None:
        palm = batch_size * sample.palm_flops - left_out
        found["mfu_palm"] = palm / seconds / plan.world_size / 1e12 / peak
    return found if attended is None else {**found, "attended": attended}
