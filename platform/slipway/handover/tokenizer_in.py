"""The tokenizer of a folder: what an import keeps of it in run.dir/tokenizer. Imports no torch."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from slipway import files
from slipway.data.text.manifest import TOKENIZER_NAME
from slipway.errors import UserError
from slipway.handover import folder as folders
from slipway.handover.tokenizer_out import CONFIG_NAME, KEPT, token_ids, token_of
from slipway.handover.whole_folder import whole_folder


class Found(NamedTuple):
    """A tokenizer that was given."""

    contents: dict[str, bytes]
    """By the file's name."""
    entries: int
    """One above the largest token."""
    end: str | None
    """The token that ends a text, where the folder says so."""

    def words(self, kept: Path) -> str:
        """How `slipway data` is told to use it. kept: where its files are."""
        words = ["data.tokenizer.kind=file", f"data.tokenizer.path={kept / TOKENIZER_NAME}"]
        if self.end:
            words.append(f"data.tokenizer.end_of_document={_for_hydra(self.end)}")
        return " ".join(map(shlex.quote, words))


def found(folder: Path, settings: Mapping[str, Any]) -> Found:
    """The tokenizer in a folder. settings: of its config.json. Raises UserError where there is none."""
    if not (folder / TOKENIZER_NAME).exists() and not (folder / TOKENIZER_NAME).is_symlink():
        raise UserError(
            folder / TOKENIZER_NAME,
            "is missing: no text could be given to the model",
            do="write it with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    contents = {}
    for name in KEPT:
        if (folder / name).exists() or (folder / name).is_symlink():
            contents[name] = folders.text(folders.inside(folder, name))
    tokens = token_ids(contents[TOKENIZER_NAME], folder / TOKENIZER_NAME)
    if not tokens:
        raise UserError(folder / TOKENIZER_NAME, "has no token")
    return Found(contents, 1 + max(tokens.values()), _end(folder, contents, settings, tokens))


def keep(found: Found, place: Path) -> None:
    """Write its files, whole or not at all; what an interrupted import has left there gives way."""
    files.remove(place)
    with whole_folder(place) as beside:
        for name, content in found.contents.items():
            (beside / name).write_bytes(content)


def _end(
    folder: Path, contents: Mapping[str, bytes], settings: Mapping[str, Any], tokens: Mapping[str, int]
) -> str | None:
    """eos_token of tokenizer_config.json, else the token whose number config.json has as eos_token_id."""
    if CONFIG_NAME in contents:
        try:
            said = json.loads(contents[CONFIG_NAME]).get("eos_token")
        except (ValueError, AttributeError, RecursionError) as error:
            raise UserError(folder / CONFIG_NAME, f"is not a JSON object: {error}") from None
        if token_of(said):
            return token_of(said)
    number = settings.get("eos_token_id")
    number = number[0] if isinstance(number, list) and number else number
    return next((token for token, one in tokens.items() if one == number), None)


def _for_hydra(text: str) -> str:
    """A value as an override writes it: in quotes where Hydra's grammar would take its signs for its own."""
    if all(sign.isalnum() or sign in "<|>_-/.[]" for sign in text) and not text.startswith("["):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
