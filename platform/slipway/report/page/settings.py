"""The settings of runs: all of them for one, the differences between several."""

from collections.abc import Mapping, Sequence

from slipway.report.page.figures import coloured
from slipway.report.page.markup import Html, element, table
from slipway.report.run import Recorded


def differences(runs: Sequence[Recorded], names: Sequence[str]) -> Html:
    """Return the settings and versions in which the runs differ."""
    every = [_settings(run) for run in runs]
    keys = sorted({key for one in every for key in one})
    body = [
        [element("code", key), *(one.get(key, "–") for one in every)]
        for key in keys
        if len({one.get(key) for one in every}) > 1
    ]
    if not body:
        return element("p", "Nothing that is recorded differs between them.", class_="muted")
    return table(["", *(coloured(name, at) for at, name in enumerate(names))], body)


def settings(run: Recorded) -> Html:
    """Return all of a run's settings, folded away."""
    every = _settings(run)
    if not every:
        return Html()
    body = [(element("code", key), value) for key, value in sorted(every.items())]
    return element("details", element("summary", "All settings"), table((), body))


def _settings(run: Recorded) -> dict[str, str]:
    found: dict[str, str] = {}
    if run.plan:
        plain = run.plan.model_dump(mode="json")
        config = {name: part for name, part in plain["config"].items() if name not in ("run", "launch")}
        config["cluster"] = {
            name: part
            for name, part in config["cluster"].items()
            if name not in ("notes", "sources", "warnings")
        }
        found |= _flat(config, "")
        found |= _flat(
            {name: plain[name] for name in ("kernels", "switches", "data_parallel_size", "world_size")}, ""
        )
    if run.overview.segments:
        newest = run.overview.segments[-1]
        found |= _flat({"versions": newest.versions, "host": newest.host}, "")
    return found


def _flat(value: Mapping[str, object], at: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            found |= _flat(inner, f"{at}{key}.")
        elif inner not in (None, [], {}):
            found[f"{at}{key}"] = str(inner)
    return found
