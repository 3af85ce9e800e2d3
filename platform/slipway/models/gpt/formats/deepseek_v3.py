"""DeepSeek-V3: latent attention, experts after dense layers, a router with biases, and prediction layers.

transformers loads only the main model and leaves the prediction layers (`model.layers.61` of the published weights) to
generation; here they are trained, so that they are imported and exported with the rest.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import like_llama, rotary, tensors
from slipway.models.gpt.formats.activations import SILU
from slipway.models.gpt.formats.architecture import Class, unfit
from slipway.models.gpt.formats.experts import mlp_or_experts, read_balance, written_balance
from slipway.models.gpt.formats.given import Given
from slipway.models.gpt.formats.tensors import Place

EPSILON = 1e-6
"""The epsilon of the latent states' norms: their class's default, whatever rms_norm_eps is."""
BEST = 2
"""The number of a group's experts whose scores sum to the group's score."""


class DeepseekV3(Class):
    """The architecture DeepSeek-V3: see slipway.models.gpt.formats.architecture.Architecture."""

    name = "DeepseekV3ForCausalLM"
    model_type = "deepseek_v3"
    prefix = "model."
    embedding = like_llama.EMBEDDING
    head = like_llama.HEAD
    computed = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")

    def trouble(self, model: Config) -> UserError | None:
        """Return why it cannot be this model; None: it can.

        Layers are dense up to one of them, and have experts from there on; a dense model has no expert layers.
        """
        wanted: dict[str, tuple[Any, ...]] = {
            "position_embedding_type": ("rope",),
            "normalization": ("RMSNorm",),
            "norm_epsilon": (EPSILON,),
            "activation": ("swiglu",),
            "add_bias_linear": (False,),
            "hidden_dropout": (0.0,),
            "multi_latent_attention": (True,),
            "qk_layernorm": (True,),
            "kv_channels": (None,),
            "num_query_groups": (None, model.num_attention_heads),
        }
        if model.num_moe_experts:
            wanted |= {
                "moe_router_score_function": ("sigmoid",),
                "moe_router_enable_expert_bias": (True,),
                **{name: (getattr(model, name),) for name in _OF_EXPERTS},
            }
        return unfit(self.name, model, wanted) or _unfit_experts(model)

    def parts(self, model: Config) -> Iterator[Part]:
        """Yield the parts of tables, layers, prediction layers, and the last norm."""
        yield from tensors.tables(model, self.embedding, self.head)
        for number in range(model.num_layers):
            where = tensors.place(model, number, "model.layers")
            yield from like_llama.layer(
                model, where, _attention(model, where), mlp_or_experts(model, number, where)
            )
        for depth in range(model.mtp_num_layers or 0):
            yield from self._prediction(model, depth)
        yield from tensors.norm(model, "decoder.final_layernorm", (), "model.norm")

    def _prediction(self, model: Config, depth: int) -> Iterator[Part]:
        hidden, number = model.hidden_size, model.num_layers + depth
        key, there = f"mtp.layers.{depth}", f"model.layers.{number}"
        for name in ("enorm", "hnorm"):
            yield from tensors.norm(model, f"{key}.{name}", (), f"{there}.{name}")
        yield from tensors.linear(model, f"{key}.eh_proj", (), f"{there}.eh_proj", hidden, 2 * hidden)
        where = Place(f"{key}.transformer_layer", (), there)
        feed_forward = mlp_or_experts(model, number, where)
        yield from like_llama.layer(model, where, _attention(model, where), feed_forward)
        yield from tensors.norm(model, f"{key}.final_layernorm", (), f"{there}.shared_head.norm")

    def held(self, settings: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
        """Return config.json without prediction layers if their tensors are missing: transformers always claims one."""
        layers = settings.get("num_hidden_layers", 61)
        if any(name.startswith(f"model.layers.{layers}.") for name in names):
            return settings
        return {**settings, **{key: 0 for key in _DEPTHS if key in settings}, _DEPTHS[0]: 0}

    def left_out(self, model: Config, name: str) -> str | None:
        """Return the model's own table for the tables of prediction layers; "" if prediction layers are not trained.

        Other tensors are treated as in all architectures.
        """
        found = re.match(r"model\.layers\.(\d+)\.(.*)", name)
        if found and int(found[1]) >= model.num_layers:
            if not model.mtp_num_layers:
                return ""
            head = self.head if model.untie_embeddings_and_output_weights else self.embedding
            return {"embed_tokens.weight": self.embedding, "shared_head.head.weight": head}.get(found[2])
        return super().left_out(model, name)

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings by DeepSeek-V3's names."""
        found = {
            "hidden_size": model.hidden_size,
            "num_hidden_layers": model.num_layers,
            "num_attention_heads": model.num_attention_heads,
            "num_key_value_heads": model.num_attention_heads,
            "q_lora_rank": model.q_lora_rank,
            "kv_lora_rank": model.kv_lora_rank,
            "qk_nope_head_dim": model.qk_head_dim,
            "qk_rope_head_dim": model.qk_pos_emb_head_dim,
            "v_head_dim": model.v_head_dim,
            "intermediate_size": model.mlp_size,
            "max_position_embeddings": model.max_position_embeddings,
            "attention_dropout": model.attention_dropout,
            "attention_bias": False,
            **rotary.written(model),
            "rope_interleave": True,
            "hidden_act": "silu",
            "rms_norm_eps": model.norm_epsilon,
            "first_k_dense_replace": model.first_k_dense_replace
            if model.num_moe_experts
            else model.num_layers,
            "num_nextn_predict_layers": model.mtp_num_layers or 0,
        }
        if not model.num_moe_experts:
            return found
        groups, chosen = model.moe_router_num_groups, model.moe_router_group_topk
        shared = model.moe_shared_expert_intermediate_size or 0
        return found | {
            "moe_layer_freq": 1,
            "n_routed_experts": model.num_moe_experts,
            "n_shared_experts": shared // model.expert_size,
            "num_experts_per_tok": model.moe_router_topk,
            "moe_intermediate_size": model.expert_size,
            "scoring_func": "sigmoid",
            "topk_method": "noaux_tc",
            "norm_topk_prob": model.moe_router_topk > 1,
            "routed_scaling_factor": model.moe_router_topk_scaling_factor or 1.0,
            "n_group": groups or 1,
            "topk_group": chosen or 1,
            "aux_loss_alpha": written_balance(model),
            "seq_aux": model.moe_router_load_balancing_type == "seq_aux_loss",
        }

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields; defaults are DeepseekV3Config's."""
        heads, layers = given.size("num_attention_heads", 128), given.size("num_hidden_layers", 61)
        turned = given.size("qk_rope_head_dim", 64)
        _check(given, heads, turned)
        found = {
            "num_layers": layers,
            "hidden_size": given.size("hidden_size", 7168),
            "num_attention_heads": heads,
            "num_query_groups": None,
            "kv_channels": None,
            "ffn_hidden_size": given.size("intermediate_size", 18432),
            "max_position_embeddings": given.size("max_position_embeddings", 4096),
            "position_embedding_type": "rope",
            "attention_dropout": given.number("attention_dropout", 0.0),
            **rotary.read(given, 10000.0),
            "multi_latent_attention": True,
            "qk_layernorm": True,
            "q_lora_rank": given.size("q_lora_rank", 1536, optional=True),
            "kv_lora_rank": given.size("kv_lora_rank", 512),
            "qk_head_dim": given.size("qk_nope_head_dim", 128),
            "qk_pos_emb_head_dim": turned,
            "v_head_dim": given.size("v_head_dim", 128),
            "normalization": "RMSNorm",
            "norm_epsilon": given.number("rms_norm_eps", EPSILON),
            "activation": given.choice("hidden_act", "silu", SILU),
            "add_bias_linear": False,
            "mtp_num_layers": given.value(given.renamed(*_DEPTHS), 1, int) or None,
            "untie_embeddings_and_output_weights": not given.value("tie_word_embeddings", False, bool),
            "init_method_std": given.number("initializer_range", 0.02),
            "vocab_size": given.size("vocab_size", 129280),
        }
        dense = given.value("first_k_dense_replace", 3, int)
        experts = _experts(given)
        if dense >= layers:
            return found
        return found | experts | {"first_k_dense_replace": dense}


