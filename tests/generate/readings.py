"""Networks of several kinds read texts at once and token by token; prints how far apart their logits are, as JSON."""

import json

import torch

from slipway.config.compose import compose
from slipway.models import text_of
from slipway.models.generation import go_on
from slipway.runs.alone import alone, world

BASE = [
    *("model=demo", "model.num_layers=2", "model.vocab_size=300", "model.max_position_embeddings=32"),
    *("data=bytes", "data.sequence_length=32", "model.make_vocab_size_divisible_by=128"),
]
PLAIN = ["model.normalization=RMSNorm", "model.activation=swiglu", "model.add_bias_linear=false"]
MODELS = {
    "learned positions, odd heads": [
        "model.position_embedding_type=learned_absolute",
        "model.hidden_size=96",
        "model.num_attention_heads=3",
    ],
    "rotary with scaling, grouped queries, untied": [
        *PLAIN,
        "model.hidden_size=80",
        "model.num_attention_heads=5",
        "model.num_query_groups=1",
        "model.rope_scaling={type:llama3,factor:8}",
        "model.untie_embeddings_and_output_weights=true",
    ],
    "latent attention, values wider than keys, YaRN, untied": [
        *PLAIN,
        "model.untie_embeddings_and_output_weights=true",
        "model.hidden_size=64",
        "model.num_attention_heads=4",
        "model.multi_latent_attention=true",
        "model.qk_layernorm=true",
        *("model.q_lora_rank=24", "model.kv_lora_rank=16", "model.qk_head_dim=8"),
        *("model.qk_pos_emb_head_dim=6", "model.v_head_dim=20"),
        "model.rope_scaling={type:yarn,factor:4,original_max_position_embeddings:8,mscale:1.0,mscale_all_dim:1.0}",
    ],
    "windows, normalized queries, biases of Q, K and V, YaRN": [
        *PLAIN,
        "model.num_layers=4",
        "model.hidden_size=64",
        "model.num_attention_heads=4",
        "model.num_query_groups=2",
        "model.qk_layernorm=true",
        "model.add_qkv_bias=true",
        "model.window_size=5",
        "model.window_attn_skip_freq=3",
        "model.rope_scaling={type:yarn,factor:4,original_max_position_embeddings:8,beta_fast:2,beta_slow:0.25}",
    ],
    "experts, untied": [
        *PLAIN,
        "model.hidden_size=64",
        "model.num_attention_heads=2",
        "model.num_moe_experts=4",
        "model.untie_embeddings_and_output_weights=true",
    ],
}
MODELS["the same with prediction"] = [
    *MODELS["rotary with scaling, grouped queries, untied"],
    "model.mtp_num_layers=2",
]
LENGTH = 30


@torch.no_grad()
def compared(words: list[str]) -> dict[str, object]:
    """Of one network with weights of several times their usual size."""
    config = alone(compose([*BASE, *words]), "cpu")
    with world(config) as here:
        module = here.untrained(3)
        torch.manual_seed(5)
        for name, parameter in module.named_parameters():
            if name.startswith("mtp."):  # else other numbers would be drawn for what follows
                continue
            parameter.mul_(4) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) / 8)
        model = text_of(config).model(config, module, here.device)
        tokens = torch.randint(0, 300, (3, LENGTH))
        whole = model.logits(tokens)
        reading = model.begin(3, LENGTH)
        steps = [reading.read(tokens[:, :7])]
        steps += [reading.read(tokens[:, at : at + 1]) for at in range(7, LENGTH)]
        prompts = [tokens[0, :4].tolist(), tokens[1, :9].tolist(), tokens[2, :1].tolist()]
        texts = [list(prompt) for prompt in prompts]
        for said in go_on(model, prompts, 15):
            texts[said.row].append(said.token)
        anew = [list(prompt) for prompt in prompts]
        for text in anew:
            for _ in range(15):
                text.append(int(model.logits(torch.tensor([text]))[0, -1].argmax()))
        return {
            "shape": [list(whole.shape), str(whole.dtype)],
            "apart": (torch.stack(steps, 1) - whole[:, 6:]).abs().max().item(),
            "largest": whole.abs().max().item(),
            "texts": texts,
            "anew": anew,
        }


if __name__ == "__main__":
    print(json.dumps({name: compared(words) for name, words in MODELS.items()}))
