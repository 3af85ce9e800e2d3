"""What a Slipway checkpoint holds, by the names of plain.py."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import FileSystemReader, load

WHOLE = {
    "embedding.word_embeddings.weight": "embedding",
    "embedding.position_embeddings.weight": "positions",
    "decoder.final_layernorm.weight": "norm.weight",
    "decoder.final_layernorm.bias": "norm.bias",
    "output_layer.weight": "output",
}
OF_LAYERS = {
    "input_layernorm.weight": "norm1.weight",
    "input_layernorm.bias": "norm1.bias",
    "self_attention.linear_qkv.weight": "qkv.weight",
    "self_attention.linear_qkv.bias": "qkv.bias",
    "self_attention.linear_q_proj.weight": "q.weight",
    "self_attention.linear_q_down_proj.weight": "q_down.weight",
    "self_attention.q_layernorm.weight": "q_norm.weight",
    "self_attention.linear_q_up_proj.weight": "q_up.weight",
    "self_attention.linear_kv_down_proj.weight": "kv_down.weight",
    "self_attention.kv_layernorm.weight": "kv_norm.weight",
    "self_attention.linear_kv_up_proj.weight": "kv_up.weight",
    "self_attention.q_layernorm.bias": "q_norm.bias",
    "self_attention.k_layernorm.weight": "k_norm.weight",
    "self_attention.k_layernorm.bias": "k_norm.bias",
    "self_attention.linear_proj.weight": "proj.weight",
    "self_attention.linear_proj.bias": "proj.bias",
    "pre_mlp_layernorm.weight": "norm2.weight",
    "pre_mlp_layernorm.bias": "norm2.bias",
    "mlp.linear_fc1.weight": "in.weight",
    "mlp.linear_fc1.bias": "in.bias",
    "mlp.linear_fc2.weight": "out.weight",
    "mlp.linear_fc2.bias": "out.bias",
    "mlp.router.weight": "router",
    "mlp.experts.experts.linear_fc1.weight": "in.experts",
    "mlp.experts.experts.linear_fc2.weight": "out.experts",
    "mlp.shared_experts.linear_fc1.weight": "shared.in",
    "mlp.shared_experts.linear_fc2.weight": "shared.out",
    "mlp.router.expert_bias": "bias",
}
OF_PREDICTION = {
    "enorm.weight": "enorm.weight",
    "enorm.bias": "enorm.bias",
    "hnorm.weight": "hnorm.weight",
    "hnorm.bias": "hnorm.bias",
    "eh_proj.weight": "project",
    "final_layernorm.weight": "norm.weight",
    "final_layernorm.bias": "norm.bias",
    **{f"transformer_layer.{name}": own for name, own in OF_LAYERS.items()},
}


def tensors(checkpoint: Path, keys: Iterable[str]) -> dict[str, Tensor]:
    """Tensors by their names in the checkpoint."""
    reader = FileSystemReader(str(checkpoint))
    entries: Any = reader.read_metadata().state_dict_metadata
    found = {key: torch.empty(entries[key].size, dtype=entries[key].properties.dtype) for key in keys}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one process only
        load(found, storage_reader=reader)
    return found


def weights(checkpoint: Path) -> dict[str, Tensor]:
    """Every weight of a GPT by the names of plain.py. Layers are stored stacked, or numbered where they differ."""
    found = {}
    for name, weight in named(checkpoint).items():
        if name in WHOLE:
            found[WHOLE[name]] = weight
            continue
        if name.startswith("mtp.layers."):
            number, own = name.removeprefix("mtp.layers.").split(".", 1)
            found[f"mtp.{number}.{OF_PREDICTION[own]}"] = weight
            continue
        rest = name.removeprefix("decoder.layers.")
        number, _, numbered = rest.partition(".")
        own = OF_LAYERS[numbered if number.isdigit() else rest]  # nothing is left out: else a KeyError
        if number.isdigit():
            found[f"{number}.{own}"] = weight
        else:
            found |= {f"{number}.{own}": layer for number, layer in enumerate(weight)}
    return found


def named(checkpoint: Path) -> dict[str, Tensor]:
    """Every weight by its name in the checkpoint, as the optimizer keeps it: in bf16 its fp32 copy."""
    entries = FileSystemReader(str(checkpoint)).read_metadata().state_dict_metadata
    names = {name for name in entries if not name.startswith(("optimizer.", "rng."))}
    copies = {name: f"optimizer.fp32_parameter.{name}" for name in names}
    keys = {name: copy if copy in entries else name for name, copy in copies.items()}
    held = tensors(checkpoint, keys.values())
    return {name: held[key] for name, key in keys.items()}


def everything(checkpoint: Path) -> dict[str, Tensor]:
    """Every tensor by its name in the checkpoint, generators left out."""
    entries = FileSystemReader(str(checkpoint)).read_metadata().state_dict_metadata
    return tensors(checkpoint, [name for name in entries if not name.startswith("rng.")])
