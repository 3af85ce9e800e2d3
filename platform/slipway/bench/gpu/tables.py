"""The record of all parts, as text for people and as Markdown for docs/dev/performance.md. Imports no torch."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from slipway.bench.gpu.device import Here
from slipway.bench.record import machine, shown


def record_of(here: Here, parts: Sequence[Mapping[str, Any]], command: Sequence[str]) -> dict[str, Any]:
    """Return the record: the conditions, the date and the command of the call, then every part's result."""
    return {
        "benchmark": "gpu",
        "command": shlex.join(command),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "device": here.plain(),
        "rehearsal": here.rehearse,
        "parts": [dict(part) for part in parts],
    }


def markdown(record: Mapping[str, Any]) -> str:
    """Return a section for docs/dev/performance.md: the conditions, the verdicts, each part's table, the goals."""
    lines = [f"## {_title(record)}", "", f"`{record['command']}`, {_dates(record)}. {where(record)}.", ""]
    lines += _table([_verdict(part) for part in record["parts"]])
    for part in record["parts"]:
        if part["rows"]:
            lines += [f"**{part['part']}**: {part['shows']}.", "", *_table(part["rows"])]
        if part["notes"]:
            lines += [*(f"- {note}" for note in part["notes"]), ""]
    if times := _times(record):
        lines += ["**Where a step's time goes** (%)", "", *_table(times)]
    if goals := _goals(record):
        lines += ["**Goals**", "", *_table(goals)]
    return "\n".join(lines)


def summary(record: Mapping[str, Any]) -> str:
    """Return the lines that end a call: verdicts, failed checks, goals."""
    lines = ["", where(record), ""]
    width = max((len(part["part"]) for part in record["parts"]), default=0)
    for part in record["parts"]:
        row = _verdict(part)
        lines.append(f"{part['part']:<{width}}  {part['verdict']:<10}  {row['seconds']:>5}  {row['checks']}")
        lines += [
            f"{'':<{width}}  not so: {check['what']}: {check['found']} (asked: {check['asked']})"
            for check in part["checks"]
            if not check["passed"]
        ]
    for row in _goals(record):
        lines.append(f"{row['goal of']}: {row['found']} of {row['goal']}: {row['']}")
    return "\n".join(lines)


def _title(record: Mapping[str, Any]) -> str:
    return (
        "Rehearsal on a CPU: shapes are tiny, no figure means anything" if record["rehearsal"] else "On GPUs"
    )


def _dates(record: Mapping[str, Any]) -> str:
    days = sorted({part["date"][:10] for part in record["parts"]}) or [record["date"][:10]]
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def where(record: Mapping[str, Any]) -> str:
    """Return devices, driver, host and versions, in one line."""
    device, facts = record["device"], record["machine"]
    words = [f"{device['count']} x {device['name']}, {shown(float(device['memory_gib']))} GiB each"]
    if device["driver"]:
        words.append(f"driver {device['driver']}")
    words += [f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB"]
    return ", ".join([*words, *(f"{name} {number}" for name, number in device["versions"].items())])


def _verdict(part: Mapping[str, Any]) -> dict[str, Any]:
    checks = part["checks"]
    good = sum(check["passed"] for check in checks)
    told = f"{good} of {len(checks)} checks" if checks else (part["trouble"] or "").splitlines()[-1:]
    return {
        "part": part["part"],
        "verdict": part["verdict"],
        "seconds": shown(round(part["seconds"])),
        "checks": told if isinstance(told, str) else "".join(told),
    }


def _goals(record: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "goal of": f"{part['part']}: {goal['what']}",
            "found": shown(goal["found"]),
            "goal": shown(goal["goal"]),
            "": "reached" if goal["found"] >= goal["goal"] else "not reached",
        }
        for part in record["parts"]
        for goal in part["goals"]
    ]


def _times(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"part": part["part"], "what": name} | {kind: round(100 * share) for kind, share in shares.items()}
        for part in record["parts"]
        for name, shares in part["shares"].items()
    ]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    labels = list(dict.fromkeys(label for row in rows for label in row))
    head = [f"| {' | '.join(labels)} |", f"|{'---|' * len(labels)}"]
    body = [f"| {' | '.join(_cell(row.get(label)) for label in labels)} |" for row in rows]
    return [*head, *body, ""]


def _cell(value: Any) -> str:
    return "" if value is None else shown(value).replace("|", "\\|").replace("\n", " ")
