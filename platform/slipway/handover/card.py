"""README.md of an exported model: a model card of Hugging Face, made from the run's record alone.

The front matter is Hugging Face's (huggingface_hub, "Model cards"). The card states nothing that the record does not
hold.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway.errors import UserError
from slipway.handover.record import Record
from slipway.words import figure


def check_license(option: str, license: str | None) -> None:
    """Raise UserError if the text cannot be a licence's identifier."""
    if license is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", license):
        raise UserError(
            option,
            "is not a licence identifier",
            value=license,
            use="an identifier such as apache-2.0, mit or other",
        )


def render(record: Record, settings: Mapping[str, Any], license: str | None, author: str | None) -> str:
    """Return the card's text. settings: the content of the model's config.json."""
    parts = [
        _front_matter(settings, license),
        f"# {_plain(record.name)}",
        _opening(record, author, license),
        "## Model\n\n" + _table(("", ""), _model(record, settings)),
        "## Data\n\n" + _data(record),
        "## Training\n\n" + _table(("", ""), _training(record)),
        "## Evaluation\n\n" + _evaluation(record),
        "## Use\n\n" + _use(settings),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(settings: Mapping[str, Any], license: str | None) -> str:
    lines = [f"license: {license}"] if license else []
    lines.append("library_name: transformers")
    if _generates(settings):
        lines.append("pipeline_tag: text-generation")
    lines += ["tags:", "- slipway", "- megatron-core"]
    return "\n".join(["---", *lines, "---"])


def _opening(record: Record, author: str | None, license: str | None) -> str:
    said = [f"Step {record.step:,} of a run of Slipway {record.versions['slipway']}."]
    if record.origin:
        said.append(
            f"It began with the weights of {_code(record.origin.file)} (SHA-256 {_code(record.origin.sha256)})."
        )
    said.append(f"Author: {_plain(author)}." if author else "The author is not stated.")
    said.append(f"Licence: {license}." if license else "The licence is not stated.")
    return "\n".join(said)


def _model(record: Record, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    model = record.config.model.model_dump(mode="json")
    rows = [("class", ", ".join(settings.get("architectures", [])))]
    rows.append(("parameters", f"{record.parameters:,}"))
    rows += [(name, str(value)) for name, value in model.items() if value is not None and name != "name"]
    return rows


def _data(record: Record) -> str:
    seen = f"{record.units:,} {record.unit} in {record.samples:,} samples were seen, repetitions included."
    if not record.sources:
        return seen if record.samples else "No data was seen."
    parts = [seen]
    for source in record.sources:
        rows = [("samples drawn", f"{source.samples:,}")]
        if source.inputs:
            rows.append(("inputs", ", ".join(map(_code, source.inputs))))
        rows += [(name, _code(_value(value))) for name, value in source.facts.items()]
        parts.append(f"### {_plain(source.name)}\n\n{_table(('', ''), rows)}")
    return "\n\n".join(parts)


def _training(record: Record) -> list[tuple[str, str]]:
    training, optimizer = record.config.training, record.config.optimizer
    rows = [
        ("steps", f"{record.step:,} of {training.steps:,}"),
        ("samples in a step", f"{training.global_batch_size:,}"),
        (
            "optimizer",
            f"{optimizer.name}, weight decay {optimizer.weight_decay:g}, clipping at {optimizer.clip_grad:g}",
        ),
        (
            "learning rate",
            f"{optimizer.lr:g} at most, {optimizer.lr_warmup_steps:,} steps of warm-up, {optimizer.lr_decay_style} to "
            f"{optimizer.min_lr:g}",
        ),
        ("precision", training.precision + (f" with {training.fp8} fp8" if training.fp8 else "")),
        ("these weights", record.precision),
        ("seed", str(training.seed)),
    ]
    if record.layouts:
        rows.append(("layout", "; ".join(record.layouts)))
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())))
    if record.device_hours is not None:
        until = f", of the run to step {record.hours_to_step:,}" if record.hours_to_step else ""
        rows.append(("device-hours", figure(record.device_hours) + until))
    if record.energy.kwh is not None:
        rows.append(("energy", f"{record.energy.in_words} kWh ({record.energy.source})"))
    return rows


def _evaluation(record: Record) -> str:
    losses = [
        (name, f"{step:,}", f"{loss:.6g}")
        for name, (step, loss) in (
            ("training loss", record.training_loss or (0, 0.0)),
            ("validation loss", record.validation_loss or (0, 0.0)),
        )
        if step
    ]
    parts = [_table(("", "step", "value"), losses)] if losses else []
    for result in record.evaluations:
        head, *rows = result.rows()
        parts.append(f"### {_plain(result.title)}\n\n{_table(head, rows)}\n\n{_plain(result.how)}")
    return "\n\n".join(parts) or "None is on record."


def _use(settings: Mapping[str, Any]) -> str:
    kind = "AutoModelForCausalLM" if _generates(settings) else "AutoModel"
    return (
        "```python\n"
        f"from transformers import AutoTokenizer, {kind}\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n'
        f'model = {kind}.from_pretrained("path/to/this/folder")\n'
        "```"
    )


def _generates(settings: Mapping[str, Any]) -> bool:
    return any(
        str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in settings.get("architectures", [])
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def _plain(text: str) -> str:
    """Return the text in one line, with every character escaped that means something in Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return f"`{' '.join(text.replace('`', '').split())}`"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
