"""FP8 products of Transformer Engine: how scales are found, on which GPUs, in which sizes. Imports no torch."""

from collections.abc import Iterable
from typing import NamedTuple

from slipway.config.schema import RunConfig
from slipway.errors import UserError

Capability = tuple[int, int]


class Recipe(NamedTuple):
    """A way to find scales, by the rules of Transformer Engine 2.20 (pytorch/quantization.py)."""

    first: Capability
    """The first compute capability on which it works."""
    before: Capability | None
    """The first compute capability on which it no longer works; None: it works on all later ones."""
    multiple: int
    """The number that divides every size of a product."""
    keeps: str | None = None
    """The state that it keeps from step to step."""


RECIPES = {
    "delayed": Recipe((8, 9), None, 16, "scales from the largest values of earlier steps"),
    "tensorwise": Recipe((8, 9), None, 16),
    "blockwise": Recipe((9, 0), None, 16),
    "mxfp8": Recipe((10, 0), (12, 0), 32),
}


class Size(NamedTuple):
    """A size of a product on one rank. path: the field that it comes from. what: a description with the arithmetic."""

    path: str
    what: str
    number: int


def recipe_of(config: RunConfig) -> str:
    """Return the configured recipe, or one that keeps nothing, so that a resumed run equals an uninterrupted one.

    The default is mxfp8 if the GPU's products themselves scale blocks of 32; it is tensorwise, which every GPU with FP8
    supports, if they do not or the cluster's profile does not say.
    """
    if config.training.fp8_recipe is not None:
        return config.training.fp8_recipe
    found = config.cluster.device.capability
    return "mxfp8" if found is not None and _works("mxfp8", found) else "tensorwise"


def why(config: RunConfig) -> str:
    """Return how the recipe was chosen, and what it means for a resumed run."""
    name, asked = recipe_of(config), config.training.fp8_recipe
    here = _text(config.cluster.device.capability)
    chosen = f"training.fp8_recipe={asked}" if asked else f"compute capability {here}"
    keeps = RECIPES[name].keeps
    if keeps is None:
        return f"{chosen}; it keeps nothing between steps"
    return f"{chosen}; a continued run differs in the last places: its {keeps} are not in checkpoints"


def check_device(config: RunConfig) -> None:
    """Raise UserError if FP8 is configured and the cluster's devices are known not to have it.

    Also if a recipe is configured without FP8.
    """
    fp8, device = config.training.fp8, config.cluster.device
    if fp8 is None:
        if config.training.fp8_recipe is not None:
            raise UserError(
                "training.fp8_recipe",
                "has no effect without training.fp8",
                value=config.training.fp8_recipe,
                use="null",
            )
        return
    if device.kind == "cpu":
        raise UserError(
            "training.fp8",
            f"needs GPUs, but the devices of cluster {config.cluster.name} are CPUs",
            value=fp8,
            use="null",
        )
    if device.capability is None:
        return
    found = troubles(device.capability)
    name = recipe_of(config)
    if found[name] is not None:
        usable = [one for one, trouble in found.items() if trouble is None]
        raise UserError(
            "training.fp8",
            f"does not work with training.fp8_recipe={name}: it {found[name]}",
            value=fp8,
            use=f"training.fp8_recipe={'|'.join(usable)}" if usable else "training.fp8=null",
        )


def troubles(found: Capability) -> dict[str, str | None]:
    """Return why GPUs of a compute capability cannot use each recipe; None: they can."""
    return {name: None if _works(name, found) else _needs(name, found) for name in RECIPES}


def check_sizes(config: RunConfig, sizes: Iterable[Size]) -> None:
    """Raise UserError for the first size that the recipe's products do not take.

    cuBLAS requires all sizes of an FP8 product in multiples of 16 bytes (its documentation of cublasLtMatmul); MXFP8
    scales blocks of 32. Transformer Engine itself requires only a multiple of 8 for the number of tokens, which the
    weight's gradient sums over.
    """
    name = recipe_of(config)
    by = RECIPES[name].multiple
    for path, what, number in sizes:
        if number % by:
            raise UserError(
                path,
                f"gives FP8 products of a size that is not divisible by {by}, as training.fp8_recipe={name} needs: "
                f"{what} = {number} = {number // by} x {by} + {number % by}",
                do="choose another size or layout, or training.fp8=null",
            )


def _works(name: str, found: Capability) -> bool:
    first, before = RECIPES[name].first, RECIPES[name].before
    return found >= first and (before is None or found < before)


def _needs(name: str, found: Capability) -> str:
    first, before = RECIPES[name].first, RECIPES[name].before
    below = f", below {_text(before)}" if before else ""
    return f"needs compute capability {_text(first)} or higher{below}; these GPUs have {_text(found)}"


def _text(capability: Capability | None) -> str:
    return "not known" if capability is None else f"{capability[0]}.{capability[1]}"
