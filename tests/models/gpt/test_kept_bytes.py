"""What a layer really keeps until its backward pass (see kept_bytes.py) is what the plan says, module by module.

With numbers on a CPU; on a fake GPU with what its kernels keep, mixtures and context parallelism included.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import breadth
from slipway.config.compose import compose
from slipway.kernels.probe import probe_triton
from slipway.models.gpt.share import share_of
from slipway.models.transformer.activations import layer_bytes
from slipway.models.transformer.buffers import gathered_bytes
from training import SMALL, layout

pytestmark = pytest.mark.slow  # `make test-py312` runs it, with Triton's kernels

DRIVE = Path(__file__).parents[2] / "kept_bytes.py"
CLOSE = 0.025  # relative; the rest is norms' statistics, and the order of a mixture's tokens
BASE = [
    *(*SMALL, "data=stdlib", "data.tokenizer.kind=byte", "training.steps=4"),
    *("model.num_layers=2", "model.hidden_size=256", "model.max_position_embeddings=64"),
]
GPT = ["model.position_embedding_type=learned_absolute"]
DROPOUT = [*GPT, "model.hidden_dropout=0.1", "model.attention_dropout=0.1"]
LLAMA = [
    *("model.activation=swiglu", "model.normalization=RMSNorm", "model.add_bias_linear=false"),
    *("model.num_query_groups=2", "model.ffn_hidden_size=704", "model.position_embedding_type=rope"),
]
EXPERTS = [*LLAMA, "model.num_moe_experts=4", "model.moe_router_topk=4"]
LATENT = [
    *("model.activation=swiglu", "model.normalization=RMSNorm", "model.add_bias_linear=false"),
    *("model.ffn_hidden_size=704", "model.multi_latent_attention=true", "model.qk_layernorm=true"),
    *(
        "model.q_lora_rank=96",
        "model.kv_lora_rank=64",
        "model.qk_head_dim=48",
        "model.qk_pos_emb_head_dim=16",
    ),
    *("model.v_head_dim=48", "kernels.attention=torch"),
]
# of two layers the second one, which is looked at, is a mixture
TODAY = [*EXPERTS, "model.first_k_dense_replace=1", "model.moe_ffn_hidden_size=352"]
TODAY += ["model.moe_shared_expert_intermediate_size=704", "model.moe_router_score_function=sigmoid"]
TODAY += ["model.moe_router_enable_expert_bias=true"]
NORMED = [*LLAMA, "model.qk_layernorm=true", "model.add_qkv_bias=true"]
LONG = ["model.max_position_embeddings=1024", "data.sequence_length=1024"]
WINDOW = [*NORMED, *LONG, "model.window_size=256"]
ALONE = [*layout(ranks=1), "training.global_batch_size=2"]
EIGHT = layout(ranks=8)
UNFUSED = ["kernels.activation=unfused", "kernels.rotary=unfused"]
# a torch for CPUs comes without it
FUSED = [] if probe_triton().usable else UNFUSED


def again(names: str = "") -> list[str]:
    return ["training.recompute=selective", *([f"training.recompute_modules=[{names}]"] if names else [])]


ANYWHERE = {
    "gpt": [*GPT, *ALONE],
    "gpt_dropout": [*DROPOUT, *ALONE],
    "gpt_dropout_by_rule": [*DROPOUT, *ALONE, *again()],
    "llama": [*LLAMA, *ALONE],
    "llama_norm": [*LLAMA, *ALONE, *again("norm")],
    "llama_activation": [*LLAMA, *ALONE, *again("activation")],
    "llama_by_rule_mbs2": [*LLAMA, *ALONE, *again(), "training.micro_batch_size=2"],
    "llama_mlp": [*LLAMA, *ALONE, *again("mlp")],
    "llama_norm_mlp_tp2": [*LLAMA, *EIGHT, *layout(tp=2), *again("norm,mlp")],
    "llama_full_tp2_sp": [*LLAMA, *EIGHT, *layout(tp=2, sp=True, recompute="full")],
    "llama_tp2_sp": [*LLAMA, *EIGHT, *layout(tp=2, sp=True)],
    "llama_cp2": [*LLAMA, *EIGHT, *layout(cp=2)],
    "gpt_cp2": [*GPT, *EIGHT, *layout(cp=2)],
    "latent_mbs2": [*LATENT, *ALONE, "training.micro_batch_size=2"],
    "latent_wide_values": [*LATENT, *ALONE, "model.v_head_dim=80"],
    "latent_alike": [*LATENT, *ALONE, "model.v_head_dim=64", "model.q_lora_rank=null"],
    "latent_up_tp2": [*LATENT, *EIGHT, *layout(tp=2, sp=True), *again("norm,mla_up_proj")],
    "latent_cp2": [*LATENT, *EIGHT, *layout(cp=2)],
    "latent_up_cp2": [*LATENT, *EIGHT, *layout(cp=2), *again("mla_up_proj")],
    "latent_documents": [*LATENT, *ALONE, "data.reset_attention_mask=true"],
    "normed": [*NORMED, *ALONE],
    "normed_gpt": [*GPT, "model.qk_layernorm=true", *ALONE],
    "normed_cp2": [*NORMED, *EIGHT, *layout(cp=2)],
    "normed_window_tp2_sp": [*WINDOW, *EIGHT, *layout(tp=2, sp=True)],
    "window_cp2": [*LLAMA, *LONG, "model.window_size=256", *EIGHT, *layout(cp=2)],
    "short_window": [*LLAMA, *LONG, "model.window_size=64", *ALONE],
}
OF = {
    "cpu": {
        **ANYWHERE,
        "latent_dropout": [*LATENT, *ALONE, "model.attention_dropout=0.1"],
        "llama_bf16": [*LLAMA, *ALONE, *layout(precision="bf16")],
        "normed_bf16": [*NORMED, *ALONE, *layout(precision="bf16")],
        "experts": [*EXPERTS, *ALONE],
        "experts_by_rule": [*EXPERTS, *ALONE, *again()],
        "experts_again": [*EXPERTS, *ALONE, *again("norm,experts")],
        "today": [*TODAY, *ALONE],
        "today_by_rule": [*TODAY, *ALONE, *again()],
        "today_again": [*TODAY, *ALONE, *again("norm,shared_experts")],
    },
    "cuda": {
        **ANYWHERE,
        "llama_unfused": [*LLAMA, *ALONE, *UNFUSED],
        "llama_documents": [*LLAMA, *ALONE, "data.reset_attention_mask=true"],
        "experts_ep2": [*EXPERTS, *EIGHT, *layout(ep=2)],
        "experts_tp2_ep2": [*EXPERTS, *EIGHT, *layout(tp=2, sp=True, ep=2)],
        "experts_tp2_ep2_by_rule": [*EXPERTS, *EIGHT, *layout(tp=2, sp=True, ep=2), *again()],
        "experts_tp2_ep2_again": [*EXPERTS, *EIGHT, *layout(tp=2, sp=True, ep=2), *again("norm,experts")],
        "today_tp2_ep2": [*TODAY, *EIGHT, *layout(tp=2, sp=True, ep=2)],
        "today_tp2_ep2_again": [
            *(*TODAY, *EIGHT, *layout(tp=2, sp=True, ep=2), *again("norm,experts,shared_experts")),
        ],
        "experts_gathered": [
            *(*EXPERTS, *EIGHT, *layout(tp=2, sp=True, ep=2)),
            "parallelism.moe_token_dispatcher_type=allgather",
        ],
    },
}
if not breadth.ALL:
    shown = {"llama", "llama_by_rule_mbs2", "llama_norm_mlp_tp2", "llama_full_tp2_sp", "normed_window_tp2_sp"}
    few = {
        "cpu": {*shown, "gpt_dropout_by_rule", "experts_again", "latent_up_tp2", "today_again"},
        "cuda": {*shown, "llama_cp2", "experts_tp2_ep2_again", "latent_cp2", "today_tp2_ep2"},
    }
    OF = {kind: {name: run for name, run in runs.items() if name in few[kind]} for kind, runs in OF.items()}
CASES = [(kind, name) for kind, runs in OF.items() for name in runs]


def words(kind: str, name: str) -> list[str]:
    device = [] if kind == "cpu" else ["cluster=local_gpu", *layout(precision="bf16"), *FUSED]
    return [*BASE, *device, *OF[kind][name]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """Bytes by device and run, from one process for each device."""
    folder, found = tmp_path_factory.mktemp("kept"), {}
    for kind, runs in OF.items():
        result = folder / f"{kind}.json"
        done = subprocess.run(
            [sys.executable, DRIVE, result, kind, "1"],
            input=json.dumps({name: words(kind, name) for name in runs}),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        found |= {(kind, name): value for name, value in json.loads(result.read_text()).items()}
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_a_layer_keeps_what_the_plan_says(kept: dict[tuple[str, str], Any], kind: str, name: str) -> None:
    measured, config = kept[kind, name], compose(words(kind, name))
    assert isinstance(measured, int), measured["error"]
    share = share_of(config, config.parallelism)
    share = share._replace(block=share.blocks[1])
    # the dispatcher's one buffer is there from the first layer on
    assert layer_bytes(share, share.recomputed) + gathered_bytes(share) == pytest.approx(measured, rel=CLOSE)


@pytest.mark.parametrize("kind", OF)
def test_recomputation_saves_memory(kept: dict[tuple[str, str], Any], kind: str) -> None:
    none, rule, product, whole = (
        kept[kind, f"llama{name}"] / tokens
        for name, tokens in (("", 1), ("_by_rule_mbs2", 2), ("_norm_mlp_tp2", 1), ("_full_tp2_sp", 1))
    )
    assert rule < 0.75 * none and product < 0.5 * none and whole < 0.1 * none
