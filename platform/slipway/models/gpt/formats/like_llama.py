"""The names of attention, norms and tables that Llama, Mixtral, Qwen3 and Starcoder2 share."""

from collections.abc import Callable, Iterator
from typing import Any

from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import rotary, tensors
from slipway.models.gpt.formats.given import Given
from slipway.models.gpt.formats.tensors import Place

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def parts(model: Config, mlp: Callable[[int, Place], Iterator[Part]]) -> Iterator[Part]:
    """Yield the parts of tables, layers, and the last norm.

    Mlp: returns those between a layer's second norm and its end.
    """
    yield from tensors.tables(model, EMBEDDING, HEAD)
    for number in range(model.num_layers):
        where = tensors.place(model, number, "model.layers")
        yield from layer(model, where, attention(model, where), mlp(number, where))
    yield from tensors.norm(model, "decoder.final_layernorm", (), "model.norm")


def layer(
    model: Config, where: Place, attention: Iterator[Part], feed_forward: Iterator[Part]
) -> Iterator[Part]:
    """Yield the parts of both halves of a layer, each after its norm."""
    key, at, there = where
    yield from tensors.norm(model, f"{key}.input_layernorm", at, f"{there}.input_layernorm")
    yield from attention
    yield from tensors.norm(model, f"{key}.pre_mlp_layernorm", at, f"{there}.post_attention_layernorm")
    yield from feed_forward


def attention(model: Config, where: Place) -> Iterator[Part]:
    """Yield the parts of queries, keys, values and the projection, and of query and key norms if the model has them."""
    key, at, there = where
    yield from tensors.heads_apart(model, where, [f"self_attn.{each}_proj" for each in "qkv"])
    width = model.num_attention_heads * model.head_size
    yield from tensors.linear(
        model, f"{key}.self_attention.linear_proj", at, f"{there}.self_attn.o_proj", model.hidden_size, width
    )
    if model.qk_layernorm:
        for each in "qk":
            norm = f"{key}.self_attention.{each}_layernorm"
            yield from tensors.norm(model, norm, at, f"{there}.self_attn.{each}_norm", model.head_size)


def mlp(model: Config, where: Place) -> Iterator[Part]:
    """Return the parts of a layer's gated MLP."""
    key, at, there = where
    return tensors.gated(model, Place(f"{key}.mlp", at, f"{there}.mlp"), model.mlp_size)


def settings(model: Config) -> dict[str, Any]:
    """Return the settings for the sizes that all of them have."""
    return {
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.query_groups,
        "head_dim": model.head_size,
        "intermediate_size": model.mlp_size,
        "max_position_embeddings": model.max_position_embeddings,
        "attention_dropout": model.attention_dropout,
        **rotary.written(model),
    }


def fields(
    given: Given,
    *,
    hidden: int,
    mlp: int,
    layers: int,
    heads: int,
    groups: int | None,
    positions: int,
    theta: float,
    size: int | None = None,
) -> dict[str, Any]:
    """Return the fields of these settings; the numbers are the class's own defaults. size: of a head."""
    hidden = given.size("hidden_size", hidden)
    heads = given.size("num_attention_heads", heads)
    size = given.size("head_dim", size, optional=size is None)
    groups = given.size("num_key_value_heads", groups, optional=True)
    return {
        "num_layers": given.size("num_hidden_layers", layers),
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_query_groups": None if groups == heads else groups,
        "kv_channels": None if size is None or size * heads == hidden else size,
        "ffn_hidden_size": given.size("intermediate_size", mlp),
        "max_position_embeddings": given.size("max_position_embeddings", positions),
        "position_embedding_type": "rope",
        "attention_dropout": given.number("attention_dropout", 0.0),
        **rotary.read(given, theta),
    }


def check_window(given: Given, fields: dict[str, Any], default: int | None = None) -> None:
    """Raise UserError if tokens do not see all before them; a window as wide as the longest sequence does not count.

    default: the class's own window.
    """
    longest, window = fields["max_position_embeddings"], given.size("sliding_window", default, optional=True)
    if window is not None and window < longest:
        raise given.error(
            "sliding_window",
            f"hides what is further back, and max_position_embeddings is {longest}; here each token sees all before it",
            use="null",
            do=f"set max_position_embeddings to {window} too, up to which both are the same",
        )
