"""The bytes and kernels that the plan expects on a CPU, against the calls of torch that a microbatch makes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import warm
from slipway.config.compose import compose
from slipway.models import family
from slipway.plan import make_plan

DRIVE = Path(__file__).parents[2] / "bytes_of_step.py"
ONE = ["parallelism=single", "cluster=local", "training.steps=4", "training.recompute=none"]
ONE += ["training.micro_batch_size=1", "checkpoint.interval=0", "validation.steps=0"]
TEXT = [*ONE, "model=demo", "data=stdlib", "data.tokenizer.kind=byte", "model.num_layers=2"]
TEXT += ["model.hidden_size=128", "model.num_attention_heads=4", "model.vocab_size=2048"]
RMS, GATED = "model.normalization=RMSNorm", ["model.activation=swiglu", "model.ffn_hidden_size=352"]
LLAMA = [*GATED, RMS, "model.add_bias_linear=false", "model.num_query_groups=2"]
EXPERTS = ["model.num_moe_experts=4", "model.moe_router_topk=2"]
LATENT = ["model.multi_latent_attention=true", "model.q_lora_rank=48", "model.kv_lora_rank=32"]
LATENT += ["model.qk_head_dim=24", "model.qk_pos_emb_head_dim=8", "model.v_head_dim=24"]
CASES = {
    "gpt": TEXT,
    "learned positions": [*TEXT, "model.position_embedding_type=learned_absolute"],
    "full recomputation": [*TEXT, "training.recompute=full"],
    "rms": [*TEXT, RMS],
    "gated": [*TEXT, *GATED],
    "llama": [*TEXT, *LLAMA],
    "untied": [*TEXT, *LLAMA, "model.untie_embeddings_and_output_weights=true"],
    "normalized queries": [*TEXT, *LLAMA, "model.qk_layernorm=true"],
    "mixture": [*TEXT, *LLAMA, *EXPERTS],
    "latent": [*TEXT, *LLAMA[:-1], *LATENT, "model.qk_layernorm=true"],
    "imagery": [*ONE, "model=earth_demo", "data=any_imagery", "optimizer.lr_warmup_steps=1"],
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = tmp_path_factory.mktemp("moves") / "result.json"
    done = warm.run(
        [sys.executable, str(DRIVE), str(result)], input=json.dumps(CASES), capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


@pytest.mark.parametrize("name", CASES)
def test_what_a_microbatch_moves(counted: dict[str, Any], name: str) -> None:
    assert "error" not in counted[name], counted[name]["error"]
    config = make_plan(compose(CASES[name])).config
    passes = [
        one
        for work in family(config).work(config, config.parallelism)
        for one in (work.forward, work.backward, work.again)
    ]
    # what moves the patches of imagery through the head is a round number in the plan
    near = 0.25 if name == "imagery" else 0.05
    assert sum(one.moved_bytes for one in passes) == pytest.approx(counted[name]["bytes"], rel=near)
    assert sum(one.kernels for one in passes) == pytest.approx(counted[name]["kernels"], rel=0.15)
