"""What a GPT demands of the sections around it; each broken rule is one line with its arithmetic."""

from slipway.config.schema import Parallelism, RunConfig
from slipway.data.text.config import text_of
from slipway.errors import UserError
from slipway.models.gpt.config import gpt_of

BYTE_VOCAB = 257  # 256 bytes and the end mark


def check(config: RunConfig) -> None:
    """Raise UserError for the first thing this family cannot do."""
    _check_model(config)
    _check_tensor_parallel(config)
    _check_sequence(config)
    _check_vocabulary(config)
    _check_documents(config)


def _divides(config_path: str, value: int, meaning: str, by_path: str, by: int) -> None:
    if value % by:
        raise UserError(
            f"{config_path}: {meaning} {value} is not divisible by {by_path} {by} "
            f"({value} = {value // by} x {by} + {value % by})"
        )


def _check_model(config: RunConfig) -> None:
    model = gpt_of(config)
    if model.kv_channels is None:
        _divides(
            "model.hidden_size",
            model.hidden_size,
            "hidden size",
            "num_attention_heads",
            model.num_attention_heads,
        )
    _divides(
        "model.num_attention_heads",
        model.num_attention_heads,
        "attention heads",
        "num_query_groups",
        model.query_groups,
    )
    if model.rope_scaling_factor is not None and model.position_embedding_type != "rope":
        raise UserError(
            f"model.rope_scaling_factor: {model.rope_scaling_factor} needs position_embedding_type=rope, "
            f"got {model.position_embedding_type}"
        )
    if model.position_embedding_type == "rope" and model.head_size % 2:
        raise UserError(f"model.kv_channels: rotary embedding needs an even head size, got {model.head_size}")
    if model.num_moe_experts and model.add_bias_linear:
        raise UserError(
            f"model.add_bias_linear: true does not go with num_moe_experts {model.num_moe_experts} (Megatron-core "
            "adds experts' biases on one rank only, and fails there); allowed: false"
        )
    if model.num_moe_experts and model.moe_router_topk > model.num_moe_experts:
        raise UserError(
            f"model.moe_router_topk: {model.moe_router_topk} is more than num_moe_experts "
            f"{model.num_moe_experts}"
        )


def _check_tensor_parallel(config: RunConfig) -> None:
    model, layout = gpt_of(config), config.parallelism
    tp, ep = layout.tensor_model_parallel_size, layout.expert_model_parallel_size
    by = "parallelism.tensor_model_parallel_size"
    _divides("model.num_attention_heads", model.num_attention_heads, "attention heads", by, tp)
    _divides("model.num_query_groups", model.query_groups, "query groups", by, tp)
    _divides("model.ffn_hidden_size", model.mlp_size, "MLP width", by, tp)
    _divides("model.vocab_size", model.padded_vocab_size, "padded vocabulary", by, tp)
    if ep > 1 and not model.num_moe_experts:
        raise UserError(
            f"parallelism.expert_model_parallel_size: {ep} needs model.num_moe_experts, and it has none"
        )
    if model.num_moe_experts:
        _divides(
            "model.num_moe_experts",
            model.num_moe_experts,
            "experts",
            "parallelism.expert_model_parallel_size",
            ep,
        )
        if tp > 1 and not layout.sequence_parallel:
            raise UserError(
                f"parallelism.sequence_parallel: experts with tensor_model_parallel_size {tp} need "
                "sequence_parallel=true (a rule of Megatron-core)"
            )


def _check_sequence(config: RunConfig) -> None:
    model, layout, length = gpt_of(config), config.parallelism, text_of(config).sequence_length
    tp, cp = layout.tensor_model_parallel_size, layout.context_parallel_size
    if length > model.max_position_embeddings:
        raise UserError(
            f"data.sequence_length: {length} is more than model.max_position_embeddings "
            f"{model.max_position_embeddings}"
        )
    if cp > 1 and length % (2 * cp):
        raise UserError(
            f"data.sequence_length: {length} is not divisible by 2 x parallelism.context_parallel_size "
            f"{cp} = {2 * cp} (each rank takes two chunks)"
        )
    if layout.sequence_parallel and (length // cp) % tp:
        share = f"{length} / context_parallel_size {cp} = {length // cp}" if cp > 1 else f"{length}"
        raise UserError(
            f"data.sequence_length: {share} is not divisible by parallelism.tensor_model_parallel_size "
            f"{tp}, as sequence_parallel needs "
            f"({length // cp} = {length // cp // tp} x {tp} + {length // cp % tp})"
        )


def _check_documents(config: RunConfig) -> None:
    if text_of(config).reset_position_ids and gpt_of(config).position_embedding_type == "rope":
        raise UserError(
            "data.reset_position_ids: true, but model.position_embedding_type=rope knows distances only, which are "
            "the same; allowed: false (data.reset_attention_mask=true keeps documents apart)"
        )


def _check_vocabulary(config: RunConfig) -> None:
    tokenizer, entries = text_of(config).tokenizer, gpt_of(config).vocab_size
    if tokenizer.kind == "bpe" and tokenizer.vocab_size > entries:
        raise UserError(
            f"data.tokenizer.vocab_size: {tokenizer.vocab_size} is more than model.vocab_size {entries}: "
            "tokens would have no embedding"
        )
    if tokenizer.kind == "byte" and entries < BYTE_VOCAB:
        raise UserError(
            f"model.vocab_size: {entries} is less than the {BYTE_VOCAB} tokens of data.tokenizer.kind=byte "
            "(256 bytes and the end mark)"
        )


def check_stages(config: RunConfig, layout: Parallelism) -> None:
    """Raise UserError where Megatron-core cannot give each model chunk as many transformer layers."""
    layers, pp, vp = gpt_of(config).num_layers, layout.pipeline_model_parallel_size, layout.virtual_stages
    if layers % (pp * vp):
        chunks = f"pipeline {pp} x virtual {vp} = {pp * vp}" if vp > 1 else f"pipeline {pp}"
        raise UserError(f"model.num_layers: {layers} layers are not divisible by {chunks} stages")


def check_tokens(config: RunConfig, entries: int) -> None:
    """Raise UserError where the tokenizer of the prepared data has more entries than the model."""
    model, folder = gpt_of(config), text_of(config).dir
    if entries > model.vocab_size:
        raise UserError(
            f"model.vocab_size: {model.vocab_size} is below the tokenizer's {entries} entries ({folder}); allowed: at "
            f"least {entries}"
        )
