"""One table, one pure function: which backend computes what, and why."""

from dataclasses import replace

import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.kernels import choice
from slipway.kernels.choice import TABLE, Choice, in_words
from slipway.kernels.probe import Machine, Package
from slipway.kernels.sizes import NORM_WIDTH
from slipway.models import family
from slipway.plan import make_plan

MISSING = Package("x", trouble="not installed")
HERE = Package("x", "1.0")
NGC = Machine(True, (9, 0), HERE, HERE, HERE, HERE)
PLAIN = Machine(True, (9, 0), MISSING, MISSING, MISSING, HERE)
BARE = Machine(True, (9, 0), MISSING, MISSING, MISSING, MISSING)
APEX = Machine(True, (8, 0), MISSING, HERE, HERE, MISSING)
BF16, SWIGLU = "training.precision=bf16", "model.activation=swiglu"
AWAY = Package("", trouble="needs a GPU")
CPU = Machine(False, None, AWAY, AWAY, AWAY, AWAY)
GPU = ["cluster=local_gpu", BF16]


def choose(config: RunConfig, machine: Machine) -> list[Choice]:
    return choice.choose(config, machine, family(config))


def backends(machine: Machine, *overrides: str) -> dict[str, str]:
    return choice.backends(choose(compose(list(overrides)), machine))


def test_auto_takes_the_best_of_each_machine() -> None:
    same = {"cross_entropy": "torch", "activation": "triton", "product": "torch"}
    assert backends(NGC, BF16, SWIGLU) == {
        **dict.fromkeys(["norm", "attention", "linear", "rotary", "optimizer", "moe"], "te"),
        "grad_accumulation": "apex",
        **same,
    }
    of_triton = dict.fromkeys(["norm", "activation", "rotary"], "triton")
    assert backends(PLAIN, SWIGLU) == {**dict.fromkeys(TABLE, "torch"), **of_triton}
    alone = {**dict.fromkeys(TABLE, "torch"), **dict.fromkeys(["activation", "rotary"], "unfused")}
    assert backends(CPU) == backends(CPU, SWIGLU) == alone
    assert backends(BARE, SWIGLU) == alone, "torch's compiler writes Triton"
    assert backends(APEX)["norm"] == "apex"
    assert backends(APEX)["optimizer"] == "apex"


def test_products_are_onednns_where_that_is_known_to_be_faster() -> None:
    amd = replace(CPU, amd_avx512=True)
    assert backends(amd)["product"] == "onednn"
    assert backends(amd, BF16)["product"] == backends(amd, "kernels=torch")["product"] == "torch"
    why = {one.operator: one.why for one in choose(compose([]), CPU)}["product"]
    assert "AVX-512" in why
    assert backends(CPU, "kernels.product=onednn")["product"] == "onednn"  # asked for
    with refused("kernels.product", value="onednn", use="torch"):
        backends(PLAIN, "kernels.product=onednn")
    unfused = ["kernels.linear=unfused", "kernels.cross_entropy=unfused"]
    with refused("kernels.product", value="onednn"):
        backends(amd, "kernels.product=onednn", *unfused)


def test_transformer_engine_groups_experts_in_bf16_only() -> None:
    assert backends(NGC)["moe"] == "torch"
    with refused("kernels.moe", "bf16", value="te"):
        backends(NGC, "kernels.moe=te")


def test_sharded_gradients_are_not_added_to_by_apex() -> None:
    zero2 = ["parallelism=zero2", "resources.devices_per_node=2"]
    assert backends(NGC, *zero2)["grad_accumulation"] == "torch"
    with refused("kernels.grad_accumulation", value="apex"):
        backends(NGC, *zero2, "kernels.grad_accumulation=apex")


def test_only_swiglu_is_fused() -> None:
    """Megatron-core's fused GELU is another function."""
    assert backends(PLAIN, "model.activation=gelu")["activation"] == "unfused"
    assert backends(PLAIN, "model.activation=gelu", "kernels=torch")["activation"] == "unfused"
    with refused("kernels.activation", "swiglu", "gelu", value="triton", use="unfused"):
        backends(PLAIN, "model.activation=gelu", "kernels.activation=triton")


def test_triton_takes_norms_up_to_a_width() -> None:
    for normalization, widest in NORM_WIDTH.items():
        model = [f"model.normalization={normalization}", "model.num_attention_heads=128"]
        assert backends(PLAIN, *model, f"model.hidden_size={widest}")["norm"] == "triton"
        wider = f"model.hidden_size={widest + 128}"
        assert backends(PLAIN, *model, wider)["norm"] == "torch"
        with refused("kernels.norm", normalization, widest, widest + 128, value="triton", use="torch"):
            backends(PLAIN, *model, wider, "kernels.norm=triton")


def test_apex_has_no_rms_norm_here() -> None:
    assert backends(APEX, "model.normalization=RMSNorm")["norm"] == "torch"


def test_documents_are_kept_apart_by_torch() -> None:
    apart = "data.reset_attention_mask=true"
    assert backends(NGC, apart)["attention"] == "torch"
    with refused("kernels.attention", value="te"):
        backends(NGC, apart, "kernels.attention=te")


