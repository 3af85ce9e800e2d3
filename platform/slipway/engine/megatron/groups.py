"""Process groups and device of one rank, from its place in the world."""

import os
from datetime import timedelta

import torch
from megatron.core import parallel_state
from torch.distributed.distributed_c10d import _set_pg_timeout

from slipway.engine.megatron import generators
from slipway.plan import Plan
from slipway.ranks import device as devices
from slipway.ranks import local as ranks
from slipway.ranks import rendezvous, signals
from slipway.ranks.environment import Place


def connect(plan: Plan, place: Place) -> torch.device:
    """Join the process groups of the plan's layout and return this rank's device. A signal meanwhile ends the rank."""
    cuda = plan.config.cluster.device.kind == "cuda"
    if cuda:
        ranks_here = place.machines(plan.config.resources.devices_per_node)[1]
        number, line = devices.of_rank(place, ranks_here, torch.cuda.device_count())
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
        if line and place.leads:
            print(line, flush=True)
    else:
        device = torch.device("cpu")
        if place.master_addr in ("127.0.0.1", "localhost"):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the host name may not resolve
    with signals.heeded(ranks.leave):
        _join(place, "nccl" if cuda else "gloo")
        _make_groups(plan)
    generators.prepare(recorded=plan.config.parallelism.cuda_graph_impl == "local")
    generators.seed(plan.config.training.seed)
    return device


def _make_groups(plan: Plan) -> None:
    _set_pg_timeout(rendezvous.COLLECTIVE_TIMEOUT)
    layout = plan.config.parallelism
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=layout.tensor_model_parallel_size,
        pipeline_model_parallel_size=layout.pipeline_model_parallel_size,
        virtual_pipeline_model_parallel_size=layout.virtual_stages if layout.virtual_stages > 1 else None,
        context_parallel_size=layout.context_parallel_size,
        expert_model_parallel_size=layout.expert_model_parallel_size,
        create_gloo_process_groups=False,
        distributed_timeout_minutes=int(rendezvous.COLLECTIVE_TIMEOUT.total_seconds() // 60),
    )


def _join(place: Place, backend: str) -> None:
    meeting = timedelta(seconds=rendezvous.LIMIT_SECONDS)
    if not place.own_store:  # torchrun has a store of its own at this address: let torch find out
        os.environ.update(MASTER_ADDR=place.master_addr, MASTER_PORT=str(place.master_port))
        torch.distributed.init_process_group(
            backend, init_method="env://", rank=place.rank, world_size=place.world_size, timeout=meeting
        )
        return
    store = torch.distributed.TCPStore(
        place.master_addr,
        place.master_port,
        place.world_size,
        is_master=place.rank == 0,
        timeout=meeting,
        wait_for_workers=False,
        master_listen_fd=place.store_fd if place.rank == 0 else None,
    )
    torch.distributed.init_process_group(
        backend, store=store, rank=place.rank, world_size=place.world_size, timeout=meeting
    )


def disconnect() -> None:
    """Leave all process groups."""
    parallel_state.destroy_model_parallel()
    torch.distributed.destroy_process_group()
