"""The sizes of a GPT's products that Transformer Engine computes in FP8, as one rank has them."""

from slipway.config.schema import RunConfig
from slipway.data.tokens import tokens_of
from slipway.kernels.fp8 import Size
from slipway.models.gpt.config import Config, gpt_of


def sizes(config: RunConfig) -> list[Size]:
    """Of the linear layers within transformer layers: inputs, outputs, and the tokens over which gradients sum.

    The tokens of experts are padded by Megatron-core; router, embedding and output layer are not in FP8.
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
    return [
        Size("model.hidden_size", "hidden_size", model.hidden_size),
        Size("model.num_attention_heads", f"query channels {heads} x {size}{by_tensor}", heads * size // tp),
        Size(
            "model.num_query_groups",
            f"query, key and value channels ({heads} + 2 x {groups}) x {size}{by_tensor}",
            (heads + 2 * groups) * size // tp,
        ),
        *(Size(path, f"{what} {width}{by_tensor}", width // tp) for path, what, width in _widths(model)),
        Size("data.sequence_length", said, tokens),
    ]


def _widths(model: Config) -> list[tuple[str, str, int]]:
    """Field, name and width of each kind of MLP that the layers have."""
    found = []
    if any(block.num_experts is None for block in model.blocks) or model.moe_ffn_hidden_size is None:
        found.append(("model.ffn_hidden_size", "MLP width", model.mlp_size))
    if model.moe_ffn_hidden_size is not None:
        found.append(("model.moe_ffn_hidden_size", "width of an expert", model.moe_ffn_hidden_size))
    shared = model.moe_shared_expert_intermediate_size
    if shared is not None:
        found.append(("model.moe_shared_expert_intermediate_size", "width of the shared experts", shared))
    return found
