"""One layout that the search looks at, and the configuration that has it. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from slipway.config.schema import Parallelism, RunConfig, Training

SHARDINGS: dict[str, tuple[bool, str | None]] = {
    "none": (False, None),
    "zero1": (True, None),
    "zero2": (True, "optim_grads"),
    "zero3": (True, "optim_grads_params"),
}
"""What is sharded over the replicas -> use_distributed_optimizer, data_parallel_sharding_strategy."""


class Candidate(NamedTuple):
    """The sizes that the search chooses; the data-parallel size follows from the devices."""

    tensor: int
    pipeline: int
    context: int
    expert: int
    virtual: int
    micro_batch: int
    sharding: str
    """A name of SHARDINGS."""
    recompute: str

    def replicas(self, world: int) -> int:
        """Return the data-parallel size on `world` devices."""
        return world // (self.tensor * self.pipeline * self.context)

    def shares(self, world: int) -> int:
        """Return the number of ranks over which all but the experts can be sharded: context x data."""
        return world // (self.tensor * self.pipeline)

    def fields(self, world: int) -> dict[str, Any]:
        """Return dotted field -> value, for every field that may be `auto`."""
        distributed, strategy = SHARDINGS[self.sharding]
        overlaps = self.shares(world) > 1
        return {
            "parallelism.tensor_model_parallel_size": self.tensor,
            "parallelism.pipeline_model_parallel_size": self.pipeline,
            "parallelism.virtual_pipeline_model_parallel_size": self.virtual if self.virtual > 1 else None,
            "parallelism.context_parallel_size": self.context,
            "parallelism.expert_model_parallel_size": self.expert,
            "parallelism.sequence_parallel": self.tensor > 1,
            "parallelism.use_distributed_optimizer": distributed,
            "parallelism.data_parallel_sharding_strategy": strategy,
            "parallelism.overlap_grad_reduce": overlaps or strategy is not None,
            "parallelism.overlap_param_gather": overlaps and distributed or strategy is not None,
            "training.micro_batch_size": self.micro_batch,
            "training.recompute": self.recompute,
        }


class Applied:
    """Builds the configurations of candidates without validation: every value is one that the schema allows."""

    def __init__(self, config: RunConfig, world: int) -> None:
        self.config, self.world = config, world
        self._switches = {
            name: getattr(config.parallelism, name.partition(".")[2])
            for name in Candidate(1, 1, 1, 1, 1, 1, "none", "none").fields(1)
            if name.startswith("parallelism.") and name not in config.auto
        }
        self._parallelism = lru_cache(maxsize=None)(self._make_parallelism)
        self._training = lru_cache(maxsize=None)(self._make_training)

    def __call__(self, candidate: Candidate) -> RunConfig:
        """Return the configuration with the candidate's layout; what the user has fixed stays as it is."""
        parallelism = self._parallelism(candidate._replace(micro_batch=1, recompute="none"))
        training = self._training(candidate.micro_batch, candidate.recompute)
        update: Mapping[str, Any] = {"parallelism": parallelism, "training": training, "auto": []}
        return self.config.model_copy(update=update)

    def _make_parallelism(self, candidate: Candidate) -> Parallelism:
        chosen = {
            name.partition(".")[2]: self._switches.get(name, value)
            for name, value in candidate.fields(self.world).items()
            if name.startswith("parallelism.")
        }
        return self.config.parallelism.model_copy(update=chosen)

    def _make_training(self, micro_batch: int, recompute: str) -> Training:
        modules = self.config.training.recompute_modules if recompute == "selective" else None
        return self.config.training.model_copy(
            update={
                "micro_batch_size": micro_batch,
                "recompute": recompute,
                "recompute_modules": modules,
            }
        )
