"""The tokenizer of a run as files that AutoTokenizer loads. Imports no torch."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from slipway import files
from slipway.checkpoint.store import CheckpointInfo
from slipway.config.schema import RunConfig
from slipway.data.text import manifest
from slipway.data.text.manifest import TOKENIZER_NAME
from slipway.errors import UserError
from slipway.run_dir import RunDir

CONFIG_NAME = "tokenizer_config.json"
SPECIAL_NAME = "special_tokens_map.json"
KEPT = (TOKENIZER_NAME, CONFIG_NAME, SPECIAL_NAME, "chat_template.jinja")
"""What an import keeps in run.dir/tokenizer, where a model has it."""
_FACT = "the checksum of tokenizer.json"  # slipway.data.text.kind: what the ledger says of samples


class Exported(NamedTuple):
    """A tokenizer, ready to be written."""

    contents: dict[str, bytes]
    """By the file's name."""
    end_of_document: int
    """The id of the token that ended each document in training."""


def exported(config: RunConfig, info: CheckpointInfo, longest: int | None) -> Exported:
    """The tokenizer with which the run's data was prepared, or that was imported with its weights.

    longest: sequence that the model takes, in tokens. Raises UserError where it is nowhere.
    """
    data, kept = Path(getattr(config.data, "dir", "")), RunDir(config.run.dir).tokenizer
    trained_with = {str(facts[_FACT]) for facts in info.data.facts.values() if _FACT in facts}
    imported = {name: content for name in KEPT if (content := files.read(kept / name)) is not None}
    found = _prepared(data)
    if found and trained_with <= {_sha256(found[0])}:
        text, mark, number = found
    elif (text := imported.get(TOKENIZER_NAME)) and trained_with <= {_sha256(text)}:
        mark = _end_mark(imported, kept)
        number = token_ids(text, kept / TOKENIZER_NAME).get(mark, -1)
        if number < 0:
            raise UserError(kept / CONFIG_NAME, "names an end that tokenizer.json has not", value=mark)
    else:
        known = "has another tokenizer than the run was trained with" if found else "holds no prepared data"
        raise UserError(
            "data.dir",
            f"{known}, and {kept} none either: no text could be given to the model",
            value=data,
            do=f"put the tokenizer.json that the run was trained with into {kept}, or prepare the data again",
        )
    if imported.get(TOKENIZER_NAME) == text and CONFIG_NAME in imported:
        return Exported(imported, number)
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": mark,
        "clean_up_tokenization_spaces": False,
        **({"model_max_length": longest} if longest else {}),
    }
    contents = {
        TOKENIZER_NAME: text,
        CONFIG_NAME: as_json(settings),
        SPECIAL_NAME: as_json({"eos_token": mark}),
    }
    return Exported(contents, number)


def token_ids(text: bytes, path: Path) -> dict[str, int]:
    """The numbers of a tokenizer.json's tokens that were added to its vocabulary, and of that, by their content.

    Raises UserError where it is none.
    """
    try:
        parts = json.loads(text)
        vocabulary = parts["model"].get("vocab") or {}
        if isinstance(vocabulary, list):  # Unigram: by place
            vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
        return {**vocabulary, **{str(one["content"]): int(one["id"]) for one in parts["added_tokens"]}}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(path, f"is not a tokenizer.json: {type(error).__name__}: {error}") from None


def token_of(value: Any) -> str | None:
    """A special token as tokenizer_config.json writes it: its content, or an object that has it."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) and content else None


def as_json(value: Any) -> bytes:
    """As Hugging Face writes it: for people, and not in ASCII alone."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _prepared(folder: Path) -> tuple[bytes, str, int] | None:
    """The text of tokenizer.json in a data set, its end mark and that one's number; None where there is none."""
    found = manifest.tokenizer_record(folder)
    text = files.read(folder / TOKENIZER_NAME) if found else None
    if found is None or text is None or _sha256(text) != found.file.sha256:
        return None
    return text, found.end_of_document, found.end_of_document_id


def _end_mark(imported: dict[str, bytes], kept: Path) -> str:
    try:
        mark = token_of(json.loads(imported.get(CONFIG_NAME, b"{}")).get("eos_token"))
    except (ValueError, AttributeError):
        mark = None
    if mark is None:
        raise UserError(kept / CONFIG_NAME, "names no eos_token, the token after each document", do="add it")
    return mark


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
