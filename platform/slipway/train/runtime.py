"""Loading torch and Megatron-core for the device that the plan names, once, before any rank exists."""

import os
import warnings

from slipway.config.schema import RunConfig
from slipway.errors import UserError


def load_torch(config: RunConfig, ranks_here: int) -> None:
    """Import what ranks need; on CPU make Megatron-core run there and share the cores between the ranks."""
    kind = config.cluster.device.kind
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported: CPU ranks touch no GPU
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Megatron-core reports each optional package that is not installed
        import torch

        if kind == "cpu":
            from slipway.train import cpu_adapter

            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks_here))
            cpu_adapter.install()
        elif not torch.cuda.is_available():
            raise UserError(
                f"cluster.device.kind: cuda (cluster={config.cluster.name}), but torch {torch.__version__} sees "
                "no GPU here; use cluster=local on a machine without one"
            )
        import slipway.train.loop
        from slipway.models import part

        part(config.model.family, "model")
