"""Counts what a transformer layer keeps until its backward pass: all memory that its forward pass leaves alive.

Independent of the plan: every tensor that the layer makes is noted with its storage, and those that are still there
when the layer returns are added up, whatever holds them. Everything else is the trainer's own. One process is one
rank of many, with a process group that sends nothing: with numbers on a CPU, or on a GPU without them (fake_device).

Reads a JSON object {name: overrides} from standard input, and writes {name: bytes, or the error} to the file named on
the command line; the second word is cpu or cuda, the third one which of the transformer layers (1: the second, whose
input is another layer's output; -1: the last one), or "prediction": the last one of multi-token prediction, with the
embeddings that it is given.
"""

import contextlib
import gc
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import same_samples
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.engine.runtime import load_torch
from slipway.kernels.choice import backends
from slipway.plan import make_plan
from slipway.ranks.environment import Place


def measure(config: RunConfig, layer: str) -> int:
    """Bytes that a layer (its position, or "prediction") keeps of a microbatch, its input counted, its output not."""
    chosen = load_torch(config, 1)
    plan = make_plan(config).with_kernels(backends(chosen))

    import torch
    from megatron.core.transformer.transformer_layer import TransformerLayer

    from slipway.engine.megatron import groups
    from slipway.models.gpt.prediction.layer import PredictionLayer
    from slipway.train import setup, step
    from slipway.train.stopping import Stopping

    groups._join = _join
    torch.distributed.all_gather_object = _say_the_same
    device = groups.connect(plan, Place(0, 0, plan.world_size, "127.0.0.1", 0))
    try:
        with _like_a_gpu() if device.type == "cuda" else contextlib.nullcontext():
            _use_one_sample(config)
            session: Any = setup.set_up(plan, device)
            modules = session.model.chunks[0].modules()
            kind, at, inputs = (
                (PredictionLayer, -1, 2) if layer == "prediction" else (TransformerLayer, int(layer), 1)
            )
            kept = _watch([module for module in modules if isinstance(module, kind)][at], inputs)
            batches = step.read(session, session.train_data, session.validation_start, None)
            step.compute(session, batches, Stopping())
            session.close()
    finally:
        groups.disconnect()
    return kept()


def _watch(layer: Any, inputs: int) -> Callable[[], int]:
    """Note what a layer keeps of its first forward pass, so many inputs counted."""
    import torch
    from torch.multiprocessing.reductions import StorageWeakRef
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def storages(values: Any) -> dict[int, Any]:
        tensors = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
        return {storage._cdata: storage for storage in (tensor.untyped_storage() for tensor in tensors)}

    class Made(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for key, storage in storages(result).items():
                made.setdefault(key, StorageWeakRef(storage))  # holds an address, so that it is no other's
            return result

    made: dict[int, Any] = {}
    mode, kept = Made(), list[int]()

    def begin(module: Any, words: Any, named: Any) -> None:
        mode.__enter__()

    def end(module: Any, words: Any, named: Any, output: Any) -> None:
        mode.__exit__(None, None, None)
        if kept:
            return
        gc.collect()
        not_kept = storages((words, named, output, list(module.parameters())))
        given = words[:inputs] if words else [named["hidden_states"]]
        alive = [
            torch.UntypedStorage._new_with_weak_ptr(key).nbytes()
            for key, one in made.items()
            if key not in not_kept and not one.expired()
        ]
        kept.append(sum(alive) + sum(one.untyped_storage().nbytes() for one in given))

    layer.register_forward_pre_hook(begin, with_kwargs=True)
    layer.register_forward_hook(end, with_kwargs=True)
    return lambda: kept[0]


@contextlib.contextmanager
def _like_a_gpu() -> Iterator[None]:
    """Within, tensors are fake, and what is kept is what a GPU's kernels keep; for meta torch would take others."""
    import torch
    import torch.nn.functional as F

    import fake_gpu
    from slipway.kernels import attention
    from slipway.models.gpt import network

    class RmsNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any) -> Any:
            ctx.save_for_backward(x, weight, x.new_empty(x.shape[:-1], dtype=torch.float32))
            return torch.empty_like(x)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient, ctx.saved_tensors[1]

    def attend(
        q: Any, k: Any, v: Any, attn_mask: Any, dropout_p: float, is_causal: bool, scale: Any, **_: Any
    ) -> Any:
        aten = torch.ops.aten
        if (
            torch.is_tensor(attn_mask) and attn_mask.is_floating_point()
        ):  # which flash attention does not take
            mask = attn_mask.expand(*q.shape[:3], k.shape[2])
            return aten._scaled_dot_product_efficient_attention(
                q, k, v, mask, True, dropout_p, is_causal, scale=scale
            )[0]
        return aten._scaled_dot_product_flash_attention(q, k, v, dropout_p, is_causal, scale=scale)[0]

    def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        return torch.native_dropout(x, p, True)[0] if p and training else x

    functional: Any = F
    functional.scaled_dot_product_attention = attend
    functional.rms_norm = lambda x, shape, weight, eps: RmsNorm.apply(x, weight)
    functional.dropout = dropout
    fake_gpu._share_tokens_out_evenly()
    network.spans_of_samples = fake_gpu._two_documents
    attention._lower_right = fake_gpu._mask
    with fake_gpu.fake_device.fake_tensors():
        yield


def _use_one_sample(config: RunConfig) -> None:
    if config.cluster.device.kind == "cpu":
        same_samples.use(config)
        return
    import fake_gpu
    from slipway.data.text.kind import Text

    Text.open = lambda kind, config, split, fields=None: fake_gpu.Samples(config)  # type: ignore[method-assign]


def _join(place: Place, backend: str) -> None:
    import torch
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group(
        "fake", store=FakeStore(), rank=place.rank, world_size=place.world_size
    )


def _say_the_same(told: list[Any], own: Any, group: Any = None) -> None:
    told[:] = [own] * len(told)


def main() -> None:
    """Measure each in turn."""
    if sys.argv[2] == "cuda":
        __import__("fake_gpu")  # before torch is asked for a GPU
    found: dict[str, Any] = {}
    for name, overrides in json.load(sys.stdin).items():
        try:
            found[name] = measure(compose(overrides), sys.argv[3])
        except Exception:  # each has its own verdict
            found[name] = {"error": traceback.format_exc()}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
