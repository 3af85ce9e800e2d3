"""Qwen3: Llama's layers without biases, but with norms of each head's queries and keys."""

import re
from collections.abc import Iterator
from typing import Any

from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import like_llama
from slipway.models.gpt.formats.activations import SILU
from slipway.models.gpt.formats.architecture import Class, unfit
from slipway.models.gpt.formats.given import Given

WANTED: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("rope",),
    "normalization": ("RMSNorm",),
    "activation": ("swiglu",),
    "add_bias_linear": (False,),
    "qk_layernorm": (True,),
    "hidden_dropout": (0.0,),
}
"""The accepted values of the fields that are the same in all Qwen3 models."""


class Qwen3(Class):
    """The architecture Qwen3: see slipway.models.gpt.formats.architecture.Architecture."""

    name = "Qwen3ForCausalLM"
    model_type = "qwen3"
    prefix = "model."
    embedding = like_llama.EMBEDDING
    head = like_llama.HEAD
    computed = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")

    def trouble(self, model: Config) -> UserError | None:
        """Return why it cannot be this model; None: it can. It has no biases, and no dropout except attention's."""
        return unfit(self.name, model, WANTED)

    def parts(self, model: Config) -> Iterator[Part]:
        """Return the parts of Llama's layers, each with a gated MLP."""
        return like_llama.parts(model, lambda _, where: like_llama.mlp(model, where))

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings by Qwen3's names."""
        return settings(model) | {"max_window_layers": model.num_layers}

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields; defaults are Qwen3Config's."""
        found = like_llama.fields(
            given,
            hidden=4096,
            mlp=22016,
            layers=32,
            heads=32,
            groups=32,
            positions=32768,
            theta=10000.0,
            size=128,
        )
        layers = found["num_layers"]
        full, types = ["full_attention"] * layers, given.value("layer_types", None, list)
        last = given.size("max_window_layers", 28)  # from which layer on windows slide
        if types != full and (types is not None or last < layers):
            check_windows(given, found)
        if types not in (None, full) and not given.settings.get("use_sliding_window"):
            raise given.error(
                "layer_types", "names layers that are not full_attention", use="full_attention for all"
            )
        return found | fields(given)


def settings(model: Config) -> dict[str, Any]:
    """Return the settings that all Qwen3 models share."""
    return like_llama.settings(model) | {
        "hidden_act": "silu",
        "rms_norm_eps": model.norm_epsilon,
        "attention_bias": False,
        "use_sliding_window": False,
        "sliding_window": None,
    }


def fields(given: Given) -> dict[str, Any]:
    """Return the fields that all Qwen3 models share, except the sizes."""
    given.must("attention_bias", False, False, "has biases in attention alone")
    given.asked |= {"use_sliding_window", "sliding_window"}
    return {
        "normalization": "RMSNorm",
        "norm_epsilon": given.number("rms_norm_eps", 1e-6),
        "activation": given.choice("hidden_act", "silu", SILU),
        "add_bias_linear": False,
        "qk_layernorm": True,
        "untie_embeddings_and_output_weights": not given.value("tie_word_embeddings", False, bool),
        "init_method_std": given.number("initializer_range", 0.02),
        "vocab_size": given.size("vocab_size", 151936),
    }


def check_windows(given: Given, fields: dict[str, Any]) -> None:
    """Raise UserError if tokens of some layers do not see all before them."""
    if given.value("use_sliding_window", False, bool):
        like_llama.check_window(given, fields, 4096)
