"""Tiny networks with kinds of attention here and in transformers, with the same weights.

Prints how far apart their logits are, and how far without what each kind is about, as JSON.
"""

import json
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from slipway.config.compose import compose
from slipway.models import text_of
from slipway.models.gpt.config import Config, gpt_of
from slipway.runs.alone import alone, world

LENGTH = 48
BASE = [
    *("model=demo", "model.num_layers=4", "model.hidden_size=64", "model.num_attention_heads=4"),
    *("model.kv_channels=32", "model.num_query_groups=2", "model.ffn_hidden_size=96", "model.vocab_size=300"),
    *("model.max_position_embeddings=64", "model.make_vocab_size_divisible_by=1", "model.norm_epsilon=1e-6"),
    *("model.normalization=RMSNorm", "model.activation=swiglu", "model.add_bias_linear=false"),
    *("data=bytes", f"data.sequence_length={LENGTH}", "model.untie_embeddings_and_output_weights=true"),
]
SLIDING, FULL = "sliding_attention", "full_attention"
YARN = {"factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 4.0, "beta_slow": 0.5}
LLAMA3 = {
    "factor": 8.0,
    "original_max_position_embeddings": 32,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
KINDS: dict[str, tuple[list[str], type, dict[str, Any]]] = {
    "Qwen3: normalized heads": (["model.qk_layernorm=true"], Qwen3Config, {}),
    "Qwen3: windows and YaRN": (
        ["model.qk_layernorm=true", "model.window_size=7", "model.window_attn_skip_freq=[0,1,1,0]"]
        + [f"model.rope_scaling={{type:yarn,{','.join(f'{k}:{v}' for k, v in YARN.items())}}}"],
        Qwen3Config,
        {
            "use_sliding_window": True,
            "sliding_window": 7,
            "layer_types": [FULL, SLIDING, SLIDING, FULL],
            "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, **YARN},
        },
    ),
    "Qwen2: biases, every other layer full, Llama 3's frequencies": (
        ["model.add_qkv_bias=true", "model.window_size=16", "model.window_attn_skip_freq=2"]
        + [f"model.rope_scaling={{type:llama3,{','.join(f'{k}:{v}' for k, v in LLAMA3.items())}}}"],
        Qwen2Config,
        {
            "use_sliding_window": True,
            "sliding_window": 16,
            "layer_types": [SLIDING, FULL, SLIDING, FULL],
            "rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, **LLAMA3},
        },
    ),
}


def renamed(model: Config, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights by transformers' names; rows of Q, K and V stand together by group here."""
    own = {name: weight for name, weight in weights.items() if isinstance(weight, Tensor)}
    found = {
        "model.embed_tokens.weight": own.pop("embedding.word_embeddings.weight"),
        "model.norm.weight": own.pop("decoder.final_layernorm.weight"),
        "lm_head.weight": own.pop("output_layer.weight"),
    }
    size, groups = model.head_size, model.query_groups
    each = model.num_attention_heads // groups
    for name, weight in own.items():
        _, _, layer, rest = name.split(".", 3)
        at, kind = f"model.layers.{layer}", rest.rpartition(".")[2]
        if rest.startswith("self_attention.linear_qkv."):
            rows = weight.unflatten(0, (groups, each + 2, size))
            parts = rows[:, :each], rows[:, each : each + 1], rows[:, each + 1 :]
            for letter, part in zip("qkv", parts, strict=True):
                found[f"{at}.self_attn.{letter}_proj.{kind}"] = part.flatten(0, 2)
        elif rest == "mlp.linear_fc1.weight":
            for part, half in zip(("gate", "up"), weight.chunk(2), strict=True):
                found[f"{at}.mlp.{part}_proj.weight"] = half
        else:
            there = {
                "input_layernorm.weight": "input_layernorm.weight",
                "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
                "self_attention.q_layernorm.weight": "self_attn.q_norm.weight",
                "self_attention.k_layernorm.weight": "self_attn.k_norm.weight",
                "pre_mlp_layernorm.weight": "post_attention_layernorm.weight",
                "mlp.linear_fc2.weight": "mlp.down_proj.weight",
            }[rest]
            found[f"{at}.{there}"] = weight
    return found


@torch.no_grad()
def compared(words: list[str], kind: type, settings: dict[str, Any]) -> dict[str, float]:
    """Of one network with weights of several times their usual size."""
    config = alone(compose([*BASE, *words]), "cpu")
    model = gpt_of(config)
    with world(config) as here:
        module = here.untrained(3)
        torch.manual_seed(5)
        for parameter in module.parameters():
            parameter.mul_(4) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) / 8)
        tokens = torch.randint(0, 300, (3, LENGTH))
        ours = text_of(config).model(config, module, here.device).logits(tokens)
        common = dict(
            vocab_size=300,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=64,
            rms_norm_eps=1e-6,
            tie_word_embeddings=False,
            attn_implementation="eager",
        )
        weights = renamed(model, module.state_dict())
        theirs, plain = (
            _logits(kind(**common | more), weights, tokens)
            for more in (settings, {"use_sliding_window": False})
        )
    return {
        "off": float((ours - theirs).abs().max()),
        "largest": float(theirs.abs().max()),
        "without": float((ours - plain).abs().max()),
    }


def _logits(config: Any, weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    network = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    network.load_state_dict(weights)  # all of them, and no others
    return network(tokens).logits.float()


print(json.dumps({name: compared(*kind) for name, kind in KINDS.items()}))
