"""Slipway: one run description for training foundation models, on a laptop, Slurm or Kubernetes."""

__version__ = "0.1.0"