_DEPTHS = ("num_nextn_predict_layers", "num_mtp_layers")
_OF_EXPERTS = (
    "first_k_dense_replace",
    "moe_shared_expert_intermediate_size",
    "moe_router_topk_scaling_factor",
    "moe_router_num_groups",
    "mtp_num_layers",
)
"""Fields that may have any value in a model with experts."""


def _unfit_experts(model: Config) -> UserError | None:
    if not model.num_moe_experts:
        return None
    if model.moe_shared_expert_intermediate_size is None:
        return UserError(
            "model.moe_shared_expert_intermediate_size",
            "is null, and DeepSeek-V3 has at least one expert that every token meets",
            value="null",
            use=str(model.expert_size),
        )
    groups, topk = model.moe_router_group_topk, model.moe_router_topk
    if groups is not None and topk // groups != BEST:
        return UserError(
            "model.moe_router_group_topk",
            f"makes a group's score of its best {topk // groups} experts (moe_router_topk {topk} / {groups}), and "
            f"DeepseekV3ForCausalLM always of {BEST}",
            value=groups,
            use=str(max(1, topk // BEST)),
        )
    return None


def _attention(model: Config, where: Place) -> Iterator[Part]:
    """Yield the parts of latent attention, whose rows and pairs of channels have the same order in both."""
    key, at, there = f"{where.key}.self_attention", where.at, f"{where.there}.self_attn"
    hidden, heads, queries, states = (
        model.hidden_size,
        model.num_attention_heads,
        model.q_lora_rank,
        model.kv_lora_rank or 0,
    )
    still, turned, values = model.qk_head_dim or 0, model.qk_pos_emb_head_dim or 0, model.v_head_dim or 0
    every = heads * (still + turned)

    def linear(ours: str, theirs: str, outputs: int, inputs: int) -> Iterator[Part]:
        return tensors.linear(model, f"{key}.{ours}", at, f"{there}.{theirs}", outputs, inputs)

    if queries is None:
        yield from linear("linear_q_proj", "q_proj", every, hidden)
    else:
        yield from linear("linear_q_down_proj", "q_a_proj", queries, hidden)
        yield from tensors.norm(model, f"{key}.q_layernorm", at, f"{there}.q_a_layernorm", queries)
        yield from linear("linear_q_up_proj", "q_b_proj", every, queries)
    yield from linear("linear_kv_down_proj", "kv_a_proj_with_mqa", states + turned, hidden)
    yield from tensors.norm(model, f"{key}.kv_layernorm", at, f"{there}.kv_a_layernorm", states)
    yield from linear("linear_kv_up_proj", "kv_b_proj", heads * (still + values), states)
    yield from linear("linear_proj", "o_proj", hidden, heads * values)


def _check(given: Given, heads: int, turned: int) -> None:
    """Raise UserError for a setting for which only one value is computed here, if it has another one."""
    given.must("attention_bias", False, False, "has biases in attention alone")
    given.must("rope_interleave", True, True, "turns channels half a head apart")
    given.must(
        "rms_norm_eps", EPSILON, EPSILON, "differs from that of the latent states' norms, which is fixed"
    )
    if given.value("num_key_value_heads", heads, int, type(None)) not in (None, heads):
        raise given.error("num_key_value_heads", "is not num_attention_heads", use=str(heads))
    # settings that transformers derives and writes in addition to those that they follow from
    still = given.size("qk_nope_head_dim", 128)
    given.must("head_dim", turned, turned, "is not qk_rope_head_dim")
    given.must("qk_head_dim", still + turned, still + turned, "is not qk_nope_head_dim + qk_rope_head_dim")
    given.must("moe_layer_freq", 1, 1, "has experts in every so manieth layer")
    given.must("scoring_func", "sigmoid", "sigmoid", "is another function of the router's output")
    given.must("topk_method", "noaux_tc", "noaux_tc", "chooses experts in another way")
    given.asked |= {"pretraining_tp", "ep_size"}  # another order of sums; how experts are distributed


def _experts(given: Given) -> dict[str, Any]:
    width, topk = given.size("moe_intermediate_size", 2048), given.size("num_experts_per_tok", 8)
    given.must("norm_topk_prob", True, topk > 1, f"does not belong to {topk} experts of a token")
    groups, chosen = given.size("n_group", 8, optional=True), given.size("topk_group", 4, optional=True)
    scale = given.number("routed_scaling_factor", 2.5)
    if (groups or 1) > 1 and topk // (chosen or 1) != BEST:
        raise given.error(
            "topk_group",
            f"makes a group's score of {BEST} experts, and of num_experts_per_tok {topk} / topk_group {chosen} = "
            f"{topk // (chosen or 1)} here",
            use=str(max(1, topk // BEST)),
        )
    shared = given.size("n_shared_experts", 1)
    found = {
        "num_moe_experts": given.size(given.renamed("n_routed_experts", "num_local_experts"), 256),
        "moe_router_topk": topk,
        "moe_ffn_hidden_size": width,
        "moe_shared_expert_intermediate_size": shared * width,
        "moe_router_score_function": "sigmoid",
        "moe_router_enable_expert_bias": True,
        "moe_router_topk_scaling_factor": None if scale == 1 else scale,
        "moe_router_num_groups": groups if (groups or 1) > 1 else None,
        "moe_router_group_topk": chosen if (groups or 1) > 1 else None,
    }
    # for training only, by the names of DeepSeek's own code: transformers has no such loss
    sequences = given.value("seq_aux", True, bool)
    if "aux_loss_alpha" in given.settings:
        balance = read_balance(given.number("aux_loss_alpha", 0.001))
        if sequences:
            found["moe_router_load_balancing_type"] = "seq_aux_loss"
        found |= balance
    return found
