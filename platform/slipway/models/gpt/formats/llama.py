"""Llama: rotary positions, RMSNorm, SwiGLU, grouped queries; biases in all linear layers or in none."""

import re
from collections.abc import Iterator
from typing import Any

from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import like_llama
from slipway.models.gpt.formats.activations import SILU
from slipway.models.gpt.formats.architecture import Class, unfit, unfit_width
from slipway.models.gpt.formats.given import Given


class Llama(Class):
    """The architecture Llama: see slipway.models.gpt.formats.architecture.Architecture."""

    name = "LlamaForCausalLM"
    model_type = "llama"
    prefix = "model."
    embedding = like_llama.EMBEDDING
    head = like_llama.HEAD
    computed = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")

    def trouble(self, model: Config) -> UserError | None:
        """Return why it cannot be this model; None: it can. It has no dropout except attention's."""
        wanted = {"normalization": ("RMSNorm",), "activation": ("swiglu",), "hidden_dropout": (0.0,)}
        return unfit(self.name, model, wanted) or unfit_width(self.name, model)

    def parts(self, model: Config) -> Iterator[Part]:
        """Return the parts of Llama's layers, each with a gated MLP."""
        return like_llama.parts(model, lambda _, where: like_llama.mlp(model, where))

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings by Llama's names."""
        return like_llama.settings(model) | {
            "hidden_act": "silu",
            "rms_norm_eps": model.norm_epsilon,
            "attention_bias": model.add_bias_linear,
            "mlp_bias": model.add_bias_linear,
        }

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields; defaults are LlamaConfig's."""
        bias = given.value("attention_bias", False, bool)
        given.must(
            "mlp_bias", False, bias, f"is not attention_bias {str(bias).lower()}: biases in some layers only"
        )
        given.must("rope_interleaved", False, False, "turns neighbouring channels")  # nanotron writes it
        given.asked |= {"pretraining_tp", "is_llama_config"}  # another order of sums; nanotron writes it
        found = like_llama.fields(
            given, hidden=4096, mlp=11008, layers=32, heads=32, groups=None, positions=2048, theta=10000.0
        )
        return found | {
            "normalization": "RMSNorm",
            "norm_epsilon": given.number("rms_norm_eps", 1e-6),
            "activation": given.choice("hidden_act", "silu", SILU),
            "add_bias_linear": bias,
            "untie_embeddings_and_output_weights": not given.value("tie_word_embeddings", False, bool),
            "init_method_std": given.number("initializer_range", 0.02),
            "vocab_size": given.size("vocab_size", 32000),
        }
