"""Which of transformers' classes a model is, and which model a config.json is: against transformers itself."""

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_layers import MtpModel

import breadth
from models.gpt.formats import published
from presets import preset
from refusals import refused
from slipway.config.compose import compose, conf_dir
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.formats import Shape
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.gpt.formats import FORMATS
from slipway.models.gpt.formats.huggingface import ARCHITECTURES, HuggingFace

HF = FORMATS["hf"]
BASE = compose(["model=demo"])
BIAS = "e_score_correction_bias"
CLASSES = {architecture.name: architecture for architecture in ARCHITECTURES}
NEOX = {
    "use_parallel_residual": False,
    "rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 1.0},
}
STRETCHED: tuple[dict[str, Any], ...] = (
    {"type": "llama3", "factor": 8.0},
    {"type": "llama3", "factor": 2.0, "original_max_position_embeddings": 16, "low_freq_factor": 0.5},
    {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "beta_slow": 2.0},
    {
        "type": "yarn",
        "factor": 40.0,
        "original_max_position_embeddings": 16,
        "mscale": 1.0,
        "mscale_all_dim": 0.5,
        "truncate": False,
    },
)
ONLY = {"GPTNeoXForCausalLM": NEOX}
"""What a class's own defaults must be replaced with to be computed here."""


def config_of(**fields: Any) -> RunConfig:
    section = {"name": "small", "num_layers": 2, "vocab_size": 131, "max_position_embeddings": 32}
    return BASE.model_copy(update={"model": Config(**section | fields)})


def theirs(settings: Mapping[str, Any], folder: Path) -> Any:
    """What AutoConfig makes of a config.json."""
    (folder / "config.json").write_text(json.dumps(dict(settings)))
    return AutoConfig.from_pretrained(folder)


