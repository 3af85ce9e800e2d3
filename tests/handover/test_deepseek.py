"""What DeepSeek-V3's folders have besides: biases that no optimizer updates, and layers that predict further tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch

from handover import folders
from handover.folders import AUTO, State, given_to, taken
from refusals import check_line
from slipway.checkpoint import store
from slipway.cli import main
from slipway.plan import plan_file
from slipway.run_dir import RunDir

CONFIG: dict[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    **{"vocab_size": 259, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64},
    **{"q_lora_rank": 8, "kv_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 6},
    **{
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
    },
    **{"n_shared_experts": 1, "n_group": 1, "topk_group": 1, "num_nextn_predict_layers": 1},
    **{"tie_word_embeddings": False, "eos_token_id": 256, "bos_token_id": None},
}
BIAS = "mlp.gate.e_score_correction_bias"


def layer(number: int, *, experts: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes, as the published weights have them."""
    here, attention = f"model.layers.{number}", f"model.layers.{number}.self_attn"
    found: dict[str, tuple[int, ...]] = {
        f"{here}.input_layernorm.weight": (16,),
        f"{here}.post_attention_layernorm.weight": (16,),
        f"{attention}.q_a_proj.weight": (8, 16),
        f"{attention}.q_a_layernorm.weight": (8,),
        f"{attention}.q_b_proj.weight": (2 * 8, 8),
        f"{attention}.kv_a_proj_with_mqa.weight": (6 + 4, 16),
        f"{attention}.kv_a_layernorm.weight": (6,),
        f"{attention}.kv_b_proj.weight": (2 * (4 + 6), 6),
        f"{attention}.o_proj.weight": (16, 2 * 6),
    }
    mlps = {"mlp": 24}
    if experts:
        found |= {f"{here}.mlp.gate.weight": (4, 16), f"{here}.{BIAS}": (4,)}
        mlps = {f"mlp.experts.{number}": 8 for number in range(4)} | {"mlp.shared_experts": 8}
    for name, wide in mlps.items():
        found |= {f"{here}.{name}.{each}_proj.weight": (wide, 16) for each in ("gate", "up")}
        found[f"{here}.{name}.down_proj.weight"] = (16, wide)
    return found


def state_of(*, ahead: bool) -> State:
    """bf16 but for the biases, which have numbers that bf16 has not."""
    shapes = {"model.embed_tokens.weight": (259, 16), "model.norm.weight": (16,), "lm_head.weight": (259, 16)}
    shapes |= layer(0, experts=False) | layer(1, experts=True)
    if ahead:
        shapes |= layer(2, experts=True) | {"model.layers.2.eh_proj.weight": (16, 32)}
        shapes |= {f"model.layers.2.{n}.weight": (16,) for n in ("enorm", "hnorm", "shared_head.norm")}
    numbers = torch.Generator().manual_seed(1)
    state = {name: torch.randn(shape, generator=numbers) for name, shape in shapes.items()}
    return {name: one if name.endswith(BIAS) else one.bfloat16() for name, one in state.items()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_biases_are_fp32_in_every_precision(tmp_path: Path, precision: str) -> None:
    state = state_of(ahead=True)
    folders.write(tmp_path / "given", state, CONFIG)
    run = taken(tmp_path / "given", tmp_path / "run", f"training.precision={precision}")
    store.verify(store.complete(run)[0])
    wanted = {
        name: one.to(getattr(torch, "float32" if precision == "fp32" else "bfloat16"))
        for name, one in state.items()
    }
    wanted |= {name: one for name, one in state.items() if name.endswith(BIAS)}
    assert folders.same(given_to(run, tmp_path / "own", "--shard-size", "5KB"), wanted)
    exact = {name: one.float() for name, one in state.items()}
    assert folders.same(given_to(run, tmp_path / "fp32", "--precision", "fp32"), exact)


def test_a_folder_without_prediction_layers_is_a_model_without_them(tmp_path: Path) -> None:
    """transformers writes that there is one whether there is or not."""
    state = state_of(ahead=False)
    folders.write(tmp_path / "given", state, CONFIG)
    run = taken(tmp_path / "given", tmp_path / "run", "training.precision=bf16")
    assert plan_file.read_config(RunDir(run).plan).model.model_dump()["mtp_num_layers"] is None
    assert folders.same(given_to(run, tmp_path / "again"), state)


def test_layers_that_are_not_trained_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CONFIG | {"num_nextn_predict_layers": 0}
    folders.write(tmp_path / "given", state_of(ahead=True), config)
    run = taken(tmp_path / "given", tmp_path / "run", "training.precision=bf16")
    assert "model.layers.2.eh_proj.weight" in capsys.readouterr().out
    kept = {name for name in state_of(ahead=True) if not name.startswith("model.layers.2.")}
    assert given_to(run, tmp_path / "again").keys() == kept


def test_tables_that_published_files_repeat_must_be_the_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = state_of(ahead=True)
    again = {
        "model.layers.2.embed_tokens.weight": state["model.embed_tokens.weight"].clone(),
        "model.layers.2.shared_head.head.weight": state["lm_head.weight"].clone(),
    }
    folders.write(tmp_path / "given", state | again, CONFIG)
    run = taken(tmp_path / "given", tmp_path / "run", "training.precision=bf16")
    assert folders.same(given_to(run, tmp_path / "again"), state), "written once"
    assert "model.layers.2.embed_tokens.weight" in capsys.readouterr().out
    again["model.layers.2.shared_head.head.weight"][3, 3] += 1
    folders.write(tmp_path / "other", state | again, CONFIG)
    assert main(["import", "hf", str(tmp_path / "other"), f"run.dir={tmp_path / 'no'}", *AUTO]) == 2
    place = tmp_path / "other" / "model.safetensors"
    check_line(capsys.readouterr().err, place, "model.layers.2.shared_head.head.weight", "lm_head.weight")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"quantization_config": {"quant_method": "fp8"}}, ("quantization_config", "quantized")),
        ({"num_mtp_layers": 2}, ("num_mtp_layers", "num_nextn_predict_layers")),
        ({"num_nextn_predict_layers": 2}, ("model.layers.3.enorm.weight", "missing")),
        ({"n_routed_experts": 5}, ("model.layers.1.mlp.experts.4.gate_proj.weight",)),
        ({"first_k_dense_replace": 0}, ("model.layers.0.mlp.gate.weight",)),
    ],
)
def test_a_bad_folder_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], facts: tuple[str, ...]
) -> None:
    folders.write(tmp_path / "given", state_of(ahead=True), CONFIG | changed)
    assert main(["import", "hf", str(tmp_path / "given"), f"run.dir={tmp_path / 'no'}", *AUTO]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and all(fact in line for fact in facts), line
    assert not (tmp_path / "no").exists()
