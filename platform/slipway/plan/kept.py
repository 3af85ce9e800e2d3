"""Keeps a run with parallelism=auto in the layout of its plan.json for its life: it is searched for only once."""

import json
from pathlib import Path
from typing import Any

from slipway import files
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan.plan import Plan, make_plan
from slipway.plan.search.auto import Choice
from slipway.run_dir import RunDir


def plan_of(config: RunConfig, workdir: Path = Path()) -> Plan:
    """Return the plan of a configuration, with its `auto` fields as in the run's plan.json.

    Without a plan.json they are searched for. workdir: where a relative run.dir begins. Raises UserError if plan.json
    cannot be used, slipway.files.Unreadable if it cannot be read.
    """
    kept = _kept(config, workdir) if config.auto else None
    if kept is None:
        return make_plan(config)
    config, choice = kept
    return make_plan(config).model_copy(update={"choice": choice})


def stay(plan: Plan) -> Plan:
    """Return the plan that a job carries, with the layout of an earlier segment's plan.json if that is another."""
    if plan.choice is None:
        return plan
    wished = plan.wish.parallelism if plan.wish else plan.config.parallelism
    config = plan.config.model_copy(update={"auto": plan.choice.fields, "parallelism": wished})
    kept = _kept(config, Path())
    if kept is None or kept[1].why == plan.choice.why:
        return plan
    return make_plan(kept[0]).model_copy(update={"choice": kept[1]})


def said(plan: Plan) -> str | None:
    """Return in one line what was chosen and why; None if nothing was left open."""
    if plan.choice is None:
        return None
    return f"parallelism=auto: {plan.choice.why}" + ("; as the run began" if plan.choice.kept else "")


def _kept(config: RunConfig, workdir: Path) -> tuple[RunConfig, Choice] | None:
    path = workdir / RunDir(config.run.dir).plan
    found = files.read(path)
    if found is None:
        return None
    try:
        plain = json.loads(found)
        began = {**plain["config"], **(plain.get("wish") and _sections(plain) or {})}
        values = {field: _value(began, field) for field in config.auto}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            path,
            "is not a run's plan, from which parallelism=auto would take the layout",
            do="remove it to search for a layout again, or choose another run.dir",
        ) from None
    why = (plain.get("choice") or {}).get("why") or "the layout that the run was begun with"
    return _with(config, values), Choice(fields=config.auto, why=why, kept=True)


def _sections(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the sections as they were wished, before they were fitted to fewer devices (resources.elastic)."""
    wish, training = plain["wish"], plain["config"]["training"]
    return {
        "parallelism": wish["parallelism"],
        "training": training | {"micro_batch_size": wish["micro_batch_size"]},
    }


def _value(sections: dict[str, Any], field: str) -> Any:
    section, _, name = field.partition(".")
    return sections[section][name]


def _with(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """Return the configuration with these values, validated."""
    plain = config.model_dump(mode="json")
    for field, value in values.items():
        section, _, name = field.partition(".")
        plain[section][name] = value
    return RunConfig.model_validate(plain | {"auto": []})
