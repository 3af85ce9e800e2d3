"""The modules of a transformer layer that are recomputed in the backward pass. Imports no torch.

The output of such a module is released once it has been used, and computed again when the backward pass needs it, which
trades time for memory. `training.recompute=selective` recomputes what costs no matrix product, unless
`training.recompute_modules` lists modules.
"""

from collections.abc import Callable, Mapping, Sequence

from slipway.config.explain import nearest
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.transformer.block import Block

LAYER = "layer"
"""The one module of `training.recompute=full`."""


def keeps_scores(config: RunConfig, block: Block) -> bool:
    """Return whether core attention keeps its s x s terms until the backward pass.

    Flash attention recomputes them in any case. torch has none for CPUs with dropout.
    """
    return block.attention_dropout > 0 and config.cluster.device.kind == "cpu"


def _always(config: RunConfig, block: Block) -> None:
    return None


def _mlp(config: RunConfig, block: Block) -> str | None:
    return "the model has experts in its place" if block.num_experts else None


def _experts(config: RunConfig, block: Block) -> str | None:
    return None if block.num_experts else "the model has none"


def _shared_experts(config: RunConfig, block: Block) -> str | None:
    return None if block.shared_size else "the model has none"


def _up_projection(config: RunConfig, block: Block) -> str | None:
    return None if block.latent else "the model has no latent attention"


def _attention(config: RunConfig, block: Block) -> str | None:
    return (
        None
        if keeps_scores(config, block)
        else "flash attention keeps no scores: it computes them again anyway"
    )


# module -> why it cannot be recomputed in a layer; None: it can
MODULES: Mapping[str, Callable[[RunConfig, Block], str | None]] = {
    "norm": _always,  # the outputs of both norms of a layer
    "activation": _always,  # the output of GELU or SwiGLU, in the MLP or in the experts, including shared ones
    "attention": _attention,  # core attention: between Q, K, V and its output
    "mlp": _mlp,  # the MLP's first product and its activation
    "experts": _experts,  # the same in a mixture's experts
    "shared_experts": _shared_experts,  # the same in the shared experts
    "mla_up_proj": _up_projection,  # in latent attention: queries, keys and values, from the latent states
}
CHEAP = ("norm", "activation", "attention")
"""The default: modules without a product, and core attention, whose scores are much larger than its products cost."""


def modules(config: RunConfig, blocks: Sequence[Block]) -> tuple[str, ...]:
    """Return what is recomputed: modules, or LAYER. Raises UserError for modules that are in none of the layers."""
    training, asked = config.training, config.training.recompute_modules
    if asked is not None and training.recompute != "selective":
        raise UserError(
            "training.recompute_modules",
            f"has no effect with training.recompute={training.recompute}",
            value=",".join(asked),
            use="null",
            do="set training.recompute=selective",
        )
    if training.recompute == "none":
        return ()
    if training.recompute == "full":
        return (LAYER,)
    blocks = tuple(dict.fromkeys(blocks))
    for name in asked or ():
        _check(name, config, blocks)
    wanted = CHEAP if asked is None else asked
    chosen = tuple(name for name in MODULES if name in wanted and _trouble(name, config, blocks) is None)
    _check_fp8(chosen, config)
    return chosen


def _trouble(name: str, config: RunConfig, blocks: Sequence[Block]) -> str | None:
    """Return why a module cannot be recomputed in any of the layers; None: it can in at least one."""
    troubles = [MODULES[name](config, block) for block in blocks]
    return None if None in troubles else troubles[0]


def _check(name: str, config: RunConfig, blocks: Sequence[Block]) -> None:
    here = [each for each in MODULES if _trouble(each, config, blocks) is None]
    if name not in MODULES:
        raise UserError("training.recompute_modules", "is not a module", value=name, do=nearest(name, here))
    why = _trouble(name, config, blocks)
    if why is not None:
        raise UserError(
            "training.recompute_modules", f"has no effect: {why}", value=name, use=", ".join(here)
        )


def _check_fp8(chosen: tuple[str, ...], config: RunConfig) -> None:
    """Raise UserError if modules cannot be recomputed with FP8.

    Products in FP8 keep their inputs in FP8; with the delayed recipe, scales depend on every pass.
    """
    training = config.training
    products = {"mlp", "experts", "shared_experts", "mla_up_proj"} & set(chosen)
    if training.fp8 is not None and products:
        raise UserError(
            "training.recompute_modules",
            f"recomputes matrix products, which does not work with training.fp8={training.fp8}",
            value=",".join(sorted(products)),
            use="norm, activation",
        )
    if training.fp8 is not None and training.fp8_recipe == "delayed":
        raise UserError(
            "training.recompute",
            f"does not work with training.fp8_recipe=delayed for {', '.join(chosen)} (a rule of Megatron-core: scales "
            "would be counted twice)",
            value=training.recompute,
            use="none",
            do="set another training.fp8_recipe",
        )


def experts_trouble(backend: str, config: RunConfig, blocks: Sequence[Block]) -> str | None:
    """Return why a backend of `kernels.moe` cannot do what is configured; None: it can."""
    here = {"torch": {"activation", "experts"}, "te": {"activation"}, "unfused": set[str]()}[backend]
    missing = {"activation", "experts"} & set(modules(config, blocks)) - here
    if missing:
        return f"it cannot compute {', '.join(sorted(missing))} again (training.recompute)"
    if backend != "torch":
        return None
    troubles = (_width_trouble(config, block) for block in dict.fromkeys(blocks) if block.num_experts)
    return next((trouble for trouble in troubles if trouble), None)


def _width_trouble(config: RunConfig, block: Block) -> str | None:
    """Return why torch's grouped product refuses the experts' weights: rows must be multiples of 16 bytes."""
    itemsize = 4 if config.training.precision == "fp32" else 2
    ranks = config.parallelism.tensor_model_parallel_size
    widths = {
        "hidden_size": block.hidden_size,
        f"the width of an expert / tensor_model_parallel_size {ranks}": block.mlp_size // ranks,
    }
    for name, width in widths.items():
        if width * itemsize % 16:
            return f"its rows must be multiples of 16 bytes, and {name} gives {width} x {itemsize}"
    return None
