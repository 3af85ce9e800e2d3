"""Drives the trainer's GPU path where there is no GPU, through one training step on tensors without numbers.

Everything is the trainer's own: configuration, plan, choice of kernels, process groups, model, data parallelism,
reading, schedule, optimizer. One process is one rank of many: a fake process group sends nothing.

Reads a JSON object {name: [rank, overrides]} from standard input, and writes {name: what there was, or the error}
to the file named on the command line.
"""

import functools
import json
import os
import sys
import traceback
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import fake_device

fake_device.install()

import numpy  # noqa: E402
import torch  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402

from slipway.config.compose import compose  # noqa: E402
from slipway.data.text.dataset import Dataset  # noqa: E402
from slipway.data.text.kind import Text  # noqa: E402
from slipway.engine.runtime import as_trained, load_torch  # noqa: E402
from slipway.errors import UserError  # noqa: E402
from slipway.kernels.spans import spans_of_samples  # noqa: E402
from slipway.plan import make_plan  # noqa: E402
from slipway.plan.gpu_variables import CONNECTIONS  # noqa: E402
from slipway.ranks.environment import Place  # noqa: E402


class Samples(Dataset):
    """A data set that gives the same sample always."""

    def __init__(self, config: Any) -> None:
        self.length = config.data.sequence_length
        with fake_device.real_tensors():
            super().__init__({}, self.length, config.data, end=0)

    def __getitem__(self, draw: Any) -> dict[str, torch.Tensor]:
        with fake_device.real_tensors():
            return self.sample(torch.ones(self.length + 1, dtype=torch.int64))


def drive(rank: int, overrides: list[str]) -> dict[str, Any]:
    """One rank's set-up and first step; what kinds of tensors it held, and for what it waited."""
    config = compose(overrides)
    os.environ.pop(CONNECTIONS, None)  # as the run before this one in the same process has set it
    chosen = load_torch(config, 8)
    plan = as_trained(make_plan(config), chosen)

    from megatron.core.distributed import FullyShardedDataParallel
    from torch.distributed.device_mesh import DeviceMesh

    from slipway.data import reader
    from slipway.engine.megatron import groups as distributed
    from slipway.engine.megatron.engine import ENGINE
    from slipway.kernels import attention
    from slipway.models.gpt import network
    from slipway.train import setup, step
    from slipway.train.stopping import Stopping

    assert "slipway.engine.megatron.cpu_adapter" not in sys.modules

    _share_tokens_out_evenly()
    recorded = _note_recordings()
    distributed._join = _join
    torch.distributed.all_gather_object = _say_the_same
    ahead: Any = reader._Ahead  # in this thread: in another one tensors would not be fake
    ahead.start, ahead.join = ahead.run, lambda *_: None
    if config.parallelism.data_parallel_sharding_strategy:
        # ranks are looked up in meshes of them
        fake_device.with_numbers(FullyShardedDataParallel, "_init_dist_index")
        fake_device.with_numbers(DeviceMesh, "mesh")
    device = ENGINE.connect(plan, Place(rank, rank, plan.world_size, "127.0.0.1", 0))
    try:
        with fake_device.fake_tensors() as numbers:
            Text.open = lambda kind, config, split, fields=None: Samples(config)  # type: ignore[method-assign]
            network.spans_of_samples = _two_documents
            attention._lower_right = _mask
            session = setup.set_up(plan, device)
            set_up_on_cpu = dict(numbers.on_cpu)
            for counts in (numbers.waits, numbers.on_cpu, numbers.held_up):
                counts.clear()
            first = session.validation_start
            second = first.advance(config.training.global_batch_size)
            step.read(session, session.train_data, first, second)
            batches = step.read(session, session.train_data, second, None)
            outcome = step.compute(session, batches, Stopping())
            step.update_weights(session, 1e-3, outcome.grad_norm)
            switched = _switched(session.model)
            waits, on_cpu, held_up = dict(numbers.waits), dict(numbers.on_cpu), dict(numbers.held_up)
            held, widths = _held(session), _widths(session.model)
            step.validate(session, 1, MagicMock(), 0)
            if plan.data_parallel_size == 1 or not config.parallelism.use_distributed_optimizer:
                snapshotter = session.model.snapshotter(beside=True)
                held["snapshot"] = _copied(
                    snapshotter.take()
                )  # of what other ranks hold they would have to tell
            session.close()
    finally:
        ENGINE.disconnect()
    return {
        "held": held,
        "waits": waits,
        "on_cpu": on_cpu,
        "held_up": held_up,
        "set_up_on_cpu": set_up_on_cpu,
        "widths": widths,
        "switches": switched | {CONNECTIONS: os.environ.get(CONNECTIONS, "unset")},
        "said": plan.switches,
        "recorded": recorded,
        "kernels": {choice.operator: choice.backend for choice in chosen},
        "own": sorted(numbers.own),
    }


