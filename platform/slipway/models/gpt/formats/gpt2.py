"""GPT-2: learned positions, LayerNorm, GELU, biases; its linear layers are stored transposed (Conv1D)."""

import re
from collections.abc import Iterator
from typing import Any

from slipway.errors import UserError
from slipway.models.formats import Part, same
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import tensors
from slipway.models.gpt.formats.activations import GELU, TANH
from slipway.models.gpt.formats.architecture import Class, unfit, unfit_heads
from slipway.models.gpt.formats.given import Given


class GPT2(Class):
    """The architecture GPT-2: see slipway.models.gpt.formats.architecture.Architecture."""

    name = "GPT2LMHeadModel"
    model_type = "gpt2"
    prefix = "transformer."
    embedding = "transformer.wte.weight"
    head = "lm_head.weight"
    computed = re.compile(r"transformer\.h\.\d+\.attn\.(bias|masked_bias)")  # the causal mask

    def trouble(self, model: Config) -> UserError | None:
        """Return why it cannot be this model; None: it can.

        Only sizes, the activation, dropout and whether tables are tied can differ from GPT-2.
        """
        wanted = {
            "normalization": ("LayerNorm",),
            "activation": ("gelu", "gelu_tanh"),
            "add_bias_linear": (True,),
            "num_query_groups": (None, model.num_attention_heads),
        }
        return unfit(
            self.name,
            model,
            wanted,
            do="set model.position_embedding_type=rope, with which another class may have it",
        ) or unfit_heads(self.name, model)

    def parts(self, model: Config) -> Iterator[Part]:
        """Yield the parts of tables, layers, and the last norm."""
        hidden, mlp = model.hidden_size, model.mlp_size
        yield from tensors.tables(model, self.embedding, self.head)
        positions = (model.max_position_embeddings, hidden)
        yield same("embedding.position_embeddings.weight", (), positions, "transformer.wpe.weight")
        for layer in range(model.num_layers):
            ours, at, there = where = tensors.place(model, layer, "transformer.h")
            yield from tensors.norm(model, f"{ours}.input_layernorm", at, f"{there}.ln_1")
            yield from tensors.heads_joined(model, where, "attn.c_attn")
            for key, name, outputs, inputs in (
                ("self_attention.linear_proj", "attn.c_proj", hidden, hidden),
                ("mlp.linear_fc1", "mlp.c_fc", mlp, hidden),
                ("mlp.linear_fc2", "mlp.c_proj", hidden, mlp),
            ):
                yield from tensors.linear(
                    model, f"{ours}.{key}", at, f"{there}.{name}", outputs, inputs, turned=True
                )
            yield from tensors.norm(model, f"{ours}.pre_mlp_layernorm", at, f"{there}.ln_2")
        yield from tensors.norm(model, "decoder.final_layernorm", (), "transformer.ln_f")

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings by GPT-2's own names."""
        return {
            "n_positions": model.max_position_embeddings,
            "n_ctx": model.max_position_embeddings,
            "n_embd": model.hidden_size,
            "n_layer": model.num_layers,
            "n_head": model.num_attention_heads,
            "n_inner": model.mlp_size,
            "activation_function": {"gelu": "gelu", "gelu_tanh": "gelu_new"}[model.activation],
            "layer_norm_epsilon": model.norm_epsilon,
            "resid_pdrop": model.hidden_dropout,
            "embd_pdrop": model.hidden_dropout,
            "attn_pdrop": model.attention_dropout,
        }

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields; defaults are GPT2Config's."""
        hidden = given.size("n_embd", 768)
        dropout = given.number("resid_pdrop", 0.1)
        given.must(
            "embd_pdrop", 0.1, dropout, f"is not resid_pdrop {dropout:g}: other dropout of the embedding"
        )
        given.must("scale_attn_weights", True, True, "leaves attention without its scale")
        given.must("scale_attn_by_inverse_layer_idx", False, False, "scales attention by its layer's number")
        # without effect: softmax in fp32, as here; settings that transformers no longer reads; heads of other tasks
        given.asked |= {"reorder_and_upcast_attn", "n_ctx", "gradient_checkpointing"}
        given.asked |= {key for key in given.settings if key.startswith("summary_")}
        return {
            "num_layers": given.size("n_layer", 12),
            "hidden_size": hidden,
            "num_attention_heads": given.size("n_head", 12),
            "ffn_hidden_size": given.size("n_inner", None, optional=True) or 4 * hidden,
            "max_position_embeddings": given.size("n_positions", 1024),
            "position_embedding_type": "learned_absolute",
            "normalization": "LayerNorm",
            "norm_epsilon": given.number("layer_norm_epsilon", 1e-5),
            "activation": given.choice("activation_function", "gelu_new", GELU | TANH),
            "add_bias_linear": True,
            "hidden_dropout": dropout,
            "attention_dropout": given.number("attn_pdrop", 0.1),
            "untie_embeddings_and_output_weights": not given.value("tie_word_embeddings", True, bool),
            "init_method_std": given.number("initializer_range", 0.02),
            "vocab_size": given.size("vocab_size", 50257),
        }
