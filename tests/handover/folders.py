"""Folders as Hugging Face's libraries write them, of a small Llama: made by safetensors and by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from slipway.cli import main

END = "<|endoftext|>"
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": 256,
    "dtype": "float32",
}
INDEX = "model.safetensors.index.json"

State = dict[str, Tensor]


def state_of(config: Mapping[str, Any] = CONFIG, dtype: torch.dtype = torch.float32) -> State:
    """Random weights under transformers' names."""
    width, mlp, size = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    for layer in range(config["num_hidden_layers"]):
        here = f"model.layers.{layer}"
        shapes |= {
            f"{here}.input_layernorm.weight": (width,),
            f"{here}.self_attn.q_proj.weight": (heads * size, width),
            f"{here}.self_attn.k_proj.weight": (groups * size, width),
            f"{here}.self_attn.v_proj.weight": (groups * size, width),
            f"{here}.self_attn.o_proj.weight": (width, heads * size),
            f"{here}.post_attention_layernorm.weight": (width,),
            f"{here}.mlp.gate_proj.weight": (mlp, width),
            f"{here}.mlp.up_proj.weight": (mlp, width),
            f"{here}.mlp.down_proj.weight": (width, mlp),
        }
    shapes["model.norm.weight"] = (width,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    numbers = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=numbers).to(dtype) for name, shape in shapes.items()}


def write(folder: Path, state: State, config: Mapping[str, Any] = CONFIG, shards: int = 1) -> Path:
    """A whole folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    names, places = list(state), {}
    for number in range(shards):
        file = "model.safetensors" if shards == 1 else f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        some = {name: state[name] for name in names[number::shards]}
        save_file(some, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(some, file)
    if shards > 1:
        (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": places}))
    tokenizer(folder)
    return folder


def tokenizer(folder: Path) -> None:
    """Bytes, and an end: tokenizer.json and tokenizer_config.json."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    made.decoder = tokenizers.decoders.ByteLevel()  # type: ignore[assignment]
    made.add_special_tokens([tokenizers.AddedToken(END, special=True, normalized=False)])
    made.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "chat_template": "{{ messages }}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def read(folder: Path) -> State:
    """All tensors of a folder, each from where the index says it is, by safetensors' own reader."""
    index = folder / INDEX
    places = json.loads(index.read_text())["weight_map"] if index.exists() else None
    found: State = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                assert name not in found
                assert places is None or places.pop(name) == path.name
                found[name] = file.get_tensor(name)
    assert not places
    return found


def same(one: State, other: State) -> bool:
    """Whether names, types and bits are the same."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


AUTO = [
    "model=auto",
    "data=any_text",
    "cluster.device.peak_tflops_fp32=0.1",
    "cluster.device.peak_tflops_bf16=0.1",
]


def taken(source: Path, run_dir: Path, *words: str) -> Path:
    """Import a folder; return the run's directory."""
    assert main(["import", "hf", str(source), f"run.dir={run_dir}", *AUTO, *words]) == 0
    return run_dir


def given_to(run_dir: Path, target: Path, *words: str) -> State:
    """Export a run; return what the folder holds."""
    assert main(["export", "hf", f"run.dir={run_dir}", f"to={target}", *words]) == 0
    return read(target)
