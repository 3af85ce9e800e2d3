"""Load torch and the engine for the device that the plan names, once, before any rank exists."""

import functools
import os
import warnings

from slipway import cores
from slipway.config.schema import RunConfig
from slipway.engine import engine_of, preparation_of
from slipway.engine.malloc import keep_freed_memory
from slipway.errors import UserError
from slipway.kernels.choice import Choice, backends, choose
from slipway.kernels.probe import machine
from slipway.models import family
from slipway.plan import Plan, switches
from slipway.plan.gpu_variables import (
    CONNECTIONS,
    check_graph_variables,
    connections_switch,
    device_connections,
)
from slipway.plan.switches import Switch

_CONNECTIONS_BEFORE = os.environ.get(CONNECTIONS)  # the user's setting, before any run of this process


def load_torch(config: RunConfig, ranks_here: int) -> list[Choice]:
    """Import what ranks need and return each operator's backend; on a CPU, divide the cores among the ranks.

    Raises UserError if a requested backend cannot be used, or if torch finds no GPU for device kind cuda.
    """
    kind = config.cluster.device.kind
    prepare = preparation_of(config)
    chosen = choose(config, machine(kind), family(config)) if kind == "cpu" else []  # before anything slow
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported: CPU ranks touch no GPU
        wait_without_spinning()
        keep_freed_memory()
    else:  # ask the driver's library, not CUDA, whether there are GPUs: ranks are forked after this
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    prepare.quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about optional packages that are not installed
        import torch

        _renew_threads_in_forks()
        prepare.adapt(config)
        if kind == "cpu":
            torch.set_num_threads(max(1, cores.usable() // ranks_here))
        elif not torch.cuda.is_available():
            raise UserError(
                "cluster.device.kind",
                f"cuda (cluster={config.cluster.name}), but torch {torch.__version__} finds no GPU here",
                use="cluster=local on a machine without one",
            )
        else:
            here = machine(kind)
            check_graph_variables(config.parallelism, here.compute_capability, os.environ)
            connections = device_connections(config.parallelism, here.compute_capability, _CONNECTIONS_BEFORE)
            if connections is not None:
                os.environ[CONNECTIONS] = connections  # read when a rank first uses its GPU
            elif _CONNECTIONS_BEFORE is None:
                os.environ.pop(CONNECTIONS, None)  # an earlier run in this process may have set it
            chosen = choose(config, here, family(config))  # hides broken packages from Megatron-core
        # modules that every rank needs are imported once, before there are ranks
        from slipway.models import network_of
        from slipway.optimizers import builder

        for part in (engine_of, network_of, builder):
            part(config)
    return chosen


def as_trained(plan: Plan, chosen: list[Choice]) -> Plan:
    """Return the plan with this machine's kernels and switches, as ranks train it; chosen: load_torch's result."""
    plan = plan.with_kernels(backends(chosen))
    return plan.with_switches({one.name: one.value for one in switches_of(plan)})


def switches_of(plan: Plan) -> list[Switch]:
    """Return the switches of a run on this machine, after load_torch; plan: with its kernels named.

    Switches that the plan has set by rule do not count as forced: the reasons stay those of the rules.
    """
    config = plan.model_copy(update={"switches": {}}).trained
    kind = config.cluster.device.kind
    chosen = switches.switches(config, switches.installed(), machine(kind))
    if kind == "cuda":
        capability = machine(kind).compute_capability
        chosen.append(connections_switch(config.parallelism, capability, _CONNECTIONS_BEFORE))
    return chosen


@functools.cache
def _renew_threads_in_forks() -> None:
    """Give every process forked from this one a new thread pool before it starts a thread.

    torch replaces the pool that a fork has lost when a thread next asks for it, and does so without a lock. The first
    backward pass starts one thread per device (a CUDA build has eight as soon as a fake GPU was made, as DTensor does),
    and all of them ask at once: most forks then abort with "Invalid thread pool!".
    """
    import torch

    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(torch.get_num_threads()))


def wait_without_spinning() -> None:
    """Let a rank's threads sleep while they wait for each other; call it before torch is imported.

    GNU OpenMP's threads spin for milliseconds at the end of every parallel loop, on cores that other ranks and programs
    need: next to one busy program a step then takes several times as long (docs/dev/performance.md). The user's own
    settings are not changed.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"  # some microseconds: enough if nothing else runs
