"""The choice of a backend for each operator on a machine, with the reason: one table, one pure function. No torch."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from slipway.config.schema import Kernels, RunConfig
from slipway.errors import UserError
from slipway.kernels import fp8
from slipway.kernels.probe import Machine
from slipway.optimizers import algorithm


class Model(Protocol):
    """The part of a model family that the choice needs (see slipway.models.family.Family)."""

    @property
    def operators(self) -> frozenset[str]:
        """The operators that it uses."""
        ...

    def backend_trouble(self, operator: str, backend: str, config: RunConfig) -> str | None:
        """Return why it cannot use a backend for an operator; None: it can."""
        ...

    def check(self, config: RunConfig) -> None:
        """Raise UserError for the first setting that it does not support."""
        ...


class Choice(NamedTuple):
    """A line of the list that a run prints and stores."""

    operator: str
    backend: str
    why: str


class _Backend(NamedTuple):
    """A backend of an operator.

    trouble: returns why the backend cannot be used for the operator; doubt: returns why it is not chosen by default.
    None: it can be used, and is chosen.
    """

    name: str
    trouble: Callable[[Machine, RunConfig], str | None]
    doubt: Callable[[Machine, RunConfig], str | None] = lambda machine, config: None


def _always(machine: Machine, config: RunConfig) -> None:
    return None


def _te(machine: Machine, config: RunConfig) -> str | None:
    return machine.te.trouble


def _apex(machine: Machine, config: RunConfig) -> str | None:
    return machine.apex.trouble


def _te_attention(machine: Machine, config: RunConfig) -> str | None:
    if machine.te.usable and config.training.precision == "fp32":
        return "fused in bf16 only: in fp32 it holds all scores, and refuses context parallelism"
    return machine.te.trouble


def _te_experts(machine: Machine, config: RunConfig) -> str | None:
    if machine.te.usable and config.training.precision == "fp32":
        return "grouped in bf16 only (a rule of Megatron-LM)"
    return machine.te.trouble


def _gradient_kernel(machine: Machine, config: RunConfig) -> str | None:
    if config.parallelism.data_parallel_sharding_strategy:
        return "sharded gradients have no main gradient to add to"
    return machine.gradient_kernel.trouble


def _triton(machine: Machine, config: RunConfig) -> str | None:
    return machine.triton.trouble


def _compiled(machine: Machine, config: RunConfig) -> str | None:
    if not machine.cuda:
        return "compiled on GPUs only: on a CPU it gains nothing"
    # torch's compiler writes Triton
    return None if machine.triton.usable else f"torch's compiler needs Triton: {machine.triton.trouble}"


def _onednn(machine: Machine, config: RunConfig) -> str | None:
    if machine.cuda:
        return "it multiplies on CPUs"
    kernels = config.kernels
    if kernels.linear == "unfused" and kernels.cross_entropy == "unfused":
        return "linear layers and logits are Megatron-core's"
    return "torch gives products in bf16 to it anyway" if config.training.precision == "bf16" else None


def _onednn_gains(machine: Machine, config: RunConfig) -> str | None:
    return (
        None if machine.amd_avx512 else "known to be faster than MKL on AMD's processors with AVX-512 alone"
    )


_TE, _TORCH, _UNFUSED = _Backend("te", _te), _Backend("torch", _always), _Backend("unfused", _always)
_TRITON, _COMPILED = _Backend("triton", _triton), _Backend("torch", _compiled)

# operator -> its backends, best first
TABLE: dict[str, list[_Backend]] = {
    "norm": [_TE, _TRITON, _Backend("apex", _apex), _TORCH],
    "attention": [_Backend("te", _te_attention), _TORCH],
    "linear": [_TE, _TORCH, _UNFUSED],
    "product": [_Backend("onednn", _onednn, _onednn_gains), _TORCH],
    "activation": [_TRITON, _COMPILED, _UNFUSED],
    "rotary": [_TE, _TRITON, _COMPILED, _UNFUSED],
    "cross_entropy": [_TORCH, _TE, _UNFUSED],
    "grad_accumulation": [_Backend("apex", _gradient_kernel), _TORCH],
    "optimizer": [_TE, _Backend("apex", _apex), _TORCH],
    "moe": [_Backend("te", _te_experts), _TORCH, _UNFUSED],
}


OPERATORS = tuple(TABLE)


def choose(config: RunConfig, machine: Machine, model: Model) -> list[Choice]:
    """Return one backend for each operator of the model, and FP8's recipe under the name fp8.

    Raises UserError if a requested backend, or FP8, cannot be used here.
    """
    _check_backend(config.kernels, machine)
    used = _used(config, model)
    _check_operators(config, used)
    chosen = [_choose(operator, config, machine, model) for operator in TABLE if operator in used]
    return [*chosen, *_fp8(config, machine, model, backends(chosen))]


def backends(chosen: list[Choice]) -> dict[str, str]:
    """Return the chosen backend of each operator."""
    return {choice.operator: choice.backend for choice in chosen}


def in_words(chosen: list[Choice]) -> list[str]:
    """Return lines for people, in which operators with the same backend and reason are grouped."""
    groups: dict[tuple[str, str], list[str]] = {}
    for choice in chosen:
        groups.setdefault((choice.backend, choice.why), []).append(choice.operator)
    return [f"{', '.join(operators)}: {backend} ({why})" for (backend, why), operators in groups.items()]


def _choose(operator: str, config: RunConfig, machine: Machine, model: Model) -> Choice:
    forced = getattr(config.kernels, operator)
    troubles = backend_troubles(operator, config, machine, model)
    usable = [name for name, trouble in troubles.items() if trouble is None]
    if forced is not None:
        if troubles[forced] is not None:
            raise UserError(
                f"kernels.{operator}",
                f"cannot be used here: {troubles[forced]}",
                value=forced,
                use=", ".join(usable),
            )
        return Choice(operator, forced, f"kernels.{operator}={forced}")
    wanted = config.kernels.backend
    if wanted in usable:
        return Choice(operator, wanted, f"kernels={wanted}")
    if wanted != "auto":
        # torch's backend or an unfused one, not another vendor's package
        name = next(name for name in usable if name in ("torch", "unfused"))
        why = f"{wanted}: {troubles[wanted]}" if wanted in troubles else f"{wanted} has none"
        return Choice(operator, name, f"kernels={wanted}, but {why}")
    reasons = {one.name: troubles[one.name] or one.doubt(machine, config) for one in TABLE[operator]}
    name = next(name for name, reason in reasons.items() if reason is None)
    skipped = "; ".join(
        f"{better}: {reasons[better]}" for better in list(reasons)[: list(reasons).index(name)]
    )
    return Choice(operator, name, f"the best here; {skipped}" if skipped else "the best there is")


def backend_troubles(
    operator: str, config: RunConfig, machine: Machine, model: Model
) -> dict[str, str | None]:
    """Return why each backend cannot be used for an operator here, best backend first; None: it can."""
    return {
        one.name: model.backend_trouble(operator, one.name, config) or one.trouble(machine, config)
        for one in TABLE[operator]
    }


def _check_backend(kernels: Kernels, machine: Machine) -> None:
    packages = {"te": machine.te, "apex": machine.apex, "triton": machine.triton}
    package = packages.get(kernels.backend)
    if package is not None and package.trouble is not None:
        raise UserError(
            "kernels.backend",
            f"cannot be used here: {package.trouble}",
            value=kernels.backend,
            use=", ".join(["auto", *(name for name, found in packages.items() if found.usable), "torch"]),
        )


def _used(config: RunConfig, model: Model) -> frozenset[str]:
    """Return the operators of the model, and the optimizer if it has backends."""
    return model.operators | ({"optimizer"} if algorithm(config).backends else set())


def _check_operators(config: RunConfig, used: frozenset[str]) -> None:
    for operator in TABLE:
        forced = getattr(config.kernels, operator)
        if forced is not None and operator not in used:
            whose = f"optimizer.name={config.optimizer.name}" if operator == "optimizer" else ""
            raise UserError(
                f"kernels.{operator}",
                f"has no effect: {whose or f'model.family={config.model.family}'} has no such operator",
                value=forced,
                use="null",
            )


def _fp8(config: RunConfig, machine: Machine, model: Model, backends: dict[str, str]) -> list[Choice]:
    """Return FP8's recipe, if FP8 is on, by the rules that the plan applied to the cluster's profile."""
    asked, found = config.training.fp8, machine.compute_capability
    if asked is None:
        return []
    if backends.get("linear") != "te":
        trouble = machine.te.trouble or f"kernels.linear is {backends.get('linear', 'not used')}"
        raise UserError(
            "training.fp8", f"needs Transformer Engine's linear layers: {trouble}", value=asked, use="null"
        )
    if found is None:
        raise UserError(
            "training.fp8", "needs a GPU whose compute capability nvidia-smi reports", value=asked, use="null"
        )
    here = on_device(config, found)
    fp8.check_device(here)
    model.check(here)
    return [Choice("fp8", fp8.recipe_of(here), fp8.why(here))]


def on_device(config: RunConfig, capability: tuple[int, int]) -> RunConfig:
    """Return the configuration with the compute capability of this machine's devices."""
    device = config.cluster.device.model_copy(
        update={"compute_capability": float("{}.{}".format(*capability))}
    )
    return config.model_copy(update={"cluster": config.cluster.model_copy(update={"device": device})})
