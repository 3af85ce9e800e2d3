"""The small models that are trained to see that they train: overrides, tiny ones in a rehearsal. Imports no torch."""

from slipway.bench.gpu.device import Here

SMALL = ["model.num_layers=2", "model.hidden_size=64", "model.max_position_embeddings=32"]
LLAMA = [
    "model.activation=swiglu",
    "model.normalization=RMSNorm",
    "model.add_bias_linear=false",
    "model.num_query_groups=2",
    "model.untie_embeddings_and_output_weights=true",
    "model.ffn_hidden_size=192",
    "model.num_attention_heads=4",
]
EXPERTS = [*LLAMA, "model.num_moe_experts=4"]
APART = ["data.reset_attention_mask=true", "data.reset_position_ids=true", "data.eod_mask_loss=true"]

# the demo model is a GPT of 4 layers and hidden size 128; documents end within its samples
MODELS = {
    "demo": [],
    "Llama": LLAMA,
    "mixture": EXPERTS,
    "documents apart": [*APART, "model.position_embedding_type=learned_absolute"],
}


def overrides(name: str, here: Here) -> list[str]:
    """Return the overrides of a model by its name, at this machine's size, on one device."""
    sized = SMALL if here.rehearse else []
    return ["model=demo", *sized, *MODELS[name], "training.micro_batch_size=4"]
