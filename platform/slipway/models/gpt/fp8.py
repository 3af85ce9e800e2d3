"""The sizes, on one rank, of a GPT's products that Transformer Engine computes in FP8."""

from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.kernels.fp8 import Size
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.transformer.block import Latent


def sizes(config: RunConfig) -> list[Size]:
    """Return the sizes of linear layers in transformer layers: inputs, outputs, and the tokens that gradients sum over.

    Megatron-core pads the tokens of experts; router, embedding and output layer are not in FP8.
    """
    model, layout, data = gpt_of(config), config.parallelism, tokens_of(config)
    tp, cp = layout.tensor_model_parallel_size, layout.context_parallel_size
    heads, groups, size = model.num_attention_heads, model.query_groups, model.head_size
    by_tensor = f" / tensor {tp}" if tp > 1 else ""
    tokens = data.sequence_length * config.training.micro_batch_size // cp
    said = f"tokens of a microbatch {data.sequence_length} x {config.training.micro_batch_size}"
    said += f" / context {cp}" if cp > 1 else ""
    if layout.sequence_parallel:
        tokens, said = tokens // tp, said + by_tensor
    latent = model.latent
    attention = [
        Size("model.num_attention_heads", f"query channels {heads} x {size}{by_tensor}", heads * size // tp),
        Size(
            "model.num_query_groups",
            f"query, key and value channels ({heads} + 2 x {groups}) x {size}{by_tensor}",
            (heads + 2 * groups) * size // tp,
        ),
    ]
    return [
        Size("model.hidden_size", "hidden_size", model.hidden_size),
        *(_of_latent(latent, heads, tp, by_tensor) if latent else attention),
        *(Size(path, f"{what} {width}{by_tensor}", width // tp) for path, what, width in _widths(model)),
        Size("data.sequence_length", said, tokens),
    ]


def _widths(model: Config) -> list[tuple[str, str, int]]:
    """Return field, name and width of each kind of MLP that the layers have."""
    found = []
    if any(block.num_experts is None for block in model.blocks) or model.moe_ffn_hidden_size is None:
        found.append(("model.ffn_hidden_size", "MLP width", model.mlp_size))
    if model.moe_ffn_hidden_size is not None:
        found.append(("model.moe_ffn_hidden_size", "width of an expert", model.moe_ffn_hidden_size))
    shared = model.moe_shared_expert_intermediate_size
    if shared is not None:
        found.append(("model.moe_shared_expert_intermediate_size", "width of the shared experts", shared))
    return found


def _of_latent(latent: Latent, heads: int, tp: int, by_tensor: str) -> list[Size]:
    """Return the sizes of latent attention's products.

    Down-projections are whole on each rank, up-projections are split by heads.
    """
    down, turned, value = latent.kv_lora_rank, latent.qk_pos_emb_head_dim, latent.v_head_dim
    plain = latent.qk_head_dim
    found = [
        Size("model.kv_lora_rank", "kv_lora_rank", down),
        Size("model.qk_pos_emb_head_dim", f"latent and turned channels {down} + {turned}", latent.kv_down),
        Size(
            "model.qk_head_dim",
            f"query channels {heads} x ({plain} + {turned}){by_tensor}",
            heads * latent.qk_size // tp,
        ),
        Size(
            "model.v_head_dim",
            f"key and value channels {heads} x ({plain} + {value}){by_tensor}",
            heads * latent.kv_up // tp,
        ),
        Size("model.v_head_dim", f"value channels {heads} x {value}{by_tensor}", heads * value // tp),
    ]
    if latent.q_lora_rank:
        found.append(Size("model.q_lora_rank", "q_lora_rank", latent.q_lora_rank))
    return found
