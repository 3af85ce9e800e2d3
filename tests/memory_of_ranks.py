"""Trains one step on CPU ranks and notes what each of them held: the plan's memory, measured without its formulas.

Weights, gradients and optimizer states are added up from the tensors that are there after the update. Of everything
else the storage of every tensor that a forward or backward pass makes is noted with the operator that made it, and
those that are still alive are added up after each operator: `peak` is the most that there was at any moment, `kept` the
most at the beginning of a backward pass.

Reads a JSON object {name: overrides} from standard input, and writes {name: the ranks' numbers, or the error} to the
file named on the command line.
"""

import json
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import same_samples
from slipway.config.compose import compose
from slipway.engine.runtime import load_torch
from slipway.kernels.choice import backends
from slipway.plan import Plan, make_plan
from slipway.plan import switches as rules
from slipway.ranks.environment import Place
from slipway.ranks.local import run_local


def measure(overrides: list[str]) -> list[dict[str, int]]:
    """Bytes that each rank held, by kind; in the order of the ranks."""
    config = compose(overrides)
    plan = make_plan(config)
    plan = plan.with_kernels(backends(load_torch(config, plan.world_size)))
    plan = plan.with_switches(rules.values(plan.config))
    with TemporaryDirectory() as folder:

        def body(place: Place) -> int:
            (Path(folder) / str(place.rank)).write_text(json.dumps(_step(plan, place)))
            return 0

        run_local(plan.world_size, Path(folder) / "logs", body)
        return [json.loads((Path(folder) / str(rank)).read_text()) for rank in range(plan.world_size)]


def _step(plan: Plan, place: Place) -> dict[str, int]:
    from slipway.engine import engine_of
    from slipway.train import setup, step
    from slipway.train.stopping import Stopping

    engine: Any = engine_of(plan.config)
    device = engine.connect(plan, place)
    same_samples.use(plan.config)
    session: Any = setup.set_up(plan, device)
    batches = step.read(session, session.train_data, session.validation_start, None)
    watch = _Watch()
    with watch:
        outcome = step.compute(session, batches, Stopping())
    step.update_weights(session, 1e-3, outcome.grad_norm)
    session.close()
    return {**_held(session), "peak": watch.peak, "kept": watch.kept}


def _held(session: Any) -> dict[str, int]:
    """Weights, gradients and optimizer states of this rank, without padding."""
    from slipway.engine.megatron.fully_sharded import is_fully_sharded, stretches
    from slipway.engine.megatron.shards import shards

    held = Counter[str](parameters=0, gradients=0, optimizer_states=0)
    for chunk in session.model.chunks:
        if is_fully_sharded(chunk):
            for parameter, start, end, _ in stretches(chunk):
                index = chunk.param_and_grad_buffer.param_to_param_group[parameter]
                group = chunk.param_and_grad_buffer.parameter_groups[index]
                for kind, buffer in (
                    ("parameters", group.model_weight_buffer),
                    ("gradients", group.main_grad_buffer),
                ):
                    elements = end - start if buffer.is_data_distributed else parameter.numel()
                    held[kind] += elements * buffer.data.element_size()
        else:
            held["parameters"] += sum(p.nbytes for p in chunk.parameters())
            held["gradients"] += sum(p.main_grad.nbytes for p in chunk.parameters())
    for shard in shards(session.model.optimizer, session.plan.trained):
        if shard.end > shard.start:
            like = [state for state in shard.states().values() if state.numel() == shard.end - shard.start]
            copy = [shard.kept()] if shard.has_main_copy or shard.cut else []
            held["optimizer_states"] += sum(tensor.nbytes for tensor in [*like, *copy])
    return dict(held)


class _Watch:
    """Within, notes what forward and backward passes have alive."""

    def __init__(self) -> None:
        import torch
        from megatron.core.distributed.fsdp.src.megatron_fsdp import param_and_grad_buffer as fsdp
        from megatron.core.pipeline_parallel import schedules
        from torch.utils._python_dispatch import TorchDispatchMode

        watch = self
        self.alive: dict[int, tuple[Any, int]] = {}  # address -> reference, bytes
        self.peak = self.kept = 0

        class Made(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                result = func(*args, **(kwargs or {}))
                watch.note(_storages(result), _storages((args, kwargs)))
                watch.count()
                return result

        self.mode: Any = Made()
        backward: Any = schedules.backward_step

        def begin(*words: Any, **named: Any) -> Any:
            watch.kept = max(watch.kept, watch.count())
            return backward(*words, **named)

        def gathering(allocate: Any) -> Any:
            def gather(*words: Any, **named: Any) -> Any:
                bucket = allocate(*words, **named)
                watch.note(_storages(bucket.data), {})  # there before, and filled again
                return bucket

            return gather

        resize: Any = torch.UntypedStorage.resize_

        def resized(storage: Any, size: int) -> Any:  # what is computed again leaves an empty storage
            result = resize(storage, size)
            if found := watch.alive.get(storage._cdata):
                watch.alive[storage._cdata] = (found[0], size)
            return result

        torch.UntypedStorage.resize_ = resized  # type: ignore[method-assign]
        schedules.backward_step = begin
        for allocator in (fsdp.TemporaryBucketAllocator, fsdp.StorageResizeBasedBucketAllocator):
            allocator.allocate = gathering(allocator.allocate)

    def note(self, found: dict[int, Any], given: dict[int, Any]) -> None:
        """Note the storages of results that were none of an argument's."""
        from torch.multiprocessing.reductions import StorageWeakRef

        for key, storage in found.items():
            if key not in given and key not in self.alive:  # it holds an address, so that it is no other's
                self.alive[key] = (StorageWeakRef(storage), storage.nbytes())

    def count(self) -> int:
        """Bytes alive now."""
        found = self._alive()
        if found > self.peak:
            time.sleep(0.001)  # gloo's thread lets go of what it has sent, a moment after it is waited for
            found = self._alive()
            self.peak = max(self.peak, found)
        return found

    def _alive(self) -> int:
        for key in [key for key, (reference, _) in self.alive.items() if reference.expired()]:
            del self.alive[key]
        return sum(size for _, size in self.alive.values())

    def __enter__(self) -> None:
        self.mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.mode.__exit__(*error)


def _storages(values: Any) -> dict[int, Any]:
    import torch
    from torch.utils._pytree import tree_leaves

    tensors = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
    return {storage._cdata: storage for storage in (tensor.untyped_storage() for tensor in tensors)}


def main() -> None:
    """Measure each in turn."""
    found: dict[str, Any] = {}
    for name, overrides in json.load(sys.stdin).items():
        try:
            found[name] = measure(overrides)
        except Exception:  # each has its own verdict
            found[name] = {"error": traceback.format_exc()}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
