"""Environment variables that a layout requires for CUDA and NCCL. Pure. Imports no torch."""

from collections.abc import Mapping

from slipway.config.schema import Parallelism
from slipway.errors import UserError
from slipway.plan.switches import Switch

CONNECTIONS = "CUDA_DEVICE_MAX_CONNECTIONS"
"""The number of queues into a GPU."""
REGISTER = "NCCL_GRAPH_REGISTER"
"""Whether NCCL registers the buffers of recorded transfers."""


def device_connections(
    layout: Parallelism, capability: tuple[int, int] | None, found: str | None
) -> str | None:
    """Return the value for CUDA_DEVICE_MAX_CONNECTIONS; None: leave it as it is.

    The rules of Megatron-LM's arguments. Until Blackwell, tensor- and context-parallel ranks use one queue, so that
    what is sent gets ahead of what is computed meanwhile; FSDP needs more. capability: of the GPU, None: not known.
    found: the present value, which stays. Raises UserError if FSDP, or tp_comm_overlap, could not work with it.
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
    if not _one_queue(layout, capability):
        return None
    if layout.tp_comm_overlap and found not in (None, "1"):
        raise UserError(
            CONNECTIONS,
            f"is {found} in the environment, which does not work with parallelism.tp_comm_overlap=true before "
            "Blackwell (a product would start before the transfer that it is to hide)",
            do="unset it, or set tp_comm_overlap=false",
        )
    return "1" if found is None else None


def connections_switch(layout: Parallelism, capability: tuple[int, int] | None, found: str | None) -> Switch:
    """Return the line on CUDA_DEVICE_MAX_CONNECTIONS for people and for the record; see device_connections."""
    if found is not None:
        return Switch(CONNECTIONS, found, "set in the environment")
    if device_connections(layout, capability, None):
        return Switch(CONNECTIONS, "1", "what is sent gets ahead of what is computed meanwhile")
    if layout.data_parallel_sharding_strategy:
        why = "FSDP communicates while it computes"
    elif _exchanging(layout):
        why = "from Blackwell on the order of queues does not matter"
    else:
        why = "no tensor- or context-parallel ranks"
    return Switch(CONNECTIONS, "unset", why)


def check_graph_variables(
    layout: Parallelism, capability: tuple[int, int] | None, environment: Mapping[str, str]
) -> None:
    """Raise UserError if recorded transfers would read memory that is no longer theirs: a rule of Megatron-core."""
    grows = "expandable_segments:True" in environment.get("PYTORCH_CUDA_ALLOC_CONF", "")
    old = capability is None or capability < (10, 0)
    if layout.cuda_graph_impl == "local" and grows and old and environment.get(REGISTER) != "0":
        raise UserError(
            REGISTER,
            "lets NCCL read freed memory before Blackwell, with parallelism.cuda_graph_impl=local and "
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True (a rule of Megatron-core)",
            value=environment.get(REGISTER),
            use="0",
        )


def _exchanging(layout: Parallelism) -> bool:
    return layout.tensor_model_parallel_size > 1 or layout.context_parallel_size > 1


def _one_queue(layout: Parallelism, capability: tuple[int, int] | None) -> bool:
    return _exchanging(layout) and (capability is None or capability < (10, 0))
