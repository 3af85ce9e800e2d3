"""The learning rate as a function of the step: nothing to store, nothing to restore."""

import math

from slipway.config.section import OptimizerSection


def learning_rate(optimizer: OptimizerSection, step: int, steps: int) -> float:
    """Return the learning rate of update `step` (1-based) of `steps`.

    Linear warm-up to lr at step lr_warmup_steps, then constant, linear, cosine (SGDR without restarts, arXiv
    1608.03983) or WSD (warm-up, stable, linear decay; MiniCPM, arXiv 2404.06395) down to min_lr.
    """
    peak, floor, warmup = optimizer.lr, optimizer.min_lr, optimizer.lr_warmup_steps
    if step <= warmup:
        return peak * step / warmup
    if optimizer.lr_decay_style == "constant":
        return peak
    start = warmup
    if optimizer.lr_decay_style == "WSD":
        start = steps - (optimizer.lr_wsd_decay_steps or 0)
        if step <= start:
            return peak
    progress = min(1.0, (step - start) / max(1, steps - start))
    if optimizer.lr_decay_style == "cosine":
        return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))
    return peak + (floor - peak) * progress
