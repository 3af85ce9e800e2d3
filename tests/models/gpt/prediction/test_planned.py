"""What the plan says of multi-token prediction: parameters, operations, bytes and work, each against another count."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import breadth
import warm
from reference import plain, prediction
from slipway.config.compose import compose
from slipway.config.schema import Parallelism
from slipway.models import family
from slipway.models.family import Shard
from slipway.models.gpt import counts, work
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.prediction import planned
from slipway.models.gpt.share import share_of
from slipway.models.transformer.activations import layer_bytes
from slipway.plan import make_plan
from slipway.plan.memory import Share
from training import SMALL, layout

TESTS = Path(__file__).parents[3]
BASE = [*SMALL, "data=stdlib", "data.tokenizer.kind=byte", "training.steps=4", "model.num_layers=2"]
LLAMA = ["model.activation=swiglu", "model.normalization=RMSNorm", "model.add_bias_linear=false"]
LLAMA += ["model.num_query_groups=2", "model.ffn_hidden_size=176"]
UNTIED = ["model.untie_embeddings_and_output_weights=true"]
ONE, TWO = ["model.mtp_num_layers=1"], ["model.mtp_num_layers=2"]
EXPERTS = ["model.num_moe_experts=4", "model.moe_router_topk=4"]
ALONE = [*layout(ranks=1), "training.global_batch_size=2"]


def driven(drive: str, folder: Path, cases: dict[str, Any], *words: str) -> dict[str, Any]:
    """What a program beside the tests says of each case."""
    result = folder / "result.json"
    command = [sys.executable, str(TESTS / drive), str(result), *words]
    done = warm.run(command, input=json.dumps(cases), capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


EIGHT = layout(ranks=8, tp=2, pp=2, sp=True)
BUILT = {
    "tied": (0, [*ONE, *layout(ranks=1)]),
    "untied": (0, [*TWO, *UNTIED, *LLAMA, *layout(ranks=1)]),
    **{f"tied-rank{rank}": (rank, [*TWO, *EIGHT]) for rank in (0, 7)},
    **{f"untied-rank{rank}": (rank, [*TWO, *UNTIED, *LLAMA, *EIGHT]) for rank in (0, 7)},
    "mixture-rank7": (7, [*ONE, *UNTIED, *LLAMA, *EXPERTS, *EIGHT, *layout(ep=2)]),
}


def test_the_built_model_has_the_planned_parameters(tmp_path: Path) -> None:
    """Also the copy of the embedding on the last stage, once; and every rank of a layout has its part."""
    cases = {name: (rank, [*BASE, *words]) for name, (rank, words) in BUILT.items()}
    built = driven("meta_parameters.py", tmp_path, cases)
    for name, (rank, words) in cases.items():
        assert isinstance(built[name], list), built[name]["error"]
        config = compose(words)
        plan = make_plan(config)
        stage = plan.grid.coordinates(rank).pp
        ours = Share.of(config).parameters(plan.grid, stage)
        assert ours.total == plan.stages[stage].parameters == sum(built[name]), name
        if plan.grid.ep > 1:  # else Megatron-core makes no difference between experts and the rest
            assert ours == Shard(*built[name]), name


def test_parameters_by_hand() -> None:
    """Three norms of a weight each, a projection of 128 x 64, and a layer like the model's; one process has no copy."""
    config = compose([*BASE, *LLAMA, *TWO])
    without = compose([*BASE, *LLAMA])
    layer = 2 * 64 + 64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 176
    more = 2 * (3 * 64 + 2 * 64 * 64 + layer)
    assert counts.active_parameters(gpt_of(config)) - counts.active_parameters(gpt_of(without)) == more
    assert make_plan(config).parameters - make_plan(without).parameters == more


def test_flop_of_a_plain_model() -> None:
    """torch's count of the reference's operations."""
    config = compose([*BASE, *LLAMA, *TWO])
    model, hidden, wide, length = gpt_of(config), 64, 176, 16
    layer = {f"norm{n}.weight": (hidden,) for n in (1, 2)} | {"qkv.weight": (128, hidden)}
    layer |= {"proj.weight": (hidden, hidden), "in.weight": (2 * wide, hidden), "out.weight": (hidden, wide)}
    depth = {name: (hidden,) for name in ("enorm.weight", "hnorm.weight", "norm.weight")}
    depth |= {"project": (hidden, 2 * hidden)}
    sizes: dict[str, tuple[int, ...]] = {
        "embedding": (model.padded_vocab_size, hidden),
        "norm.weight": (hidden,),
    }
    sizes |= {f"{n}.{name}": size for n in range(2) for name, size in layer.items()}
    sizes |= {f"mtp.{n}.{name}": size for n in range(2) for name, size in {**layer, **depth}.items()}
    weights = {name: torch.rand(size, dtype=torch.float64).requires_grad_() for name, size in sizes.items()}
    shape = plain.Model(
        layers=2, vocabulary=model.vocab_size, heads=4, groups=2, norm="rms", rotary_base=10000
    )
    batch = {name: torch.zeros(1, length, dtype=torch.long) for name in ("tokens", "labels")}
    batch["loss_mask"] = torch.ones(1, length)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        torch.stack(prediction.losses(shape, weights, batch, depths=2)[0]).sum().backward()
    assert counter.get_total_flops() == counts.flops_per_sample(model, length)


