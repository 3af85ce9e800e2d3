"""Which modules are computed again: the rule, a list of one's own, and what is refused."""

import pytest

from presets import large
from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.kernels.choice import choose
from slipway.kernels.probe import machine
from slipway.models import family
from slipway.models.gpt import counts
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer import recompute
from slipway.plan import make_plan

DEMO = ["model=demo", "data=stdlib"]
EXPERTS = [*DEMO, "model.num_moe_experts=4", "model.add_bias_linear=false"]
SELECTIVE = "training.recompute=selective"


def modules(config: RunConfig) -> tuple[str, ...]:
    return recompute.modules(config, gpt_of(config).blocks)


def asked(names: str) -> list[str]:
    return [SELECTIVE, f"training.recompute_modules=[{names}]"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["training.recompute=none"], ()),
        (["training.recompute=full"], ("layer",)),
        ([SELECTIVE], ("norm", "activation")),
        ([SELECTIVE, "model.attention_dropout=0.1"], ("norm", "activation", "attention")),
        ([SELECTIVE, "model.attention_dropout=0.1", "cluster=h100_cloud"], ("norm", "activation")),
        (asked("mlp,norm"), ("norm", "mlp")),
    ],
    ids=str,
)
def test_what_is_chosen(words: list[str], expected: tuple[str, ...]) -> None:
    assert modules(compose([*DEMO, *words])) == expected


def test_a_mixtures_experts() -> None:
    assert modules(compose([*EXPERTS, *asked("norm,experts")])) == ("norm", "experts")


@pytest.mark.parametrize(
    ("words", "value", "use"),
    [
        ([*DEMO, *asked("norms")], "norms", "norm"),
        ([*DEMO, *asked("moe")], "moe", "mlp"),
        ([*DEMO, *asked("experts")], "experts", "mlp"),
        ([*EXPERTS, *asked("mlp")], "mlp", "experts"),
        ([*DEMO, *asked("norm,mla_up_proj")], "mla_up_proj", "norm"),
        ([*DEMO, *asked("shared_experts")], "shared_experts", "norm"),
        ([*DEMO, *asked("attention")], "attention", "norm"),
        ([*DEMO, "training.recompute_modules=[norm,mlp]"], "norm,mlp", "null"),
        ([*DEMO, "training.recompute=full", "training.recompute_modules=[norm]"], "norm", "null"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused_with_what_is(words: list[str], value: str, use: str) -> None:
    with refused("training.recompute_modules", value=value, use=use):
        make_plan(compose(words))


FP8 = [*large("llama3_8b"), "training.fp8=hybrid", SELECTIVE]


def test_fp8_keeps_its_products() -> None:
    with refused("training.recompute_modules", "hybrid", value="mlp", use="norm"):
        make_plan(compose([*FP8, "training.fp8_recipe=tensorwise", "training.recompute_modules=[norm,mlp]"]))
    with refused("training.recompute", "delayed", value="selective", use="none"):
        make_plan(compose([*FP8, "training.fp8_recipe=delayed"]))
    assert modules(compose([*FP8, "training.fp8_recipe=tensorwise"])) == ("norm", "activation")


def test_single_experts_compute_nothing_again() -> None:
    config = compose([*EXPERTS, SELECTIVE, "kernels.moe=unfused"])
    with refused("kernels.moe", value="unfused", use="torch"):
        choose(config, machine("cpu"), family(config))


def test_operations_done_again() -> None:
    model, length = gpt_of(compose(large("llama3_8b"))), 8192

    def again(*names: str) -> float:
        return counts.recomputed_flops_per_sample(model, length, names) / length / model.num_layers

    layer = 4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 4096 * 14336
    assert again() == again("norm", "activation") == 0
    assert again("attention") == 2 * 2 * 4096 * length
    assert again("norm", "mlp") == 2 * 2 * 4096 * 14336
    assert again("layer") == 2 * layer + 2 * 2 * 4096 * length
    # forward is a third of all, less the head's third
    head = 2 * 4096 * model.padded_vocab_size
    whole = counts.flops_per_sample(model, length) / length
    assert again("layer") * model.num_layers == pytest.approx(whole / 3 - head)


def test_experts_that_a_token_meets_are_counted() -> None:
    model = gpt_of(compose(large("mixtral_8x7b")))
    first = counts.recomputed_flops_per_sample(model, 1, ["experts"])
    assert first == model.num_layers * 2 * 2 * (2 * 4096 * 14336)
