"""Latent attention against transformers' DeepSeek-V3, and what is refused."""

import json
import sys
from pathlib import Path

import pytest

import warm
from refusals import refused
from slipway.config.compose import compose
from slipway.plan import make_plan

PROGRAM = Path(__file__).with_name("latent_in_transformers.py")
CLOSE = 1e-5  # relative, fp32

LATENT = {
    "multi_latent_attention": "true",
    "q_lora_rank": "48",
    "kv_lora_rank": "32",
    "qk_head_dim": "24",
    "qk_pos_emb_head_dim": "16",
    "v_head_dim": "32",
    "qk_layernorm": "true",
    "add_bias_linear": "false",
}


def words(**changed: str) -> list[str]:
    """A model with latent attention, some of its fields changed."""
    return ["model=demo", *(f"model.{name}={value}" for name, value in (LATENT | changed).items())]


@pytest.mark.timeout(200)
def test_it_is_deepseeks() -> None:
    """Logits and the gradients of all weights: the order of heads, of latent rows and of turned pairs is theirs."""
    done = warm.run([sys.executable, str(PROGRAM)], capture_output=True, timeout=180)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 4
    for name, apart in found.items():
        assert apart["largest"] > 0.5, name  # there is something to compare
        assert apart["logits"] < CLOSE, (name, apart)
        assert apart["gradients"] < CLOSE, (name, apart)


@pytest.mark.parametrize(
    ("field", "value", "use", "fact"),
    [
        ("num_query_groups", "2", "null", "heads"),
        ("kv_channels", "32", "null", "qk_head_dim"),
        ("position_embedding_type", "learned_absolute", "rope", "qk_pos_emb_head_dim"),
        ("qk_layernorm", "false", "true", "DeepSeek-V3"),
        ("add_bias_linear", "true", "false", "biases"),
        ("qk_pos_emb_head_dim", "15", (), "7 x 2 + 1"),
        ("kv_lora_rank", "null", (), "multi_latent_attention"),
        ("qk_head_dim", "null", (), "multi_latent_attention"),
        ("qk_pos_emb_head_dim", "null", (), "multi_latent_attention"),
        ("v_head_dim", "null", (), "multi_latent_attention"),
    ],
)
def test_what_it_does_not_go_with(field: str, value: str, use: str | tuple[str, ...], fact: str) -> None:
    with refused(f"model.{field}", fact, value=value, use=use):
        make_plan(compose(words(**{field: value})))


YARN = "type:yarn,factor:4,original_max_position_embeddings:64"


@pytest.mark.parametrize(
    ("scaling", "field", "value", "use"),
    [
        ("type:llama3,factor:8", "type", "llama3", "yarn"),
        (f"{YARN},attention_factor:1.5", "attention_factor", 1.5, "null"),
        (f"{YARN},truncate:false", "truncate", False, "true"),
    ],
)
def test_of_rotary_scalings_it_knows_one(scaling: str, field: str, value: object, use: str) -> None:
    make_plan(compose(words(rope_scaling=f"{{{YARN}}}")))
    with refused(f"model.rope_scaling.{field}", "multi_latent_attention", value=value, use=use):
        make_plan(compose(words(rope_scaling=f"{{{scaling}}}")))


@pytest.mark.parametrize("field", ["q_lora_rank", "kv_lora_rank", "qk_head_dim", "v_head_dim"])
def test_sizes_without_it_have_no_effect(field: str) -> None:
    with refused(f"model.{field}", "multi_latent_attention", value="32", use="null"):
        make_plan(compose(["model=demo", f"model.{field}=32"]))


def test_tensor_parallel_ranks_share_the_sequence() -> None:
    two = [*words(), "parallelism=tp2", "resources.devices_per_node=2"]
    make_plan(compose([*two, "parallelism.sequence_parallel=true"]))
    with refused("parallelism.sequence_parallel", "tensor_model_parallel_size 2", value=False, use="true"):
        make_plan(compose([*two, "parallelism.sequence_parallel=false"]))
