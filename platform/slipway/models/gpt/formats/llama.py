"""LlamaForCausalLM: rotary embedding, RMSNorm, SwiGLU, no biases."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.formats import Array, Part, Shape, same
from slipway.models.gpt.config import gpt_of


class Llama:
    """See slipway.models.formats.FolderFormat."""

    library = "transformers"

    def check(self, config: RunConfig) -> None:
        """See FolderFormat."""
        model = gpt_of(config)
        if model.normalization != "RMSNorm" or model.activation != "swiglu" or model.add_bias_linear:
            raise UserError("model.normalization", "is no Llama's", value=model.normalization)

    def parts(self, config: RunConfig) -> Iterator[Part]:
        """See FolderFormat."""
        model = gpt_of(config)
        width, vocab, padded = model.hidden_size, model.vocab_size, model.padded_vocab_size
        yield _table("embedding.word_embeddings.weight", "model.embed_tokens.weight", vocab, padded, width)
        for layer in range(model.num_layers):
            at, ours, theirs = (layer,), "decoder.layers", f"model.layers.{layer}"
            yield same(f"{ours}.input_layernorm.weight", at, (width,), f"{theirs}.input_layernorm.weight")
            yield _qkv(f"{ours}.self_attention.linear_qkv.weight", at, theirs, model)
            heads = model.num_attention_heads * model.head_size
            yield same(
                f"{ours}.self_attention.linear_proj.weight",
                at,
                (width, heads),
                f"{theirs}.self_attn.o_proj.weight",
            )
            yield same(
                f"{ours}.pre_mlp_layernorm.weight", at, (width,), f"{theirs}.post_attention_layernorm.weight"
            )
            mlp = model.mlp_size
            yield Part(
                f"{ours}.mlp.linear_fc1.weight",
                at,
                (2 * mlp, width),
                {
                    f"{theirs}.mlp.gate_proj.weight": (mlp, width),
                    f"{theirs}.mlp.up_proj.weight": (mlp, width),
                },
                lambda t, m=mlp: [t[:m], t[m:]],
                _cat,
            )
            yield same(f"{ours}.mlp.linear_fc2.weight", at, (width, mlp), f"{theirs}.mlp.down_proj.weight")
        yield same("decoder.final_layernorm.weight", (), (width,), "model.norm.weight")
        if model.untie_embeddings_and_output_weights:
            yield _table("output_layer.weight", "lm_head.weight", vocab, padded, width)

    def settings(self, config: RunConfig, end_of_document: int | None) -> Mapping[str, Any]:
        """See FolderFormat."""
        model = gpt_of(config)
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": model.vocab_size,
            "hidden_size": model.hidden_size,
            "intermediate_size": model.mlp_size,
            "num_hidden_layers": model.num_layers,
            "num_attention_heads": model.num_attention_heads,
            "num_key_value_heads": model.query_groups,
            "head_dim": model.head_size,
            "max_position_embeddings": model.max_position_embeddings,
            "rms_norm_eps": model.norm_epsilon,
            "rope_theta": model.rotary_base,
            "tie_word_embeddings": not model.untie_embeddings_and_output_weights,
            "bos_token_id": None,
            "eos_token_id": end_of_document,
        }

    def fields(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """See FolderFormat."""
        if settings.get("architectures") != ["LlamaForCausalLM"]:
            raise UserError("architectures", "is not known", value=settings.get("architectures"))
        return {
            "family": "gpt",
            "num_layers": settings["num_hidden_layers"],
            "hidden_size": settings["hidden_size"],
            "num_attention_heads": settings["num_attention_heads"],
            "num_query_groups": settings["num_key_value_heads"],
            "ffn_hidden_size": settings["intermediate_size"],
            "vocab_size": settings["vocab_size"],
            "max_position_embeddings": settings["max_position_embeddings"],
            "position_embedding_type": "rope",
            "rotary_base": int(settings["rope_theta"]),
            "normalization": "RMSNorm",
            "norm_epsilon": settings["rms_norm_eps"],
            "activation": "swiglu",
            "add_bias_linear": False,
            "untie_embeddings_and_output_weights": not settings["tie_word_embeddings"],
        }

    def left_out(self, config: RunConfig, name: str) -> str | None:
        """See FolderFormat."""
        if name == "lm_head.weight" and not gpt_of(config).untie_embeddings_and_output_weights:
            return "model.embed_tokens.weight"
        return "" if name.endswith("rotary_emb.inv_freq") else None

    def usage(self, config: RunConfig, folder: str) -> str:
        """See FolderFormat."""
        return (
            f'from transformers import AutoModelForCausalLM\nAutoModelForCausalLM.from_pretrained("{folder}")'
        )


def _cat(tensors: Sequence[Array]) -> Array:
    import torch

    return torch.cat(list(tensors))


def _table(key: str, name: str, vocab: int, padded: int, width: int) -> Part:
    def join(theirs: Sequence[Array]) -> Array:
        table = theirs[0].new_zeros((padded, width))
        table[:vocab] = theirs[0]
        return table

    return Part(key, (), (padded, width), {name: (vocab, width)}, lambda t: [t[:vocab]], join)


def _qkv(key: str, at: Shape, theirs: str, model: Any) -> Part:
    groups, size, width = model.query_groups, model.head_size, model.hidden_size
    each = model.num_attention_heads // groups
    shapes = {
        f"{theirs}.self_attn.q_proj.weight": (groups * each * size, width),
        f"{theirs}.self_attn.k_proj.weight": (groups * size, width),
        f"{theirs}.self_attn.v_proj.weight": (groups * size, width),
    }

    def split(ours: Array) -> Sequence[Array]:
        by_group = ours.reshape(groups, each + 2, size, width)
        return [
            some.reshape(-1, width) for some in (by_group[:, :each], by_group[:, each], by_group[:, each + 1])
        ]

    def join(parts: Sequence[Array]) -> Array:
        import torch

        grouped = [part.reshape(groups, -1, size, width) for part in parts]
        return torch.cat(grouped, 1).reshape(-1, width)

    return Part(key, at, (groups * (each + 2) * size, width), shapes, split, join)