def _switched(model: Any) -> dict[str, Any]:
    """What Megatron-core was told of the switches."""
    chunk = model.chunks[0]
    names = ("overlap_p2p_comm", "deallocate_pipeline_outputs", "moe_token_dispatcher_type")
    names += ("tp_comm_overlap", "cuda_graph_impl")
    of_gradients = ("bucket_size", "pad_buckets_for_high_nccl_busbw")
    again = {"recompute_modules": ", ".join(_computed_again(chunk))}
    return (
        {name: getattr(chunk.config, name) for name in names}
        | {name: getattr(chunk.ddp_config, name) for name in of_gradients}
        | again
    )


def _widths(model: Any) -> list[int]:
    """All sizes of the linear layers' weights within transformer layers, but for experts."""
    return sorted(
        {
            size
            for chunk in model.chunks
            for name, weight in chunk.named_parameters()
            if ".linear_" in name and weight.dim() == 2
            for size in weight.shape
        }
    )


def _computed_again(chunk: Any) -> list[str]:
    """Modules of a transformer layer, by what was built."""
    from megatron.core.transformer.transformer_layer import TransformerLayer

    from slipway.kernels.experts import GroupedExperts
    from slipway.kernels.recompute import RecomputedMLP

    layer = next(module for module in chunk.modules() if isinstance(module, TransformerLayer))
    found = ["norm"] if layer.recompute_input_layernorm and layer.recompute_pre_mlp_layernorm else []
    found += ["attention"] if layer.self_attention.checkpoint_core_attention else []
    for module in layer.modules():
        if isinstance(module, RecomputedMLP):
            found.append("mlp" if module.product else "activation")
        if isinstance(module, GroupedExperts) and module.recompute:
            found.append(module.recompute)
    return found


def _held(session: Any) -> dict[str, list[str]]:
    """Devices and dtypes of what the rank holds after a step."""
    from slipway.engine.megatron.fully_sharded import is_fully_sharded
    from slipway.engine.megatron.shards import shards

    held: dict[str, set[str]] = defaultdict(set)
    for chunk in session.model.chunks:
        buffer = chunk.param_and_grad_buffer if is_fully_sharded(chunk) else None
        for parameter in chunk.parameters():
            held["parameter"].add(_kind(parameter))
            if buffer is None:
                held["main_grad"].add(_kind(parameter.main_grad))
        for group in buffer.parameter_groups if buffer else []:
            held["main_grad"].add(_kind(group.main_grad_buffer.data))
        for each in chunk.module.buffers():
            held["buffer"].add(_kind(each))
    for shard in shards(session.model.optimizer, session.plan.trained):
        if shard.end > shard.start:
            for name, tensor in [*shard.states().items(), ("main", shard.kept())]:
                held[name].add(_kind(tensor))
    return {name: sorted(kinds) for name, kinds in held.items()}