def test_attention_in_fp32_is_torchs() -> None:
    assert backends(NGC)["attention"] == "torch"
    with refused("kernels.attention", "bf16", value="te"):
        backends(NGC, "kernels.attention=te")


def test_a_backend_for_all_and_one_for_an_operator() -> None:
    assert backends(NGC, "kernels=torch", SWIGLU) == dict.fromkeys(TABLE, "torch")
    of_triton = dict.fromkeys(["norm", "activation", "rotary"], "triton")
    assert backends(NGC, "kernels=triton", SWIGLU) == {**dict.fromkeys(TABLE, "torch"), **of_triton}
    assert backends(NGC, BF16, "kernels=torch", "kernels.attention=te")["attention"] == "te"
    assert backends(NGC, "kernels.cross_entropy=unfused")["cross_entropy"] == "unfused"


def test_why() -> None:
    why = {one.operator: one.why for one in choose(compose(["kernels=apex"]), APEX)}
    assert why["norm"] == "kernels=apex"
    assert why["attention"] == "kernels=apex, but apex has none"
    why = {one.operator: one.why for one in choose(compose([]), PLAIN)}
    assert why["norm"] == "the best here; te: not installed"
    assert why["optimizer"] == "the best here; te: not installed; apex: not installed"
    assert why["cross_entropy"] == "the best there is"
    lines = in_words(choose(compose([]), PLAIN))
    assert "norm, rotary: triton (the best here; te: not installed)" in lines


@pytest.mark.parametrize(
    ("machine", "overrides", "path", "value", "facts", "use"),
    [
        (PLAIN, ["kernels=te"], "kernels.backend", "te", [], ["auto", "torch"]),
        (PLAIN, ["kernels.norm=apex"], "kernels.norm", "apex", [], ["triton", "torch"]),
        (CPU, ["kernels.norm=triton"], "kernels.norm", "triton", ["GPU"], ["torch"]),
        (BARE, ["kernels=triton"], "kernels.backend", "triton", [], ["auto", "torch"]),
        (CPU, ["kernels.rotary=torch"], "kernels.rotary", "torch", ["GPUs"], []),
        (CPU, ["training.fp8=hybrid"], "training.fp8", "hybrid", [], ["null"]),
        (
            NGC,
            ["training.fp8=e4m3", "kernels.linear=torch", *GPU],
            "training.fp8",
            "e4m3",
            ["kernels.linear", "torch"],
            ["null"],
        ),
        (
            Machine(True, (8, 0), HERE, HERE, HERE, HERE),
            ["training.fp8=e4m3", *GPU],
            "training.fp8",
            "e4m3",
            ["8.9", "8.0"],
            ["training.fp8=null"],
        ),
        (
            NGC,
            ["training.fp8=e4m3", "training.fp8_recipe=mxfp8", *GPU],
            "training.fp8",
            "e4m3",
            ["10.0", "9.0"],
            ["training.fp8_recipe=delayed|tensorwise|blockwise"],
        ),
    ],
)
def test_what_cannot_be_used_is_refused(
    machine: Machine, overrides: list[str], path: str, value: str, facts: list[str], use: list[str]
) -> None:
    with refused(path, *facts, value=value, use=use):
        choose(compose(overrides), machine)


def test_the_recipe_of_fp8_follows_from_the_gpu_that_is_there() -> None:
    """Whatever the cluster's profile says; its sizes are checked for that recipe."""
    fp8 = ["training.fp8=hybrid", *GPU, "cluster.device.compute_capability=9.0"]
    blackwell = replace(NGC, compute_capability=(10, 0))
    assert backends(NGC, *fp8)["fp8"] == "tensorwise"
    assert backends(blackwell, *fp8)["fp8"] == "mxfp8"
    odd = compose([*fp8, "data.sequence_length=48", "training.micro_batch_size=1"])
    plan = make_plan(odd)
    with refused("data.sequence_length", "48", "32", "mxfp8"):
        choose(odd, blackwell)
    trained = plan.with_kernels(choice.backends(choose(odd, NGC))).trained
    assert trained.training.fp8_recipe == "tensorwise"
    with refused("training.fp8", "nvidia-smi", value="hybrid", use="null"):
        choose(odd, replace(NGC, compute_capability=None))


def test_every_operator_is_named_in_what_is_trained() -> None:
    config = compose([])
    plan = make_plan(config).with_kernels(choice.backends(choose(config, CPU)))
    kernels = plan.trained.kernels
    assert {name: getattr(kernels, name) for name in TABLE} == backends(CPU)


def test_a_model_that_does_not_use_an_operator_is_not_asked_for_it() -> None:
    class NormsOnly:
        operators = frozenset({"norm"})

        def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
            return "not for this model" if backend == "te" else None

        def check(self, config: RunConfig) -> None:
            """Nothing is wrong."""

    assert choice.backends(choice.choose(compose([]), NGC, NormsOnly())) == {
        "norm": "triton",
        "optimizer": "apex",
    }
    with refused("kernels.moe", value="torch", use="null"):
        choice.choose(compose(["kernels.moe=torch"]), NGC, NormsOnly())
