"""The rotary embedding in config.json: the forms of transformers 4 and 5, and which embeddings are computed here.

transformers 5 keeps all of it in `rope_parameters`; 4 and other readers expect `rope_theta` and `rope_scaling`. Both
are written, and either is read.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from slipway.models.gpt.config import Config
from slipway.models.gpt.fields.rotary import KINDS
from slipway.models.gpt.formats.given import NUMBER, Given

_NUMBERS = {name for kind in KINDS.values() for name in kind.model_fields} - {"type"}
_KNOWN = {"rope_type", "type", "rope_theta", "partial_rotary_factor", *_NUMBERS}


def written(model: Config, base: str = "rope_theta", **more: Any) -> dict[str, Any]:
    """Return the settings in both forms. base: transformers 4's name of the base. more: further rope_parameters."""
    theta, scaling = model.rotary_base, None
    if model.rope_scaling is not None:
        kind, numbers = (
            model.rope_scaling.type,
            model.rope_scaling.model_dump(exclude={"type"}, exclude_none=True),
        )
        scaling = {"rope_type": kind, **numbers}
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
    """Return the fields of `model`. theta, turned: the class's own base, and its share of rotated channels in a head.

    base, part: transformers 4's names of these. Raises UserError for what is not computed here.
    """
    forms = {key: given.value(key, None, dict) or {} for key in ("rope_parameters", "rope_scaling")}
    top = {key: given.settings[key] for key in (base, part) if key in given.settings}
    given.asked |= {base, part}
    for key, form in forms.items():
        unknown = sorted(set(form) - _KNOWN)
        if unknown:
            raise given.error(key, f"has {unknown[0]}, which is not computed here")

    def one(name: str, above: str | None, default: Any) -> Any:
        key, value = _agreed(given, forms, top, name, above) or (above or "rope_parameters", default)
        if not isinstance(value, NUMBER) or isinstance(value, bool):
            raise given.error(key, f"has no number for {name}")
        return value

    share = one("partial_rotary_factor", part, turned)
    if share != 1:
        key = part if part in top or not forms["rope_parameters"] else "rope_parameters"
        raise given.error(key, f"turns {share:g} of each head, and here all of it is turned", default=turned)
    value = float(one("rope_theta", base, theta))
    return {"rotary_base": value, "rope_scaling": _scaling(given, forms)}


def _agreed(
    given: Given, forms: Mapping[str, Any], top: Mapping[str, Any], name: str, above: str | None
) -> tuple[str, Any] | None:
    """Return the key that holds a setting, and its value; None: nowhere. Raises UserError for two values."""
    found = {key: form[name] for key, form in forms.items() if name in form}
    if above is not None and above in top:
        found[above] = top[above]
    if len(set(map(repr, map(_plain, found.values())))) > 1:
        raise given.error(next(iter(found)), f"disagrees with {list(found)[1]} on {name}")
    return next(iter(found.items()), None)


def _scaling(given: Given, forms: Mapping[str, Any]) -> dict[str, Any] | None:
    kinds = {key: form.get("rope_type", form.get("type", "default")) for key, form in forms.items() if form}
    if len(set(kinds.values())) > 1:
        raise given.error("rope_scaling", "disagrees with rope_parameters on rope_type")
    key, kind = next(iter(kinds.items()), ("rope_parameters", "default"))
    if kind != "default" and kind not in KINDS:
        raise given.error(
            key,
            f"has rope_type {kind}, which is not computed here",
            use="rope_type " + " or ".join(f'"{name}"' for name in ("default", *KINDS)),
        )
    used = set() if kind == "default" else _NUMBERS & set(KINDS[kind].model_fields)
    extra = [name for form in forms.values() for name in form if name in _NUMBERS - used]
    if extra:
        raise given.error(key, f"has {extra[0]} without a rope_type that uses it")
    if kind == "default":
        return None
    agreed = {name: _agreed(given, forms, {}, name, None) for name in used}
    # transformers requires all of Llama 3's numbers, and writes null for those that a model does not set
    numbers = {name: each[1] for name, each in agreed.items() if each is not None and each[1] is not None}
    demanded = used if kind == "llama3" else {"factor", "original_max_position_embeddings"}
    for name in sorted(used):
        if name in numbers and not _is_plain(name, numbers[name]) or name in demanded - set(numbers):
            raise given.error(key, f"has no number for {name}")
    try:
        return KINDS[kind].model_validate({"type": kind, **numbers}).model_dump()
    except ValidationError as error:
        problem = error.errors()[0]
        where = "".join(f"{name}: " for name in problem["loc"])
        raise given.error(key, where + problem["msg"].removeprefix("Value error, ")) from None


def _is_plain(name: str, value: Any) -> bool:
    """Return whether it is a number (or a bool for `truncate`), and not text or a switch in its place."""
    return isinstance(value, bool if name == "truncate" else NUMBER) and isinstance(value, bool) == (
        name == "truncate"
    )


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, NUMBER) and not isinstance(value, bool) else value
