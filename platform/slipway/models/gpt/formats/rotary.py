"""The rotary embedding in config.json: as transformers 4 has it, as 5 has it, and which of them is computed here.

transformers 5 keeps all of it in `rope_parameters`; 4 and other readers want `rope_theta` and `rope_scaling`. Both are
written, and either is read.
"""

from collections.abc import Mapping
from typing import Any

from slipway.models.gpt.config import Config
from slipway.models.gpt.formats.given import NUMBER, Given

# Of Llama 3.1's scaling, written into Megatron-core (RotaryEmbedding._apply_scaling, 0.16.1 and 0.19.2); the factor
# alone is a field of `model`.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_KNOWN = {"rope_type", "type", "rope_theta", "factor", "partial_rotary_factor", *LLAMA3}


def written(model: Config, base: str = "rope_theta", **more: Any) -> dict[str, Any]:
    """Return the settings of both forms; base: what transformers 4 calls the base; more: of rope_parameters."""
    theta, scaling = model.rotary_base, None
    if model.rope_scaling_factor is not None:
        scaling = {"rope_type": "llama3", "factor": model.rope_scaling_factor, **LLAMA3}
    return {
        base: theta,
        "rope_scaling": scaling,
        "rope_parameters": {"rope_theta": theta, **(scaling or {"rope_type": "default"}), **more},
    }


def read(
    given: Given,
    theta: float,
    base: str = "rope_theta",
    part: str = "partial_rotary_factor",
    turned: float = 1.0,
) -> dict[str, Any]:
    """Return the fields of `model`. theta, turned: the class's own base, and share of a head that is turned.

    base, part: what transformers 4 calls them. Raises UserError for what is not computed here.
    """
    forms = {key: given.value(key, None, dict) or {} for key in ("rope_parameters", "rope_scaling")}
    top = {key: given.settings[key] for key in (base, part) if key in given.settings}
    given.asked |= {base, part}
    for key, form in forms.items():
        unknown = sorted(set(form) - _KNOWN)
        if unknown:
            raise given.error(key, f"has {unknown[0]}, which is not computed here")

    def one(name: str, above: str | None, default: Any) -> Any:
        found = {key: form[name] for key, form in forms.items() if name in form}
        if above in top:
            found[above] = top[above]
        if len(set(map(repr, map(_plain, found.values())))) > 1:
            raise given.error(next(iter(found)), f"disagrees with {list(found)[1]} on {name}")
        key, value = next(iter(found.items()), (above or "rope_parameters", default))
        if not isinstance(value, NUMBER) or isinstance(value, bool):
            raise given.error(key, f"has no number for {name}")
        return value

    share = one("partial_rotary_factor", part, turned)
    if share != 1:
        key = part if part in top or not forms["rope_parameters"] else "rope_parameters"
        raise given.error(key, f"turns {share:g} of each head, and here all of it is turned", default=turned)
    value = float(one("rope_theta", base, theta))
    return {"rotary_base": value, "rope_scaling_factor": _scaling(given, forms, one)}


def _scaling(given: Given, forms: Mapping[str, Any], one: Any) -> float | None:
    kinds = {key: form.get("rope_type", form.get("type", "default")) for key, form in forms.items() if form}
    if len(set(kinds.values())) > 1:
        raise given.error("rope_scaling", "disagrees with rope_parameters on rope_type")
    key, kind = next(iter(kinds.items()), ("rope_parameters", "default"))
    if kind == "default":
        extra = [name for form in forms.values() for name in form if name in {"factor", *LLAMA3}]
        if extra:
            raise given.error(key, f"has {extra[0]} without a rope_type that uses it")
        return None
    if kind != "llama3":
        raise given.error(
            key, f"has rope_type {kind}, which is not computed here", use='rope_type "default" or "llama3"'
        )
    for name, value in LLAMA3.items():
        if one(name, None, None) != value:
            raise given.error(key, f"has another {name} than {value:g}, which is written into Megatron-core")
    return float(one("factor", None, None))


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, NUMBER) and not isinstance(value, bool) else value
