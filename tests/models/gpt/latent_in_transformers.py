"""A GPT with latent attention beside transformers' DeepSeek-V3 of the same weights; prints how far apart, as JSON."""

import json
from typing import Any

import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from slipway.config.compose import compose
from slipway.models.gpt.config import gpt_of
from slipway.runs.alone import alone, world

WORDS = [
    *(
        "model=demo",
        "data=bytes",
        "model.num_layers=2",
        "model.hidden_size=48",
        "model.num_attention_heads=4",
    ),
    *("model.vocab_size=300", "model.make_vocab_size_divisible_by=1", "model.max_position_embeddings=64"),
    *("data.sequence_length=64", "model.normalization=RMSNorm", "model.norm_epsilon=1e-6"),
    *("model.activation=swiglu", "model.ffn_hidden_size=80", "model.add_bias_linear=false"),
    *("model.untie_embeddings_and_output_weights=true", "model.multi_latent_attention=true"),
    *("model.kv_lora_rank=16", "model.qk_head_dim=12", "model.qk_pos_emb_head_dim=8", "model.v_head_dim=10"),
    *("model.qk_layernorm=true",),
]
YARN = "type:yarn,factor:4,original_max_position_embeddings:16"
KINDS = {
    "with a state of queries": ["model.q_lora_rank=24"],
    "without": ["model.q_lora_rank=null"],
    "YaRN": ["model.q_lora_rank=24", f"model.rope_scaling={{{YARN}}}"],
    # as DeepSeek-V3, but for the channels, which it leaves at their size
    "YaRN with magnitudes": [
        "model.q_lora_rank=24",
        f"model.rope_scaling={{{YARN},beta_fast:8,beta_slow:2,mscale:1.0,mscale_all_dim:0.7}}",
    ],
}
NAMES = {
    "input_layernorm": "input_layernorm",
    "self_attn.q_proj": "self_attention.linear_q_proj",
    "self_attn.q_a_proj": "self_attention.linear_q_down_proj",
    "self_attn.q_a_layernorm": "self_attention.q_layernorm",
    "self_attn.q_b_proj": "self_attention.linear_q_up_proj",
    "self_attn.kv_a_proj_with_mqa": "self_attention.linear_kv_down_proj",
    "self_attn.kv_a_layernorm": "self_attention.kv_layernorm",
    "self_attn.kv_b_proj": "self_attention.linear_kv_up_proj",
    "self_attn.o_proj": "self_attention.linear_proj",
    "post_attention_layernorm": "pre_mlp_layernorm",
    "mlp.down_proj": "mlp.linear_fc2",
}


def theirs(model: Any) -> Any:
    """A DeepSeek-V3 of these sizes, all of its layers dense."""
    rotary = {"rope_type": "default"}
    if model.rope_scaling:
        rotary = model.rope_scaling.model_dump(exclude={"type"}, exclude_none=True) | {"rope_type": "yarn"}
    make: Any = DeepseekV3Config
    config = make(
        hidden_size=model.hidden_size,
        num_hidden_layers=model.num_layers,
        first_k_dense_replace=model.num_layers,
        intermediate_size=model.mlp_size,
        vocab_size=model.vocab_size,
        num_attention_heads=model.num_attention_heads,
        num_key_value_heads=model.num_attention_heads,
        q_lora_rank=model.q_lora_rank,
        kv_lora_rank=model.kv_lora_rank,
        qk_nope_head_dim=model.qk_head_dim,
        qk_rope_head_dim=model.qk_pos_emb_head_dim,
        v_head_dim=model.v_head_dim,
        rms_norm_eps=model.norm_epsilon,
        max_position_embeddings=model.max_position_embeddings,
        rope_parameters={"rope_theta": model.rotary_base, **rotary},
        attn_implementation="eager",
    )
    return DeepseekV3ForCausalLM(config)


def pairs(ours: Any, other: Any) -> list[tuple[str, Any, Any]]:
    """Each weight of theirs with the weight, or rows of it, that it is of ours."""
    own, found = dict(ours.named_parameters()), []
    for name, weight in other.named_parameters():
        if not name.startswith("model.layers."):
            ends = {"model.embed_tokens.weight": "embedding.word_embeddings.weight"}
            ends |= {
                "model.norm.weight": "decoder.final_layernorm.weight",
                "lm_head.weight": "output_layer.weight",
            }
            found.append((name, weight, (ends[name], slice(None))))
            continue
        number, rest = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
        half = weight.shape[0]
        parts = {"mlp.gate_proj": slice(half), "mlp.up_proj": slice(half, None)}
        key = "mlp.linear_fc1" if rest in parts else NAMES[rest]
        found.append((name, weight, (f"decoder.layers.{number}.{key}.weight", parts.get(rest, slice(None)))))
    assert {key for _, _, (key, _) in found} == own.keys()
    return found


def compared(words: list[str]) -> dict[str, float]:
    """Logits' and gradients' largest difference, relative to the largest of each."""
    config = alone(compose([*WORDS, *words]), "cpu")
    with world(config) as here:
        module: Any = here.untrained(3).requires_grad_(True)
        other = theirs(gpt_of(config))
        own = dict(module.named_parameters())
        torch.manual_seed(5)
        with torch.no_grad():
            for parameter in own.values():
                parameter.mul_(4) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) / 8)
            for _, weight, (key, rows) in pairs(module, other):
                weight.copy_(own[key][rows])
        tokens = torch.randint(0, 300, (2, 40))
        logits = module(tokens, torch.arange(40).expand_as(tokens), None)
        reference = other(tokens).logits
        direction = torch.randn_like(reference)
        (logits * direction).sum().backward()
        (reference * direction).sum().backward()
        worst = max(
            ((weight.grad - own[key].grad[rows]).abs().max() / weight.grad.abs().max()).item()
            for _, weight, (key, rows) in pairs(module, other)
        )
    apart = ((logits - reference).abs().max() / reference.abs().max()).item()
    return {"logits": apart, "gradients": worst, "largest": reference.abs().max().item()}


if __name__ == "__main__":
    print(json.dumps({name: compared(words) for name, words in KINDS.items()}))
