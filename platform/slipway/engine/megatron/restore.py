"""Fill a model and its optimizer from a checkpoint of any layout."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.engine.megatron import generators, tensor_files
from slipway.engine.megatron import state as content
from slipway.engine.megatron.fully_sharded import is_fully_sharded, take_over
from slipway.engine.megatron.shards import Shard, shards
from slipway.optimizers import algorithm


@torch.no_grad()
def load(
    config: RunConfig,
    chunks: list[Any],
    optimizer: Any,
    path: Path,
    step: int,
    updates: int,
    with_generators: bool,
    with_states: bool,
) -> None:
    """Fill the chunks and the optimizer, if not None, from a checkpoint; see slipway.engine.engine.Rank.load."""
    model = content.model_state(chunks)
    whole_chunks = {f"chunk{i}": chunk for i, chunk in enumerate(chunks) if not is_fully_sharded(chunk)}
    held = dict(enumerate(shards(optimizer, config))) if optimizer is not None else {}
    held = {index: shard for index, shard in held.items() if shard.end > shard.start}
    wanted: dict[str, Any] = {
        "model": {name: model[name] for name in whole_chunks},
        "optimizer": _wanted(config, model, held, with_states),
    }
    if with_generators:
        wanted["rng"] = content.rng_state()
    loaded = tensor_files.read(wanted, path)

    for name, chunk in whole_chunks.items():
        _fill(chunk, loaded["model"][name])
    states = loaded.get("optimizer", {})  # empty entries are missing
    for index, shard in held.items():
        found = states.get(str(index), {})
        for name, target in content.tensors(shard).items():
            if name not in found:
                assert not with_states, name
                target.zero_()
                continue
            one = found[name].numel() == 1
            target.view(-1).copy_(found[name].reshape(-1)[... if one else slice(shard.start, shard.end)])
        shard.set_updates(updates)
    for chunk in chunks:
        if is_fully_sharded(chunk):
            take_over(chunk)
    if with_generators:
        content.set_rng_state(loaded["rng"])
    else:  # otherwise the run would repeat the random numbers of its first steps
        generators.seed(config.training.seed, step)


def _wanted(
    config: RunConfig, model: dict[str, Any], held: dict[int, Shard], with_states: bool
) -> dict[str, Any]:
    """Return whole tensors for each shard's optimizer state; without its states only the fp32 copy."""
    by_parameter = content.by_parameter(model)
    numbers = {state.name for state in algorithm(config).states if state.shape == "scalar"}
    wanted = {}
    for index, shard in held.items():
        whole = {
            name: torch.empty(
                1 if name in numbers else shard.parameter.shape,
                dtype=torch.float32,
                device=shard.parameter.device,
            )
            for name in content.names(shard, config, with_states)
        }
        wanted[str(index)] = content.sharded(by_parameter[shard.parameter], whole)
    return wanted


def _fill(chunk: Any, loaded: dict[str, Tensor]) -> None:
    for name, tensor in content.unwrapped(chunk).state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and name in loaded and tensor is not loaded[name]:
            tensor.data.copy_(loaded[name])