STEPS = {
    "plain": [*TWO, *LLAMA],
    "full": [*TWO, *LLAMA, "training.recompute=full"],
    "mlp": [*ONE, "training.recompute=selective", "training.recompute_modules=[norm,mlp]"],
}


@pytest.mark.timeout(600)
def test_flop_of_a_step(tmp_path: Path) -> None:
    """torch's count of a step of the built model, with what is computed again."""
    cases = {name: [*BASE, *ALONE, "kernels.product=torch", *words] for name, words in STEPS.items()}
    found = driven("flops_of_step.py", tmp_path, cases)
    for name, words in cases.items():
        assert isinstance(found[name], int), found[name]["error"]
        config = compose(words)
        sample = family(config).sample(config)
        assert found[name] == 2 * (sample.flops + sample.recomputed_flops), name


KEPT = {
    "gpt": [*ONE, "model.hidden_size=256"],
    "llama": [*TWO, *LLAMA, "model.hidden_size=256", "model.ffn_hidden_size=704"],
    "llama_tp2": [*TWO, *LLAMA, "model.hidden_size=256", "model.ffn_hidden_size=704", *layout(tp=2)],
    "llama_tp2_sp": [
        *TWO,
        *LLAMA,
        "model.hidden_size=256",
        "model.ffn_hidden_size=704",
        *layout(tp=2, sp=True),
    ],
    "full": [*TWO, *LLAMA, "model.hidden_size=256", "model.ffn_hidden_size=704", "training.recompute=full"],
    "bf16": [*TWO, *LLAMA, "model.hidden_size=256", "model.ffn_hidden_size=704", *layout(precision="bf16")],
}
KEPT = breadth.some(KEPT, ["gpt", "llama_tp2_sp", "full"])


@pytest.mark.timeout(300)
def test_a_depth_keeps_what_the_plan_says(tmp_path: Path) -> None:
    base = [*BASE, "model.max_position_embeddings=64"]
    cases = {
        name: [
            *{w.split("=")[0]: w for w in [*base, *layout(ranks=8 if "tp" in name else 1), *words]}.values()
        ]
        for name, words in KEPT.items()
    }
    result = tmp_path / "kept.json"
    done = subprocess.run(
        [sys.executable, TESTS / "kept_bytes.py", result, "cpu", "prediction"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found, off = json.loads(result.read_text()), {}
    for name, words in cases.items():
        assert isinstance(found[name], int), found[name]["error"]
        config = compose(words)
        share = share_of(config, config.parallelism)
        expected = layer_bytes(share, share.recomputed) + planned.kept_bytes(share)
        off[name] = expected / found[name] - 1
    assert off == pytest.approx(dict.fromkeys(off, 0.0), abs=0.025)


def test_work_is_the_operations_counted() -> None:
    """Of products; attention's square is computed by half, and its backward pass has five products for two."""
    config = compose([*BASE, *TWO, *LLAMA])
    model, tokens = gpt_of(config), 32
    layers = work.layers(config, Parallelism())
    assert len(layers) == len(family(config).layers(config, Parallelism())) == 1 + 2 + 2 + 1
    linear = sum(
        product.flop
        for layer in layers
        for one in (layer.forward, layer.backward)
        for product in one.products
        if product.kind == "linear"
    )
    assert linear == counts.flops_per_sample(model, tokens) - counts.attention_flops(model, tokens)


def test_the_last_stage_has_fewer_layers_for_it() -> None:
    """A depth costs a layer, its projection, and the logits once more."""

    def stages(*more: str) -> list[int]:
        words = [*BASE[:-1], "model.num_layers=8", *layout(ranks=2, pp=2), *more]
        plan = make_plan(compose([*words]))
        return [stage.blocks[0][1] for stage in plan.stages]

    assert stages() == [4, 4]
    assert stages(*ONE)[1] < 4
    assert stages(*TWO)[1] < stages(*ONE)[1]
    assert stages(*TWO, "parallelism.pipeline_layout=[8,0]") == [8, 0]
