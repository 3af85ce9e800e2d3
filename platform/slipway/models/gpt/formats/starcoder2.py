"""Starcoder2: rotary positions, LayerNorm, GELU, grouped queries, biases or none."""

import re
from collections.abc import Iterator
from typing import Any

from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import like_llama, tensors
from slipway.models.gpt.formats.activations import GELU, TANH
from slipway.models.gpt.formats.architecture import Class, unfit
from slipway.models.gpt.formats.given import Given


class Starcoder2(Class):
    """The architecture Starcoder2: see slipway.models.gpt.formats.architecture.Architecture."""

    name = "Starcoder2ForCausalLM"
    model_type = "starcoder2"
    prefix = "model."
    embedding = like_llama.EMBEDDING
    head = like_llama.HEAD
    computed = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")

    def trouble(self, model: Config) -> UserError | None:
        """Return why it cannot be this model; None: it can.

        Only sizes, the activation, biases, dropout and whether tables are tied can differ from Starcoder2.
        """
        wanted = {"normalization": ("LayerNorm",), "activation": ("gelu", "gelu_tanh")}
        return unfit(self.name, model, wanted, do="set model.normalization=RMSNorm, as Llama has with swiglu")

    def parts(self, model: Config) -> Iterator[Part]:
        """Return the parts of Llama's layers, each with an MLP that is not gated."""

        def mlp(layer: int, where: tensors.Place) -> Iterator[Part]:
            key, at, there = where
            hidden, wide = model.hidden_size, model.mlp_size
            yield from tensors.linear(model, f"{key}.mlp.linear_fc1", at, f"{there}.mlp.c_fc", wide, hidden)
            yield from tensors.linear(model, f"{key}.mlp.linear_fc2", at, f"{there}.mlp.c_proj", hidden, wide)

        return like_llama.parts(model, mlp)

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings by Starcoder2's names."""
        return like_llama.settings(model) | {
            "hidden_act": {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}[model.activation],
            "norm_epsilon": model.norm_epsilon,
            "use_bias": model.add_bias_linear,
            "residual_dropout": model.hidden_dropout,
            "embedding_dropout": model.hidden_dropout,
            "sliding_window": None,
        }

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields; defaults are Starcoder2Config's."""
        dropout = given.number("residual_dropout", 0.0)
        given.must("embedding_dropout", 0.0, dropout, f"is not residual_dropout {dropout:g}")
        # transformers does not read these: they name the published models' norm and MLP, which it computes anyway
        given.must("norm_type", "layer_norm", "layer_norm", "is another norm")
        given.must("mlp_type", "default", "default", "is another MLP")
        given.asked |= {"layer_norm_epsilon"}
        found = like_llama.fields(
            given, hidden=3072, mlp=12288, layers=30, heads=24, groups=2, positions=4096, theta=10000.0
        )
        like_llama.check_window(given, found)
        return found | {
            "normalization": "LayerNorm",
            "norm_epsilon": given.number("norm_epsilon", 1e-5),
            "activation": given.choice("hidden_act", "gelu_pytorch_tanh", GELU | TANH),
            "add_bias_linear": given.value("use_bias", True, bool),
            "hidden_dropout": dropout,
            "untie_embeddings_and_output_weights": not given.value("tie_word_embeddings", True, bool),
            "init_method_std": given.number("initializer_range", 0.018042),
            "vocab_size": given.size("vocab_size", 49152),
        }
