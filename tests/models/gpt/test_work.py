"""The work of a GPT's layers against the operations that slipway.models.gpt.counts has by closed formulas."""

from collections.abc import Iterable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as some

from presets import large
from slipway.config.compose import compose
from slipway.config.schema import Parallelism, RunConfig
from slipway.models.gpt import counts, work
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.family import FAMILY
from slipway.models.transformer.counts import weights as weights_of
from slipway.models.work import Pass, Work

MODELS = ("gpt3_1_3b", "llama3_8b", "mixtral_8x7b")


@cache
def config_of(model: str, *words: str) -> RunConfig:
    return compose([*large(model), "training.precision=bf16", "training.recompute=none", *words])


def flop(passes: Iterable[Pass], *kinds: str) -> float:
    return sum(product.flop for one in passes for product in one.products if product.kind in kinds)


def tokens_of(config: RunConfig) -> int:
    return config.training.micro_batch_size * config.data.sequence_length  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MODELS)
def test_products_are_the_operations_counted(name: str) -> None:
    """Two operations for each weight and token forward, four backward; of attention's square a mask leaves half."""
    config = config_of(name)
    layers = work.layers(config, Parallelism())
    model = gpt_of(config)
    weights = model.num_layers * weights_of(model.blocks[0]) + model.hidden_size * model.padded_vocab_size
    weights *= 2 * tokens_of(config)
    forward = [layer.forward for layer in layers]
    backward = [layer.backward for layer in layers]
    assert flop(forward, "linear", "grouped") == pytest.approx(weights)
    assert flop(backward, "linear", "grouped") == pytest.approx(2 * weights)
    square = counts.attention_flops(model, config.data.sequence_length)  # type: ignore[attr-defined]
    square *= config.training.micro_batch_size
    assert flop(forward, "attention") == pytest.approx(square / 3 / 2)
    # flash attention computes one of its two products again
    assert flop(backward, "attention") == pytest.approx(square / 3 / 2 * 2.5)


@pytest.mark.parametrize("model", MODELS)
def test_every_layer_has_its_work(model: str) -> None:
    config = config_of(model)
    names = [layer.name for layer in FAMILY.layers(config, Parallelism())]
    found = FAMILY.work(config, Parallelism())
    assert len(found) == len(names)
    assert (
        len({id(layer) for layer in found}) == 3
    )  # the blocks are one object: they are put on the clock once


@given(
    model=some.sampled_from(MODELS),
    tp=some.sampled_from([1, 2, 4, 8]),
    cp=some.sampled_from([1, 2]),
    ep=some.sampled_from([1, 2, 4]),
    sequence_parallel=some.booleans(),
)
def test_ranks_share_products_out(model: str, tp: int, cp: int, ep: int, sequence_parallel: bool) -> None:
    """All ranks together compute what one rank would, and the router once for each part of the sequence."""
    config = config_of(model)
    layout = Parallelism(
        tensor_model_parallel_size=tp,
        context_parallel_size=cp,
        expert_model_parallel_size=ep if model == "mixtral_8x7b" else 1,
        sequence_parallel=sequence_parallel and tp > 1,
    )
    one, parts = work.layers(config, Parallelism()), work.layers(config, layout)
    for kind in ("linear", "attention", "grouped"):
        whole = flop((layer.forward for layer in one), kind)
        shared = flop((layer.forward for layer in parts), kind) * tp * cp
        if kind == "linear" and model == "mixtral_8x7b" and not sequence_parallel:
            assert (
                whole * (1 - 1e-9) <= shared <= whole * 1.01
            )  # each tensor-parallel rank has the whole router
        else:
            assert shared == pytest.approx(whole)


def test_recomputation_repeats_the_forward_pass() -> None:
    none, whole = config_of("llama3_8b"), config_of("llama3_8b", "training.recompute=full")
    block = work.layers(whole, Parallelism())[1]
    assert block.again == block.forward == work.layers(none, Parallelism())[1].forward
    assert work.layers(none, Parallelism())[1].again == Pass()
    some_of = config_of("llama3_8b", "training.recompute=selective")
    part = work.layers(some_of, Parallelism())[1].again
    assert not part.products and 0 < part.moved_bytes < block.forward.moved_bytes


def exchanged(layer: Work, group: str) -> list[str]:
    both = layer.forward.exchanges + layer.backward.exchanges
    return [exchange.kind for exchange in both if exchange.group == group]


def test_tensor_parallel_ranks_exchange_at_the_edges_of_two_regions() -> None:
    """Attention and MLP: without sequence parallelism an all-reduce each way (arXiv 1909.08053, section 3)."""
    config = config_of("llama3_8b")
    layout = Parallelism(tensor_model_parallel_size=2)
    assert exchanged(work.layers(config, layout)[1], "tensor") == ["all_reduce"] * 4
    split = layout.model_copy(update={"sequence_parallel": True})
    kinds = exchanged(work.layers(config, split)[1], "tensor")
    assert (kinds.count("all_gather"), kinds.count("reduce_scatter")) == (2 + 4, 2 + 2)
    assert exchanged(work.layers(config, Parallelism())[1], "tensor") == []


def test_dispatchers_of_experts() -> None:
    config = config_of("mixtral_8x7b")
    layout = Parallelism(expert_model_parallel_size=4)
    assert exchanged(work.layers(config, layout)[1], "expert") == ["all_to_all"] * 4
    gathering = layout.model_copy(update={"moe_token_dispatcher_type": "allgather"})
    kinds = exchanged(work.layers(config, gathering)[1], "tensor_expert")
    assert sorted(set(kinds)) == ["all_gather", "reduce_scatter"]
    flex = layout.model_copy(update={"moe_token_dispatcher_type": "flex"})
    sent = work.layers(config, flex)[1].forward.exchanges
    assert {exchange.copies for exchange in sent if exchange.kind == "all_to_all"} == {2}
