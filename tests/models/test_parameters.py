"""Parameters of every preset, whole and on ranks of layouts, against models that were built on torch's meta device."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import breadth
import warm
from presets import preset
from slipway.config.compose import compose
from slipway.models.family import Shard
from slipway.plan import make_plan
from slipway.plan.memory import Share
from training import layout

DRIVE = Path(__file__).parents[1] / "meta_parameters.py"
MIXTURES = ("mixtral", "qwen3_30b", "qwen3_moe", "deepseek")
CONF = Path(__file__).parents[2] / "conf" / "model"
LAYOUTS = {  # sizes, and ranks of several stages
    "whole": (dict(ranks=1), (0,)),
    "tp2_pp2": (dict(tp=2, sp=True, pp=2, ranks=4), (0, 3)),
    "tp4_pp2_vpp3": (dict(tp=4, sp=True, pp=2, vpp=3, ranks=8), (1, 4)),
    "pp4": (dict(pp=4, ranks=4), (0, 1, 3)),
    "ep4_tp2_pp2": (dict(tp=2, sp=True, pp=2, ep=4, ranks=16), (0, 13)),
    "ep2_tp4": (dict(tp=4, sp=True, ep=2, ranks=8), (5,)),
}
LATENT = [
    *("model.multi_latent_attention=true", "model.qk_layernorm=true", "model.q_lora_rank=48"),
    *("model.kv_lora_rank=40", "model.qk_head_dim=24", "model.qk_pos_emb_head_dim=12", "model.v_head_dim=20"),
    *("model.add_bias_linear=false", "model.normalization=LayerNorm"),
]


def cases() -> Iterator[tuple[str, int, list[str]]]:
    """Every preset in every layout that has its experts, and as many layers in each chunk."""
    for path in sorted(CONF.glob("*.yaml")):
        found = re.search(r"num_layers: (\d+)", path.read_text(encoding="utf-8"))
        layers = int(found[1]) if found else 0
        for place, (sizes, ranks) in LAYOUTS.items():
            chunks = sizes.get("pp", 1) * sizes.get("vpp", 1)
            if layers % chunks or ("ep" in sizes and not path.stem.startswith(MIXTURES)):
                continue
            words = [*preset(path.stem), "cluster=local", "parallelism=single", *layout(mbs=1, **sizes)]
            for rank in ranks:
                yield f"{path.stem}-{place}-{rank}", rank, [*words, "training.global_batch_size=16"]
    for name, words in (("latent", LATENT), ("latent_of_inputs", [*LATENT, "model.q_lora_rank=null"])):
        sizes = [*layout(mbs=1, **LAYOUTS["tp2_pp2"][0]), "training.global_batch_size=16"]
        yield f"{name}-tp2_pp2-3", 3, [*preset("demo"), *words, "cluster=local", "parallelism=single", *sizes]


TODAY = [
    *("model=demo", "model.num_layers=4", "model.activation=swiglu", "model.add_bias_linear=false"),
    *("model.num_moe_experts=8", "model.moe_ffn_hidden_size=96", "model.first_k_dense_replace=1"),
    *("model.moe_shared_expert_intermediate_size=192", "data.allow_large_models=true"),
]


def mixtures_of_today() -> Iterator[tuple[str, int, list[str]]]:
    """A dense layer and three mixtures, on ranks of each stage."""
    for place in ("whole", "tp2_pp2", "pp4", "ep4_tp2_pp2", "ep2_tp4"):
        sizes, ranks = LAYOUTS[place]
        words = [*TODAY, "cluster=local", "parallelism=single", *layout(mbs=1, **sizes)]
        for rank in ranks:
            yield f"today-{place}-{rank}", rank, [*words, "training.global_batch_size=16"]


FEW = [
    *("today-pp4-0", "today-ep4_tp2_pp2-13"),
    *("latent-tp2_pp2-3", "latent_of_inputs-tp2_pp2-3"),
    *("gpt3_350m-tp4_pp2_vpp3-4", "llama3_70b-tp2_pp2-0", "mixtral_8x7b-ep4_tp2_pp2-13", "demo-whole-0"),
    *("llama3_405b-whole-0", "prithvi_eo2_600m_tl-whole-0", "prithvi_eo2_300m_tl-tp2_pp2-3"),
    *("qwen3_30b_a3b-ep4_tp2_pp2-13", "deepseek_v3-ep2_tp4-5", "deepseek_demo-tp2_pp2-3"),
]
CASES = {
    name: (rank, words)
    for name, rank, words in [*cases(), *mixtures_of_today()]
    if breadth.ALL or name in FEW
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = tmp_path_factory.mktemp("built") / "result.json"
    done = warm.run(
        [sys.executable, str(DRIVE), str(result)], input=json.dumps(CASES), capture_output=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CASES)
def test_a_rank_has_the_parameters_of_the_model_that_is_built(built: dict[str, Any], name: str) -> None:
    rank, words = CASES[name]
    assert isinstance(built[name], list), built[name]["error"]
    config = compose(words)
    plan = make_plan(config)
    stage = plan.grid.coordinates(rank).pp
    planned = Share.of(config).parameters(plan.grid, stage)
    assert planned.total == sum(built[name])
    if plan.grid.ep > 1:  # else Megatron-core makes no difference between experts and the rest
        assert planned == Shard(*built[name])
    if plan.world_size == 1:
        assert plan.parameters == sum(built[name])