def shapes_of(config: Any) -> dict[str, Shape]:
    """Names and shapes of what transformers builds, by the names of its files."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
        further = dict(_prediction(model, config))
    found: dict[str, Shape] = {}
    for name, weight in [*model.named_parameters(), *further.items()]:
        if ".mlp.experts." in name or name.endswith(".mlp.gate.weight"):  # stacked in memory, apart in files
            found |= _of_experts(name, tuple(weight.shape), config.model_type)
        else:
            found[name] = tuple(weight.shape)
    found |= {name: tuple(one.shape) for name, one in model.named_buffers() if name.endswith(BIAS)}
    if config.model_type == "gpt_neox" and "lm_head.weight" in found:  # as transformers 5 calls it in memory
        found["embed_out.weight"] = found.pop("lm_head.weight")
    return found


def _prediction(model: Any, config: Any) -> Iterator[tuple[str, Any]]:
    """Layers that transformers would use to generate, by the names of published files."""
    depths, layers = getattr(config, "num_mtp_layers", 0), config.num_hidden_layers
    if not depths:
        return
    others = {"mtp_block.": "", "post_norm.": "shared_head.norm."}
    own = MtpModel(model, depths).layers
    for name, weight in [*own.named_parameters(), *own.named_buffers()]:
        number, _, rest = name.partition(".")
        for theirs, ours in others.items():
            rest = rest.replace(theirs, ours)
        yield f"model.layers.{layers + int(number)}.{rest}", weight


def _of_experts(name: str, shape: Shape, kind_of_model: str) -> dict[str, Shape]:
    first, last = ("gate_proj", "up_proj"), ("down_proj",)
    if kind_of_model == "mixtral":
        name, first, last = name.replace(".mlp.", ".block_sparse_moe."), ("w1", "w3"), ("w2",)
    if name.endswith("gate.weight"):
        return {name: shape}
    place, _, kind = name.rpartition(".")
    number, rows, columns = shape
    names = {"gate_up_proj": first, "down_proj": last}[kind]
    return {
        f"{place}.{e}.{own}.weight": (rows // len(names), columns) for e in range(number) for own in names
    }


def ours(config: RunConfig, form: Any = HF) -> dict[str, Shape]:
    return {name: shape for part in form.parts(config) for name, shape in part.theirs.items()}


@st.composite
def models(draw: st.DrawFn) -> RunConfig:
    """Any model of the family, whether a class holds it or not."""
    heads = draw(st.sampled_from([1, 3, 5, 6, 9]))
    size = draw(st.sampled_from([None, 8, 10]))
    hidden = heads * 8 if size is None else draw(st.sampled_from([heads * 8, 40, 66]))
    positions = draw(st.sampled_from(["rope", "learned_absolute"]))
    experts = draw(st.sampled_from([None, None, 4]))
    if draw(st.integers(0, 3)) == 0:
        return draw(latent_models())
    mixture: dict[str, Any] = {}
    if experts:
        mixture = {
            "num_moe_experts": experts,
            "moe_router_topk": draw(st.sampled_from([1, 2])),
            "moe_ffn_hidden_size": draw(st.sampled_from([None, 20])),
            "moe_router_pre_softmax": draw(st.booleans()),
            "first_k_dense_replace": draw(st.sampled_from([0, 0, 1])),
        }
    return config_of(
        hidden_size=hidden,
        num_attention_heads=heads,
        kv_channels=size,
        num_query_groups=draw(st.sampled_from([None, *(g for g in (1, 3) if heads % g == 0)])),
        ffn_hidden_size=draw(st.sampled_from([None, 36])),
        position_embedding_type=positions,
        rotary_base=draw(st.sampled_from([10000, 500000, 999999.4420358813])),
        rope_scaling=draw(st.sampled_from([None, *STRETCHED])) if positions == "rope" else None,
        normalization=draw(st.sampled_from(["LayerNorm", "RMSNorm"])),
        norm_epsilon=draw(st.sampled_from([1e-5, 1e-6])),
        activation=draw(st.sampled_from(["gelu", "gelu_tanh", "swiglu"])),
        add_bias_linear=not experts and draw(st.booleans()),
        untie_embeddings_and_output_weights=draw(st.booleans()),
        hidden_dropout=draw(st.sampled_from([0.0, 0.1])),
        qk_layernorm=draw(st.booleans()),
        **mixture,
    )


@st.composite
def latent_models(draw: st.DrawFn) -> RunConfig:
    """With latent attention, of which one class may hold it."""
    mixture: dict[str, Any] = {}
    if draw(st.booleans()):
        topk = draw(st.sampled_from([1, 2, 4]))
        groups = draw(st.sampled_from([(None, None), (2, 1), (4, 2)])) if topk > 1 else (None, None)
        mixture = {
            "num_moe_experts": 8,
            "moe_router_topk": topk,
            "moe_ffn_hidden_size": draw(st.sampled_from([20, 24])),
            "moe_shared_expert_intermediate_size": draw(st.sampled_from([None, 120])),
            "moe_router_score_function": draw(st.sampled_from(["sigmoid", "sigmoid", "softmax"])),
            "moe_router_enable_expert_bias": draw(st.sampled_from([True, True, False])),
            "moe_router_topk_scaling_factor": draw(st.sampled_from([None, 2.5])),
            "moe_router_num_groups": groups[0],
            "moe_router_group_topk": groups[1],
            "first_k_dense_replace": draw(st.sampled_from([0, 1])),
            "mtp_num_layers": draw(st.sampled_from([None, 2])),
        }
    return config_of(
        hidden_size=24,
        num_attention_heads=3,
        multi_latent_attention=True,
        qk_layernorm=True,
        q_lora_rank=draw(st.sampled_from([None, 12])),
        kv_lora_rank=10,
        qk_head_dim=6,
        qk_pos_emb_head_dim=4,
        v_head_dim=draw(st.sampled_from([6, 8])),
        ffn_hidden_size=36,
        position_embedding_type="rope",
        normalization="RMSNorm",
        norm_epsilon=draw(st.sampled_from([1e-6, 1e-6, 1e-5])),
        activation="swiglu",
        add_bias_linear=False,
        untie_embeddings_and_output_weights=draw(st.booleans()),
        **mixture,
    )


@settings(max_examples=300 if breadth.ALL else 40)
@given(config=models())
def test_a_model_is_refused_or_the_same_there_and_back(config: RunConfig, tmp_path_factory: Any) -> None:
    model = gpt_of(config)
    try:
        HF.check(config)
    except UserError as error:
        assert error.path.startswith("model.") and (error.use or error.do), str(error)
        assert getattr(model, error.path.removeprefix("model.")) is not None
        with pytest.raises(UserError):
            HF.settings(config, 7)
        return
    written = HF.settings(config, 7)
    read = theirs(written, tmp_path_factory.getbasetemp())
    assert (read.eos_token_id, read.bos_token_id, read.vocab_size) == (7, None, 131)
    assert ours(config) == shapes_of(read)
    (name,) = written["architectures"]
    for told in (
        written,
        {**read.to_dict(), "architectures": [name]},
    ):  # as it is, and as transformers 5 keeps it
        back = Config(**HF.fields(told))
        assert (back.blocks, back.padded_vocab_size) == (model.blocks, model.padded_vocab_size)
        same = {"num_layers", "position_embedding_type", "max_position_embeddings", "rope_scaling"}
        same |= {"untie_embeddings_and_output_weights", "init_method_std"}
        same |= {"rotary_base"} if model.position_embedding_type == "rope" else set()
        same |= {"moe_aux_loss_coeff", "moe_router_pre_softmax"} if model.num_moe_experts else set()
        same |= {"moe_router_score_function", "moe_router_enable_expert_bias", "mtp_num_layers"}
        same |= {"moe_router_topk_scaling_factor", "moe_router_num_groups", "moe_router_group_topk"}
        assert {key: getattr(back, key) for key in same} == {key: getattr(model, key) for key in same}


@pytest.mark.parametrize(
    ("fields", "path", "use"),
    [
        (dict(num_query_groups=1), "num_query_groups", ["null", "position_embedding_type=rope"]),
        (dict(normalization="RMSNorm"), "normalization", "LayerNorm"),
        (dict(activation="swiglu"), "activation", ["gelu", "gelu_tanh"]),
        (dict(kv_channels=10), "kv_channels", "null"),
        (dict(position_embedding_type="rope", activation="swiglu"), "activation", "normalization=RMSNorm"),
        (dict(position_embedding_type="rope", normalization="RMSNorm"), "activation", "swiglu"),
        (dict(num_moe_experts=4, add_bias_linear=False), "position_embedding_type", "rope"),
    ],
)
def test_what_no_class_holds(fields: dict[str, Any], path: str, use: Any) -> None:
    with refused(f"model.{path}", use=use):
        HF.check(config_of(hidden_size=24, num_attention_heads=3, **fields))


@pytest.mark.parametrize("name", CLASSES)
def test_what_a_file_leaves_out_is_the_classes_own(name: str) -> None:
    kind = AutoConfig.for_model(CLASSES[name].model_type, **ONLY.get(name, {}))
    told = {**kind.to_dict(), "architectures": [name]}
    left_out = {"architectures": [name], **ONLY.get(name, {})}
    assert HF.fields(told) == HF.fields(left_out)


PRESETS = sorted(
    path.stem
    for path in (conf_dir() / "model").glob("*.yaml")
    if not path.stem.startswith(("prithvi", "earth"))
)


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_and_number_of_parameters_of_every_preset(name: str, tmp_path: Path) -> None:
    config = compose(preset(name))
    found, expected = ours(config), shapes_of(theirs(HF.settings(config, None), tmp_path))
    assert found == expected
    assert sum(map(prod, found.values())) == sum(map(prod, expected.values()))


@pytest.mark.parametrize("name", published.PRESETS)
def test_a_preset_is_what_was_published(name: str) -> None:
    told = HF.fields(published.PRESETS[name])
    written = HF.fields(HF.settings(compose([*preset(name), *published.AFTERWARDS.get(name, [])]), None))
    if name == "deepseek_v3":  # whose config.json does not say how loads were balanced
        written = {key: value for key, value in written.items() if key in told}
    assert told == written


def like(name: str, **changed: Any) -> dict[str, Any]:
    """A small config.json of a class, and something else in it."""
    small = {
        "GPT2LMHeadModel": dict(learned(), activation="gelu_tanh"),
        "GPTNeoXForCausalLM": dict(rotary(), add_bias_linear=True),
        "Starcoder2ForCausalLM": dict(rotary(), num_query_groups=1),
        "LlamaForCausalLM": dict(gated(), num_query_groups=1, rope_scaling=STRETCHED[0]),
        "MixtralForCausalLM": dict(gated(), num_moe_experts=4),
        "Qwen3ForCausalLM": dict(gated(), qk_layernorm=True),
        "Qwen3MoeForCausalLM": dict(gated(), qk_layernorm=True, num_moe_experts=4),
        "DeepseekV3ForCausalLM": latent(),
    }[name]
    written = dict(HF.settings(config_of(hidden_size=24, num_attention_heads=3, **small), 7))
    assert written["architectures"] == [name]
    return written | changed


def latent() -> dict[str, Any]:
    return gated() | {
        "norm_epsilon": 1e-6,
        "multi_latent_attention": True,
        "qk_layernorm": True,
        **{
            "q_lora_rank": 12,
            "kv_lora_rank": 10,
            "qk_head_dim": 6,
            "qk_pos_emb_head_dim": 4,
            "v_head_dim": 8,
        },
        "num_moe_experts": 8,
        "moe_ffn_hidden_size": 16,
        "moe_shared_expert_intermediate_size": 16,
        "first_k_dense_replace": 1,
        "moe_router_topk": 4,
        "moe_router_score_function": "sigmoid",
        "moe_router_enable_expert_bias": True,
        **{"moe_router_num_groups": 4, "moe_router_group_topk": 2},
    }


def learned() -> dict[str, Any]:
    return {"position_embedding_type": "learned_absolute"}


def rotary() -> dict[str, Any]:
    return {"position_embedding_type": "rope"}


def gated() -> dict[str, Any]:
    return rotary() | {"normalization": "RMSNorm", "activation": "swiglu", "add_bias_linear": False}


G, N, S, L, M, Q, QM, D = CLASSES
SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SCALED |= {"original_max_position_embeddings": 8192}
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 4096}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (G, {"activation_function": "relu"}, "activation_function"),
    (G, {"embd_pdrop": 0.1}, "embd_pdrop"),
    (G, {"scale_attn_weights": False}, "scale_attn_weights"),
    (G, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    (G, {"add_cross_attention": True}, "add_cross_attention"),
    (G, {"n_head": "3"}, "n_head"),
    (G, {"n_layer": 0}, "n_layer"),
    (G, {"n_embd": True}, "n_embd"),
    (N, {"use_parallel_residual": True}, "use_parallel_residual"),
    (N, {"attention_bias": False}, "attention_bias"),
    (N, {"rotary_pct": 0.25}, "rope_parameters"),  # which says another
    (N, {"rotary_pct": 0.25, "rope_parameters": None}, "rotary_pct"),
    (N, {"rope_parameters": {"partial_rotary_factor": 0.5}, "rotary_pct": 0.5}, "rotary_pct"),
    (S, {"sliding_window": 16}, "sliding_window"),
    (S, {"residual_dropout": 0.1}, "embedding_dropout"),
    (S, {"norm_type": "rms_norm"}, "norm_type"),
    (S, {"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "rope_parameters": None}, "rope_scaling"),
    (L, {"attention_bias": True}, "mlp_bias"),
    (L, {"mlp_bias": True}, "mlp_bias"),
    (L, {"hidden_act": "gelu"}, "hidden_act"),
    (L, {"rope_interleaved": True}, "rope_interleaved"),
    (L, {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    (L, {"rope_parameters": {**SCALED, "rope_type": "yarn"}, "rope_scaling": None}, "rope_parameters"),
    (L, {"rope_parameters": {**SCALED, "low_freq_factor": 2.0}}, "rope_parameters"),
    (L, {"rope_parameters": {**SCALED, "high_freq_factor": 1.0}, "rope_scaling": None}, "rope_parameters"),
    (L, {"rope_parameters": {**SCALED, "high_freq_factor": None}, "rope_scaling": None}, "rope_parameters"),
    (L, {"rope_parameters": {**YARN, "mscale": 0.7}, "rope_scaling": None}, "rope_parameters"),
    (L, {"rope_parameters": {**YARN, "factor": None}, "rope_scaling": None}, "rope_parameters"),
    (L, {"rope_parameters": {**YARN, "beta_fast": "32"}, "rope_scaling": None}, "rope_parameters"),
    (L, {"rope_parameters": {**SCALED, "original_max_position_embeddings": 4096}}, "rope_parameters"),
    (L, {"rope_parameters": {**SCALED, "mscale": 1.0}}, "rope_parameters"),
    (L, {"rope_theta": 77.0}, "rope_parameters"),  # which says another
    (
        L,
        {"rope_parameters": {"rope_theta": "10000"}, "rope_scaling": None, "rope_theta": 1},
        "rope_parameters",
    ),
    (L, {"quantization_config": {"bits": 4}}, "quantization_config"),
    (L, {"auto_map": {"AutoModel": "mine.py"}}, "auto_map"),
    (L, {"pruned_heads": {"0": [1]}}, "pruned_heads"),
    (L, {"query_pre_attn_scalar": 2}, "query_pre_attn_scalar"),
    (L, {"num_attention_heads": None}, "num_attention_heads"),
    (L, {"tie_word_embeddings": None}, "tie_word_embeddings"),
    (L, {"rms_norm_eps": "1e-5"}, "rms_norm_eps"),
    (L, {"architectures": ["LlamaModel"]}, "architectures"),
    (L, {"architectures": ["Gemma3ForCausalLM"]}, "architectures"),
    (L, {"architectures": None}, "architectures"),
    (L, {"architectures": [["LlamaForCausalLM"]]}, "architectures"),
    (L, {"model_type": "mistral"}, "model_type"),
    (M, {"sliding_window": 16}, "sliding_window"),
    (M, {"router_jitter_noise": 0.1}, "router_jitter_noise"),
    (M, {"hidden_act": ["silu"]}, "hidden_act"),
    (Q, {"attention_bias": True}, "attention_bias"),
    (Q, {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}, "sliding_window"),
    (Q, {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
    (
        Q,
        {
            "layer_types": ["full_attention", "sliding_attention"],
            "use_sliding_window": True,
            "sliding_window": 9,
        },
        "sliding_window",
    ),
    (Q, {"head_dim": None}, "head_dim"),
    (QM, {"attention_bias": True}, "attention_bias"),
    (QM, {"use_sliding_window": True, "sliding_window": 16}, "sliding_window"),
    (QM, {"decoder_sparse_step": 2}, "decoder_sparse_step"),
    (QM, {"mlp_only_layers": [1]}, "mlp_only_layers"),
    (QM, {"mlp_only_layers": [0, 1]}, "mlp_only_layers"),
    (QM, {"num_local_experts": 8}, "num_local_experts"),
    (QM, {"norm_topk_prob": 1}, "norm_topk_prob"),
    (D, {"attention_bias": True}, "attention_bias"),
    (D, {"rope_interleave": False}, "rope_interleave"),
    (D, {"rms_norm_eps": 1e-5}, "rms_norm_eps"),
    (D, {"num_key_value_heads": 1}, "num_key_value_heads"),
    (D, {"head_dim": 8}, "head_dim"),
    (D, {"qk_head_dim": 9}, "qk_head_dim"),
    (D, {"moe_layer_freq": 2}, "moe_layer_freq"),
    (D, {"scoring_func": "softmax"}, "scoring_func"),
    (D, {"topk_method": "greedy"}, "topk_method"),
    (D, {"norm_topk_prob": False}, "norm_topk_prob"),
    (D, {"topk_group": 4}, "topk_group"),
    (D, {"n_shared_experts": 0}, "n_shared_experts"),
    (D, {"num_mtp_layers": 1}, "num_mtp_layers"),
    (D, {"kv_lora_rank": None}, "kv_lora_rank"),
]


@pytest.mark.parametrize(
    ("name", "changed", "setting"), REFUSED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_what_would_compute_something_else_is_refused(name: str, changed: dict, setting: str) -> None:
    HF.fields(like(name))
    with refused(f"config.json {setting}"):
        HF.fields(like(name, **changed))


def test_published_models_that_are_not_computed_here_say_why() -> None:
    with refused("config.json use_parallel_residual", value="true", use="false"):
        HF.fields(published.PYTHIA)
    with refused(
        "config.json sliding_window", "16384", value="4096", use=["null", "max_position_embeddings", "4096"]
    ):
        HF.fields(published.STARCODER2_3B)
    fields = HF.fields(published.STARCODER2_3B | {"max_position_embeddings": 4096})
    assert (fields["rotary_base"], fields["activation"]) == (999999.4420358813, "gelu_tanh")


def test_a_window_as_wide_as_the_longest_sequence_is_none() -> None:
    for name in (S, M):
        assert HF.fields(like(name, sliding_window=32)) == HF.fields(like(name))


def test_a_folder_is_read_by_its_own_class_even_where_another_would_be_written() -> None:
    """Starcoder2 with as many keys as heads is GPT-NeoX's model, too; its files have Starcoder2's names."""
    config = config_of(hidden_size=24, num_attention_heads=3, **rotary())
    assert HF.settings(config, None)["architectures"] == [N]
    form = HF.of({"architectures": [S]})
    form.check(config)
    read, written = (HF.fields(each.settings(config, None)) for each in (form, HF))
    assert Config(**{**read, "name": ""}) == Config(**{**written, "name": ""})
    assert "model.layers.1.self_attn.q_proj.bias" in ours(config, form)
    assert "gpt_neox.layers.1.attention.query_key_value.bias" in ours(config)


def test_older_files_names() -> None:
    """Published GPT-2 has no prefix, and masks beside its weights; tied tables may be there twice."""
    tied = config_of(hidden_size=24, num_attention_heads=3, **learned())
    form = HF.of({"architectures": [G]})
    assert form.renamed("h.0.attn.c_attn.weight") in ours(tied, form)
    assert form.renamed("transformer.wte.weight") == "transformer.wte.weight"
    assert form.left_out(tied, form.renamed("h.11.attn.bias")) == ""
    assert form.left_out(tied, form.renamed("lm_head.weight")) == "transformer.wte.weight"
    assert form.left_out(tied, "transformer.h.0.attn.c_attn.bias") is None
    untied = config_of(
        hidden_size=24, num_attention_heads=3, untie_embeddings_and_output_weights=True, **learned()
    )
    assert form.left_out(untied, "lm_head.weight") is None
    neox = HF.of({"architectures": [N]})
    assert neox.left_out(tied, neox.renamed("layers.3.attention.rotary_emb.inv_freq")) == ""


@settings(max_examples=300 if breadth.ALL else 40)
@given(config=models(), seed=st.integers(0, 9))
def test_numbers_are_moved_and_none_is_computed(config: RunConfig, seed: int) -> None:
    """There and back is the same; each number of ours is once among theirs; padding is zeros."""
    model = gpt_of(config)
    for architecture in ARCHITECTURES:
        if architecture.trouble(model) is not None:
            continue
        if architecture.name != D and (architecture.name in (M, QM)) != bool(model.num_moe_experts):
            continue
        if (architecture.name == G) != (model.position_embedding_type == "learned_absolute"):
            continue
        for part in HuggingFace(architecture).parts(config):
            numbers = torch.from_numpy(
                np.random.default_rng(seed).permutation(prod(part.shape)).astype("float32")
            )
            whole = numbers.reshape(part.shape) + 1
            split = part.split(whole)
            assert [tuple(t.shape) for t in split] == list(part.theirs.values())
            back = part.join(split)
            if part.shape[0] == model.padded_vocab_size and len(part.shape) == 2 and not part.at:
                assert torch.equal(back[:131], whole[:131])
                assert back.shape == whole.shape and back[131:].abs().sum() == 0
            else:
                assert torch.equal(back, whole)
                assert sorted(x for t in split for x in t.flatten().tolist()) == sorted(
                    whole.flatten().tolist()
                )