def _copied(snapshot: Any) -> list[str]:
    """Devices and dtypes of what a checkpoint is made from."""
    tensors = [entry.data for entry in snapshot.model.values()]
    for piece in snapshot.optimizer:
        tensors += piece.held.values()
    return sorted({_kind(tensor) for tensor in tensors})


def _note_recordings() -> list[str]:
    """Which passes of layers Megatron-core would record after the first step; recording itself is for a GPU."""
    from megatron.core.pipeline_parallel import schedules
    from megatron.core.transformer import cuda_graphs

    record: Any = cuda_graphs._CudagraphGlobalRecord
    supported = cuda_graphs._check_supported_type
    noted: list[str] = []

    def note() -> None:
        noted.extend(entry[1] for entry in record.cudagraph_record)
        record.cudagraph_record = []

    def check(meta: Any) -> None:
        if not issubclass(meta.type, torch.Tensor):  # it knows the class of real ones alone
            supported(meta)

    schedules.create_cudagraphs = note  # type: ignore[assignment]
    cuda_graphs._check_supported_type = check
    return noted


def _join(place: Place, backend: str) -> None:
    assert backend == "nccl"
    torch.distributed.init_process_group(
        "fake", store=FakeStore(), rank=place.rank, world_size=place.world_size
    )


def _share_tokens_out_evenly() -> None:
    """How many tokens go to whom are numbers, of which fake tensors have none: to each expert as many."""
    from megatron.core.transformer.moe import token_dispatcher

    def move(tensor: Any, as_numpy: bool = False, record_stream: bool = False) -> Any:
        return tensor.to("cpu") if isinstance(tensor, torch.Tensor) else tensor

    def share(self: Any, point: str, tokens_per_expert: Any = None) -> Any:
        moved = synchronize(self, point, tokens_per_expert)
        if point == self.cuda_dtoh_point and self.ep_size * self.tp_size > 1:
            rows, ranks = self.num_out_tokens, self.ep_size
            self.input_splits = self.output_splits = numpy.full(ranks, rows // ranks)
            self.output_splits_tp = numpy.full(self.tp_size, rows)
            local, senders = self.num_local_experts, self.tp_size * ranks
            self.num_global_tokens_per_local_expert = numpy.full((senders, local), rows // self.num_experts)
            chunks = numpy.arange(senders * local)
            self.sort_input_by_local_experts = chunks.reshape(senders, local).T.ravel()
            self.restore_output_by_local_experts = chunks.reshape(local, senders).T.ravel()
        return moved

    dispatcher: Any = token_dispatcher.MoEAlltoAllTokenDispatcher
    synchronize = dispatcher._maybe_dtoh_and_synchronize
    if not hasattr(synchronize, "__wrapped__"):
        token_dispatcher.maybe_move_tensor_to_cpu = move
        dispatcher._maybe_dtoh_and_synchronize = functools.wraps(synchronize)(share)


def _two_documents(document_starts: torch.Tensor, rank: int, size: int) -> torch.Tensor:
    """Where documents begin is a number, of which fake tensors have none: in the middle of each sample."""
    samples, length = document_starts.shape
    with fake_device.real_tensors():
        starts = (torch.arange(length) // (length // 2) * (length // 2)).repeat(samples, 1)
        return spans_of_samples(starts, rank, size)


def _mask(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """torch's word for it is a tensor of a class of its own, which cannot be fake."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def _say_the_same(told: list[Any], own: Any, group: Any = None) -> None:
    """Objects travel as bytes, of which fake tensors have none."""
    told[:] = [own] * len(told)


def _kind(tensor: Any) -> str:
    return f"{tensor.device} {tensor.dtype}".replace("torch.", "")


def main() -> None:
    """Drive each in turn."""
    found: dict[str, Any] = {}
    for name, (rank, overrides) in json.load(sys.stdin).items():
        try:
            found[name] = drive(rank, overrides)
        except UserError as error:
            found[name] = {"refused": error.parts(), "line": str(error)}
        except Exception:  # each has its own verdict
            found[name] = {"error": traceback.format_exc()}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
