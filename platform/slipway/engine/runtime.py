"""Loading torch and Megatron-core for the device that the plan names, once, before any rank exists."""

import logging
import os
import warnings

from slipway import cores
from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.kernels.choice import Choice, choose
from slipway.kernels.probe import machine
from slipway.models import family

CONNECTIONS = "CUDA_DEVICE_MAX_CONNECTIONS"
_CONNECTIONS_BEFORE = os.environ.get(CONNECTIONS)  # what the user has set, before any run of this process


def load_torch(config: RunConfig, ranks_here: int) -> list[Choice]:
    """Import what ranks need; on CPU make Megatron-core run there and share the cores between the ranks.

    Returns which backend computes what; raises UserError where one that was asked for cannot be used.
    """
    kind = config.cluster.device.kind
    chosen = choose(config, machine(kind), family(config)) if kind == "cpu" else []  # before anything slow
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported: CPU ranks touch no GPU
        wait_without_spinning()
    else:  # ask the driver's library, not CUDA, whether there are GPUs: ranks are forked after this
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    # what Megatron-core does with torch's older names is not for people to read at every start
    warnings.filterwarnings("ignore", module=r"megatron\.")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    warnings.filterwarnings("ignore", category=FutureWarning, message="Please use DTensor instead")
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
    logging.getLogger("megatron.core.dist_checkpointing.strategies.common").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each optional package that is not installed
        import torch

        if config.parallelism.data_parallel_sharding_strategy:
            import torch._dynamo  # distributed tensors do, for their shapes: here once, not in every forked rank
        if kind == "cpu":
            from slipway.engine.megatron import cpu_adapter

            torch.set_num_threads(max(1, cores.usable() // ranks_here))
            cpu_adapter.install()
        elif not torch.cuda.is_available():
            raise UserError(
                "cluster.device.kind",
                f"cuda (cluster={config.cluster.name}), but torch {torch.__version__} finds no GPU here",
                use="cluster=local on a machine without one",
            )
        else:
            here = machine(kind)
            connections = device_connections(config.parallelism, here.compute_capability, _CONNECTIONS_BEFORE)
            if connections is not None:
                os.environ[CONNECTIONS] = connections  # read when a rank first uses its GPU
            elif _CONNECTIONS_BEFORE is None:
                os.environ.pop(CONNECTIONS, None)  # as an earlier run in this process wanted it
            chosen = choose(config, here, family(config))  # hides what is broken from Megatron-core
        from slipway.models import network

        network(config)
    return chosen


def device_connections(
    layout: Parallelism, capability: tuple[int, int] | None, found: str | None
) -> str | None:
    """What CUDA_DEVICE_MAX_CONNECTIONS should be, the number of queues into a GPU; None: leave it as it is.

    The rules of Megatron-LM's arguments. Until Blackwell, tensor- and context-parallel ranks use one queue, so that
    what is sent gets ahead of what is computed meanwhile; FSDP needs more. capability: of the GPU, None: not known.
    found: as it is now, which stays. Raises UserError where FSDP could not work with it.
    """
    if layout.data_parallel_sharding_strategy:
        if found == "1":
            raise UserError(
                CONNECTIONS,
                "is 1 in the environment, which does not work with "
                f"parallelism.data_parallel_sharding_strategy={layout.data_parallel_sharding_strategy} (a rule of "
                "Megatron-LM: FSDP communicates while it computes)",
                do="unset it, or set the strategy to null",
            )
        return None
    one_queue = layout.tensor_model_parallel_size > 1 or layout.context_parallel_size > 1
    old = capability is None or capability < (10, 0)
    return "1" if found is None and one_queue and old else None


def wait_without_spinning() -> None:
    """Let a rank's threads sleep while they wait for each other; to be called before torch is imported.

    GNU OpenMP's threads spin for milliseconds at the end of every parallel loop, on cores that other ranks and
    programs need: beside one busy program a step then takes several times as long (docs/performance.md). What the
    user has set is left alone.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"  # some microseconds: enough where nothing else runs
