"""plan.json: a plan as jobs carry it and ranks read it. Composed, checked and planned once.

The jobs of a sweep share one plan.json; each gives its differences as changes, KEY=JSON with dotted keys.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from slipway import files, secrets
from slipway.config.explain import explain
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan.plan import Plan, make_plan
from slipway.records import first_problem


def to_text(plan: Plan, numbers: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return the text of plan.json: ASCII, one value per line, ending in a line feed.

    numbers: written in front of the plan, as they are.
    """
    return json.dumps({**numbers, **plan.model_dump(mode="json")}, indent=1) + "\n"


def write(plan: Plan, path: Path) -> None:
    """Write plan.json, whole or not at all. Raises OSError."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, to_text(plan))


def changes(base: Plan, plan: Plan) -> list[str]:
    """Return the KEY=JSON words that turn `base` into `plan`."""
    return _words(base.model_dump(mode="json"), plan.model_dump(mode="json"))


def changes_of_sweep(plans: Sequence[Plan]) -> list[list[str]]:
    """Return for each of the plans the KEY=JSON words that turn the first one into it."""
    base, *others = (plan.model_dump(mode="json") for plan in plans)
    return [[], *(_words(base, other) for other in others)]


def differences(base: Any, other: Any, at: str = "") -> list[tuple[str, Any]]:
    """Return where two JSON values differ: dotted keys, each with the value in `other`."""
    if base == other and type(base) is type(other):
        return []
    dotted = isinstance(other, dict) and any("." in key for key in other)
    if isinstance(base, dict) and isinstance(other, dict) and base.keys() == other.keys() and not dotted:
        inner = f"{at}." if at else ""
        return [one for key in other for one in differences(base[key], other[key], f"{inner}{key}")]
    return [(at, other)]


def read(path: Path, changed: Sequence[str] = ()) -> Plan:
    """Return the plan in a plan.json, changed by KEY=JSON words.

    Raises UserError if the file holds none, or if its numbers do not follow from its configuration: it was written by
    another version, or changed by hand.
    """
    plain = _load(path, changed)
    _config(plain, path)  # so that its mistakes are reported with their own paths
    try:
        plan = Plan.model_validate(plain)
    except ValidationError as error:
        raise UserError(
            path,
            f"is not a plan of this version: {first_problem(error)}",
            do="make a new one with `slipway plan --json`",
        ) from error
    _check_follows(plan, path)
    return plan


def read_config(path: Path, changed: Sequence[str] = ()) -> RunConfig:
    """Return only the configuration in a plan.json, changed by KEY=JSON words. Raises UserError if there is none."""
    return _config(_load(path, changed), path)


def _load(path: Path, changed: Sequence[str]) -> dict[str, Any]:
    try:
        plain = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UserError(
            path, f"the plan cannot be read: {error.strerror}", do="make it readable, or name another file"
        ) from error
    except ValueError as error:
        raise UserError(
            path, f"is not JSON: {error}", do="make a new one with `slipway plan --json`"
        ) from error
    if not isinstance(plain, dict) or not isinstance(plain.get("config"), dict):
        raise UserError(
            path, "is not a plan: it has no section `config`", use="the output of `slipway plan --json`"
        )
    for word in changed:
        _change(plain, word)
    secrets.check_plain(plain["config"], os.environ, "config")
    return plain


def _config(plain: dict[str, Any], path: Path) -> RunConfig:
    try:
        return RunConfig.model_validate(plain["config"])
    except ValidationError as error:
        wrong = explain(error, plain["config"])
        raise wrong.replaced(path=f"{path}: config.{wrong.path}") from error


def _check_follows(plan: Plan, path: Path) -> None:
    """Plan again what ranks rely on and raise UserError if it differs; estimates may be another version's.

    The time is not compared: a file of constants (cluster.device.measured) need not exist where the plan is read.
    """
    anew = make_plan(_without_constants(plan.config))
    for name in (
        "world_size",
        "data_parallel_size",
        "num_microbatches",
        "unit",
        "units_per_sample",
        "stages",
    ):
        found, right = getattr(plan, name), getattr(anew, name)
        if found != right:
            raise UserError(
                path,
                f"{name} is {_short(found)}, but {_short(right)} follows from its configuration: it was edited, "
                "or another version wrote it",
                do="make a new one with `slipway plan --json`",
            )


def _without_constants(config: RunConfig) -> RunConfig:
    cluster = config.cluster
    device = cluster.device.model_copy(update={"measured": None})
    timeless = {"device": device, "expected_mfu": cluster.expected_mfu or 1.0}  # needs no constants
    return config.model_copy(update={"cluster": cluster.model_copy(update=timeless)})


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _words(base: Any, other: Any) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in differences(base, other)]


def _change(plain: dict[str, Any], word: str) -> None:
    dotted, equals, text = word.partition("=")
    try:
        value = json.loads(text)
    except ValueError:
        equals = ""
    if not equals:
        raise UserError(word, "is not KEY=JSON", use="config.optimizer.lr=0.001, or 'config.run.name=\"b\"'")
    *path, last = dotted.split(".")
    section: Any = plain
    for key in path:
        section = section.get(key) if isinstance(section, dict) else None
    if not isinstance(section, dict) or last not in section:
        raise UserError(dotted, "no such key in the plan", do="name one that `slipway plan --json` prints")
    section[last] = value
