"""The tokenizer of a run, as files that AutoTokenizer loads. Imports no torch."""

import json
from typing import Any, NamedTuple

from slipway import files
from slipway.checkpoint.store import CheckpointInfo
from slipway.config.schema import RunConfig
from slipway.data.text.manifest import TOKENIZER_NAME
from slipway.data.text.vocabulary import SETTINGS_NAME, TEMPLATE_NAME, check_trained_with, vocabulary_of

SPECIAL_NAME = "special_tokens_map.json"
KEPT = (TOKENIZER_NAME, SETTINGS_NAME, SPECIAL_NAME, TEMPLATE_NAME)
"""The files that a folder's tokenizer may consist of."""


class Exported(NamedTuple):
    """A tokenizer that is ready to be written."""

    contents: dict[str, bytes]
    """The files' contents by their names."""
    end_of_document: int | None
    """The id of the token after each document; None if it is not known."""


def exported(config: RunConfig, info: CheckpointInfo, longest: int | None) -> Exported:
    """Return the run's tokenizer, with the settings that an import kept, or else those that transformers needs.

    longest: tokens of the longest sequence that the model takes. Raises UserError if the tokenizer is nowhere, or is
    not the one that the checkpoint was trained with.
    """
    found = vocabulary_of(config)
    check_trained_with(found, info.data)
    content = found.json.encode()
    beside = {name: text for name in KEPT if (text := files.read(found.path.parent / name)) is not None}
    if SETTINGS_NAME in beside:
        return Exported(beside, found.end_of_document)
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    special = {}
    if found.end_of_document is not None:
        special = {"eos_token": found.tokenizer.id_to_token(found.end_of_document)}
    if longest:
        settings["model_max_length"] = longest
    if found.chat_template is not None:
        settings["chat_template"] = found.chat_template
    return Exported(
        {TOKENIZER_NAME: content, SETTINGS_NAME: as_json(settings | special), SPECIAL_NAME: as_json(special)},
        found.end_of_document,
    )


def as_json(value: Any) -> bytes:
    """Return JSON as Hugging Face writes it: indented for people, and not in ASCII alone."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
