"""What a GPT demands of the sections around it; each broken rule is one line with its arithmetic."""

from slipway.config.schema import RunConfig
from slipway.data.text.config import Config as Text
from slipway.data.tokens import tokens_of
from slipway.errors import UserError
from slipway.kernels.fp8 import check_sizes
from slipway.models.divisible import check_divisible
from slipway.models.gpt import graphs
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.fp8 import sizes
from slipway.models.transformer import recompute

BYTE_VOCAB = 257  # 256 bytes and the end mark


def check(config: RunConfig) -> None:
    """Raise UserError for the first thing this family cannot do."""
    _check_model(config)
    _check_tensor_parallel(config)
    _check_sequence(config)
    _check_vocabulary(config)
    _check_documents(config)
    if config.training.fp8:
        check_sizes(config, sizes(config))
    recompute.modules(config, gpt_of(config).block)
    graphs.check(config)


def _check_model(config: RunConfig) -> None:
    model = gpt_of(config)
    if model.kv_channels is None:
        check_divisible(
            "model.hidden_size",
            "hidden size",
            model.hidden_size,
            "num_attention_heads",
            model.num_attention_heads,
        )
    check_divisible(
        "model.num_attention_heads",
        "attention heads",
        model.num_attention_heads,
        "num_query_groups",
        model.query_groups,
    )
    if model.rope_scaling_factor is not None and model.position_embedding_type != "rope":
        raise UserError(
            "model.rope_scaling_factor",
            f"needs position_embedding_type=rope, but it is {model.position_embedding_type}",
            value=model.rope_scaling_factor,
        )
    if model.position_embedding_type == "rope" and model.head_size % 2:
        raise UserError(
            "model.kv_channels", f"rotary embedding needs an even head size, but it is {model.head_size}"
        )
    if model.num_moe_experts and model.add_bias_linear:
        raise UserError(
            "model.add_bias_linear",
            f"does not work with num_moe_experts {model.num_moe_experts} (Megatron-core adds experts' biases on "
            "one rank only, and fails there)",
            value=True,
            use="false",
        )
    if model.num_moe_experts and model.moe_router_topk > model.num_moe_experts:
        raise UserError(
            "model.moe_router_topk",
            f"is more than num_moe_experts {model.num_moe_experts}",
            value=model.moe_router_topk,
        )


def _check_tensor_parallel(config: RunConfig) -> None:
    model, layout = gpt_of(config), config.parallelism
    tp, ep = layout.tensor_model_parallel_size, layout.expert_model_parallel_size
    by = "parallelism.tensor_model_parallel_size"
    check_divisible("model.num_attention_heads", "attention heads", model.num_attention_heads, by, tp)
    check_divisible("model.num_query_groups", "query groups", model.query_groups, by, tp)
    check_divisible("model.ffn_hidden_size", "MLP width", model.mlp_size, by, tp)
    check_divisible("model.vocab_size", "padded vocabulary", model.padded_vocab_size, by, tp)
    if ep > 1 and not model.num_moe_experts:
        raise UserError(
            "parallelism.expert_model_parallel_size",
            "needs a model with experts, but model.num_moe_experts is null",
            value=ep,
        )
    if model.num_moe_experts:
        check_divisible(
            "model.num_moe_experts",
            "experts",
            model.num_moe_experts,
            "parallelism.expert_model_parallel_size",
            ep,
        )
        if tp > 1 and not layout.sequence_parallel:
            raise UserError(
                "parallelism.sequence_parallel",
                f"does not work with experts and tensor_model_parallel_size {tp} (a rule of Megatron-core)",
                value=False,
                use="true",
            )


def _check_sequence(config: RunConfig) -> None:
    model, layout, length = gpt_of(config), config.parallelism, tokens_of(config).sequence_length
    tp, cp = layout.tensor_model_parallel_size, layout.context_parallel_size
    if length > model.max_position_embeddings:
        raise UserError(
            "data.sequence_length",
            f"is more than model.max_position_embeddings {model.max_position_embeddings}",
            value=length,
        )
    if cp > 1 and length % (2 * cp):
        raise UserError(
            "data.sequence_length",
            f"is not divisible by 2 x parallelism.context_parallel_size {cp} = {2 * cp} (each rank takes two "
            "chunks)",
            value=length,
        )
    if layout.sequence_parallel and (length // cp) % tp:
        share = f"{length} / context_parallel_size {cp} = {length // cp}" if cp > 1 else f"{length}"
        raise UserError(
            "data.sequence_length",
            f"is not divisible by parallelism.tensor_model_parallel_size {tp}, as sequence_parallel needs "
            f"({length // cp} = {length // cp // tp} x {tp} + {length // cp % tp})",
            value=share,
        )


def _check_documents(config: RunConfig) -> None:
    data, rotary = config.data, gpt_of(config).position_embedding_type == "rope"
    if isinstance(data, Text) and data.reset_position_ids and rotary:
        raise UserError(
            "data.reset_position_ids",
            "has no effect with model.position_embedding_type=rope, which only knows distances, and those stay "
            "the same",
            value=True,
            use="false (data.reset_attention_mask=true keeps documents apart)",
        )


def _check_vocabulary(config: RunConfig) -> None:
    if not isinstance(config.data, Text):
        return  # the tokenizer is a file, which is read when the data is prepared
    tokenizer, entries = config.data.tokenizer, gpt_of(config).vocab_size
    if tokenizer.kind == "bpe" and tokenizer.vocab_size > entries:
        raise UserError(
            "data.tokenizer.vocab_size",
            f"is more than model.vocab_size {entries}: some tokens would have no embedding",
            value=tokenizer.vocab_size,
        )
    if tokenizer.kind == "byte" and entries < BYTE_VOCAB:
        raise UserError(
            "model.vocab_size",
            f"is less than the {BYTE_VOCAB} tokens of data.tokenizer.kind=byte (256 bytes and the end mark)",
            value=entries,
        )


def check_tokens(config: RunConfig, entries: int) -> None:
    """Raise UserError where the tokenizer of the prepared data has more entries than the model."""
    model, folder = gpt_of(config), tokens_of(config).dir
    if entries > model.vocab_size:
        raise UserError(
            "model.vocab_size",
            f"is below the tokenizer's {entries} entries ({folder})",
            value=model.vocab_size,
            use=f"at least {entries}",
        )
