"""The generators that training draws from (dropout): seeded, read and set; no data or weight depends on them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.tensor_parallel.random import initialize_rng_tracker
from torch import Tensor

DEFAULT = "default"


def prepare(recorded: bool) -> None:
    """Make this rank's generators anew. recorded: of a kind that a CUDA graph can advance (cuda_graph_impl=local)."""
    initialize_rng_tracker(use_cudagraphable_rng=recorded, force_reset=True)


def seed(number: int, step: int = 0) -> None:
    """Set this rank's generators to seeds for what follows `step`; process groups must exist.

    Pipeline stages, replicas and context-parallel ranks draw different numbers, and Megatron-core distinguishes
    tensor-parallel ranks if their activations differ. Without this, every stage and every replica would drop the same
    elements.
    """
    stage = parallel_state.get_pipeline_model_parallel_rank()
    replica = parallel_state.get_data_parallel_rank(with_context_parallel=True)
    place = f"{number}:{step}:{stage}:{replica}"
    own = int.from_bytes(hashlib.sha256(place.encode()).digest()[:8], "big") >> 1
    tensor_parallel.model_parallel_cuda_manual_seed(own)


def states() -> dict[str, Tensor]:
    """Return copies of the states of this rank's generators, by name, each uint8 [bytes]."""
    default = torch.cuda.get_rng_state() if torch.cuda.is_available() else torch.get_rng_state()
    return {DEFAULT: default} | {name: _copy(held) for name, held in _tracker().get_states().items()}


def set_states(found: Mapping[str, Tensor]) -> None:
    """Set every generator to its state, uint8 [bytes]."""
    default = found[DEFAULT]
    torch.cuda.set_rng_state(default) if torch.cuda.is_available() else torch.set_rng_state(default)
    held, named = _tracker().get_states(), {name: found[name] for name in found if name != DEFAULT}
    if any(isinstance(one, torch.Generator) for one in held.values()):  # graphs continue to advance these
        for name, state in named.items():
            held[name].set_state(state)
    else:
        _tracker().set_states({name: state.clone() for name, state in named.items()})


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore the generators at the end, so that training draws the same numbers whatever is drawn inside."""
    before = states()
    yield
    set_states(before)


def _copy(held: Tensor | torch.Generator) -> Tensor:
    return held.get_state() if isinstance(held, torch.Generator) else held.clone()


def _tracker() -> Any:
    """Return Megatron-core's generators for numbers that differ between tensor-parallel ranks, and between experts."""
    return tensor_parallel.get_cuda_rng_tracker()
