"""A run's model in this process alone, whatever layout trained it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from slipway.checkpoint import store
from slipway.config.compose import compose
from slipway.config.schema import Kernels, Parallelism, RunConfig
from slipway.engine import engine_of
from slipway.engine.runtime import as_trained, load_torch
from slipway.plan import Plan, make_plan
from slipway.ranks.environment import Place, listening_socket

if TYPE_CHECKING:
    import torch

    from slipway.engine.engine import Rank

Kind = Literal["cpu", "cuda"]
ONE_PROCESS = {"nodes": 1, "devices_per_node": 1, "elastic": False}
PLAIN = {"fp8": None, "fp8_recipe": None, "recompute": "none", "recompute_modules": None}


def alone(config: RunConfig, kind: Kind) -> RunConfig:
    """Return the configuration of this model and data for one process on a device of this kind; on a CPU in fp32."""
    cluster, training = config.cluster, config.training
    if cluster.device.kind != kind:
        cluster = compose([f"cluster={'local' if kind == 'cpu' else 'local_gpu'}"]).cluster
    precision = "fp32" if kind == "cpu" else training.precision
    batch = {"global_batch_size": training.micro_batch_size, "precision": precision}
    return config.model_copy(
        update={
            "cluster": cluster,
            "resources": config.resources.model_copy(update=ONE_PROCESS),
            "parallelism": Parallelism(),
            "kernels": Kernels(),
            "training": training.model_copy(update=PLAIN | batch),
        }
    )


@dataclass(frozen=True)
class World:
    """A world of one rank, in which models are built."""

    plan: Plan
    device: "torch.device"

    def rank(self, checkpoint: Path) -> "Rank":
        """Return the whole model with a checkpoint's weights, in the form in which an engine runs it.

        Raises Damaged.
        """
        from slipway.checkpoint.load import load

        rank = engine_of(self.plan.config).build(self.plan, self.device, optimize=False, initial=False)
        load(self.plan, rank, checkpoint, store.read_info(checkpoint))
        return rank

    def trained(self, checkpoint: Path) -> "torch.nn.Module":
        """Return the whole model with a checkpoint's weights. Raises Damaged."""
        return whole(self.rank(checkpoint))

    def untrained(self, seed: int) -> "torch.nn.Module":
        """Return the whole model as it is before the first step of a run with this seed."""
        config = self.plan.config
        training = config.training.model_copy(update={"seed": seed})
        plan = self.plan.model_copy(update={"config": config.model_copy(update={"training": training})})
        return whole(engine_of(config).build(plan, self.device, optimize=False))


@contextmanager
def world(config: RunConfig) -> Iterator[World]:
    """Open a world of one process for a configuration, and close it at the end; imports torch. Raises UserError."""
    plan = make_plan(config)
    plan = as_trained(plan, load_torch(config, ranks_here=1))
    listener = listening_socket()
    port = listener.getsockname()[1]
    place = Place(0, 0, 1, "127.0.0.1", port, own_store=True, store_fd=listener.detach())
    engine = engine_of(config)
    device = engine.connect(plan, place)
    try:
        yield World(plan, device)
    finally:
        engine.disconnect()


def whole(rank: "Rank") -> "torch.nn.Module":
    """Return the model of a rank that holds all of it, for inspection and not for training."""
    (module,) = rank.modules
    return module.eval().requires_grad_(False)
