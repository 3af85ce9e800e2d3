"""GPT-NeoX: rotary positions, LayerNorm, GELU, biases, as many keys and values as heads."""

import re
from collections.abc import Iterator
from typing import Any

from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import rotary, tensors
from slipway.models.gpt.formats.activations import GELU, TANH
from slipway.models.gpt.formats.architecture import Class, unfit, unfit_heads
from slipway.models.gpt.formats.given import Given


class GPTNeoX(Class):
    """The architecture GPT-NeoX: see slipway.models.gpt.formats.architecture.Architecture."""

    name = "GPTNeoXForCausalLM"
    model_type = "gpt_neox"
    prefix = "gpt_neox."
    embedding = "gpt_neox.embed_in.weight"
    head = "embed_out.weight"
    computed = re.compile(r"gpt_neox\.layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)")

    def trouble(self, model: Config) -> UserError | None:
        """Return why it cannot be this model; None: it can.

        Only sizes, the activation, dropout and whether tables are tied can differ from GPT-NeoX.
        """
        wanted = {
            "normalization": ("LayerNorm",),
            "activation": ("gelu", "gelu_tanh"),
            "add_bias_linear": (True,),
            "num_query_groups": (None, model.num_attention_heads),
        }
        return unfit(self.name, model, wanted) or unfit_heads(self.name, model)

    def parts(self, model: Config) -> Iterator[Part]:
        """Yield the parts of tables, layers, and the last norm."""
        hidden, mlp = model.hidden_size, model.mlp_size
        yield from tensors.tables(model, self.embedding, self.head)
        for layer in range(model.num_layers):
            ours, at, there = tensors.place(model, layer, "gpt_neox.layers")
            yield from tensors.norm(model, f"{ours}.input_layernorm", at, f"{there}.input_layernorm")
            # query, key and value alternate head by head: as here if each head is a group
            for key, name, outputs, inputs in (
                ("self_attention.linear_qkv", "attention.query_key_value", 3 * hidden, hidden),
                ("self_attention.linear_proj", "attention.dense", hidden, hidden),
                ("mlp.linear_fc1", "mlp.dense_h_to_4h", mlp, hidden),
                ("mlp.linear_fc2", "mlp.dense_4h_to_h", hidden, mlp),
            ):
                yield from tensors.linear(model, f"{ours}.{key}", at, f"{there}.{name}", outputs, inputs)
            yield from tensors.norm(
                model, f"{ours}.pre_mlp_layernorm", at, f"{there}.post_attention_layernorm"
            )
        yield from tensors.norm(model, "decoder.final_layernorm", (), "gpt_neox.final_layer_norm")

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings by GPT-NeoX's names: attention before the MLP, and all channels of each head rotated."""
        return {
            "hidden_size": model.hidden_size,
            "num_hidden_layers": model.num_layers,
            "num_attention_heads": model.num_attention_heads,
            "intermediate_size": model.mlp_size,
            "hidden_act": {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}[model.activation],
            "attention_bias": True,
            "attention_dropout": model.attention_dropout,
            "hidden_dropout": model.hidden_dropout,
            "max_position_embeddings": model.max_position_embeddings,
            "layer_norm_eps": model.norm_epsilon,
            "use_parallel_residual": False,
            "rotary_pct": 1.0,
            **rotary.written(model, "rotary_emb_base", partial_rotary_factor=1.0),
        }

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields; defaults are GPTNeoXConfig's."""
        given.must("use_parallel_residual", True, False, "adds attention and MLP to the same input")
        given.must("attention_bias", True, True, "leaves attention alone without biases")
        given.asked |= {"gradient_checkpointing"}
        return {
            "num_layers": given.size("num_hidden_layers", 44),
            "hidden_size": given.size("hidden_size", 6144),
            "num_attention_heads": given.size("num_attention_heads", 64),
            "ffn_hidden_size": given.size("intermediate_size", 24576),
            "max_position_embeddings": given.size("max_position_embeddings", 2048),
            "position_embedding_type": "rope",
            **rotary.read(given, 10000.0, "rotary_emb_base", "rotary_pct", 0.25),
            "normalization": "LayerNorm",
            "norm_epsilon": given.number("layer_norm_eps", 1e-5),
            "activation": given.choice("hidden_act", "gelu", GELU | TANH),
            "add_bias_linear": True,
            "hidden_dropout": given.number("hidden_dropout", 0.0),
            "attention_dropout": given.number("attention_dropout", 0.0),
            "untie_embeddings_and_output_weights": not given.value("tie_word_embeddings", False, bool),
            "init_method_std": given.number("initializer_range", 0.02),
            "vocab_size": given.size("vocab_size", 50432),
        }
