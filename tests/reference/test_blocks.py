"""A layer's mixture against transformers' blocks with the same weights: outputs and gradients.

Balancing losses are left out: transformers adds them outside of the block, or has none.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.qwen3_moe.configuration_qwen3_moe import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

import warm
from reference.test_mixtures import DEEPSEEK, QWEN

DRIVE = Path(__file__).with_name("blocks.py")
CLOSE = 1e-5  # relative to the largest
ALONE = [
    "model.moe_router_load_balancing_type=none",
    "model.moe_aux_loss_coeff=0",
    "training.micro_batch_size=1",
]
ALONE += ["model.moe_z_loss_coeff=null", "data=bytes", "resources.devices_per_node=1", "validation.steps=0"]


def qwen() -> torch.nn.Module:
    return Qwen3MoeSparseMoeBlock(
        Qwen3MoeConfig(
            hidden_size=32,
            moe_intermediate_size=16,
            num_experts=8,
            num_experts_per_tok=2,
            norm_topk_prob=True,
            hidden_act="silu",
            experts_implementation="eager",  # type: ignore[call-arg]
        )
    )


def deepseek() -> torch.nn.Module:
    return DeepseekV3MoE(
        DeepseekV3Config(
            hidden_size=32,
            moe_intermediate_size=16,
            n_routed_experts=8,
            n_shared_experts=2,
            num_experts_per_tok=4,
            n_group=4,
            topk_group=2,
            routed_scaling_factor=2.5,
            norm_topk_prob=True,
            hidden_act="silu",
            experts_implementation="eager",  # type: ignore[call-arg]
        )
    )


BLOCKS: dict[str, tuple[list[str], Callable[[], torch.nn.Module]]] = {
    "qwen": (QWEN, qwen),
    "deepseek": (DEEPSEEK, deepseek),
}


def theirs_by_name(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights, or their gradients, by transformers' names."""
    found = {
        "gate.weight": ours["router.weight"],
        "experts.gate_up_proj": ours["experts.fc1"],
        "experts.down_proj": ours["experts.fc2"],
    }
    if "shared_experts.linear_fc1.weight" in ours:
        gate, up = ours["shared_experts.linear_fc1.weight"].chunk(2)
        found |= {"shared_experts.gate_proj.weight": gate, "shared_experts.up_proj.weight": up}
        found["shared_experts.down_proj.weight"] = ours["shared_experts.linear_fc2.weight"]
    if "router.expert_bias" in ours:
        found["gate.e_score_correction_bias"] = ours["router.expert_bias"]
    return found


def near(ours: Tensor, theirs: Tensor) -> bool:
    return float((ours - theirs).abs().max()) < CLOSE * float(theirs.abs().max())


def run(tmp_path: Path, *overrides: str) -> dict[str, Any]:
    """What blocks.py says of our layer."""
    command = [sys.executable, str(DRIVE), str(tmp_path / "ours.pt")]
    done = warm.run(command, input=json.dumps([*overrides, *ALONE]), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return torch.load(tmp_path / "ours.pt")


@pytest.mark.timeout(400)
def test_a_router_in_bf16_counts_every_token(tmp_path: Path) -> None:
    """bf16 has no number between 256 and 258: the loads that move the biases are fp32, as the biases are."""
    length = 1024
    ours = run(tmp_path, *DEEPSEEK, "training.precision=bf16", f"model.max_position_embeddings={length}")
    loads, bias = ours["state"]["router.local_tokens_per_expert"], ours["state"]["router.expert_bias"]
    assert loads.dtype == bias.dtype == torch.float32
    assert ours["state"]["experts.fc1"].dtype == torch.bfloat16
    assert int(loads.sum()) == 3 * length * 4 and loads.max() > 256


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", BLOCKS)
def test_it_computes_what_transformers_does(name: str, tmp_path: Path) -> None:
    overrides, make = BLOCKS[name]
    ours = run(tmp_path, *overrides)
    block = make()
    missing, unknown = block.load_state_dict(theirs_by_name(ours["state"]), strict=False)
    assert not missing and not unknown
    x = ours["input"].transpose(0, 1).contiguous().requires_grad_()
    output = block(x)
    assert near(ours["output"].transpose(0, 1), output)
    output.backward(ours["upstream"].transpose(0, 1))
    assert x.grad is not None and near(ours["gradients"]["input"].transpose(0, 1), x.grad)
    weights = dict(block.named_parameters())
    gradients = theirs_by_name(ours["gradients"])
    assert gradients.keys() == weights.keys()
    for key, gradient in gradients.items():
        found = weights[key].grad
        assert found is not None and near(gradient, found), key
