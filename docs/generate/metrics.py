"""metrics.jsonl, from the tables of its fields."""

from generate import markdown
from slipway.metrics.fields import EVENTS, EVERY, LINES, Field
from slipway.run_dir import RunDir

HEAD = ("field", "unit", "meaning")


def page() -> str:
    """The page."""
    parts = [
        f"`{RunDir.__dict__['metrics'].parts[0]}` in the run's directory has a JSON object in each line. "
        "[Training](../training.md#metricsjsonl) explains how FLOP and rates are counted, [routing](../routing.md) "
        "what the measures of a mixture of experts are.",
        "## In every line",
        _table(EVERY),
    ]
    for kind, (when, fields) in LINES.items():
        parts += [f"## {kind}", markdown.prose(when), _table(fields)]
    rows = [(markdown.code(event), markdown.prose(text)) for event, text in EVENTS.items()]
    return markdown.page("Metrics", *parts, markdown.table(("event", "what happened"), rows))


def _table(fields: dict[str, Field]) -> str:
    rows = [
        (
            markdown.code(name),
            markdown.prose(field.unit),
            markdown.prose(field.meaning) + (" *Not in every line.*" if field.sometimes else ""),
        )
        for name, field in fields.items()
    ]
    return markdown.table(HEAD, rows)
