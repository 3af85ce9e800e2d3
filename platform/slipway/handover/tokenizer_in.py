"""The tokenizer of an imported folder, and the files of it that are kept in run.dir/tokenizer. Imports no torch."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from slipway import files
from slipway.data.text.manifest import TOKENIZER_NAME
from slipway.data.text.vocabulary import SETTINGS_NAME, Vocabulary
from slipway.errors import UserError
from slipway.handover import folder as folders
from slipway.handover.tokenizer_out import KEPT
from slipway.handover.whole_folder import whole_folder


class Found(NamedTuple):
    """The tokenizer of an imported folder."""

    contents: dict[str, bytes]
    """The files' contents by their names."""
    entries: int
    """One more than the largest token."""
    end: str | None
    """The token that ends a text; None if the folder names none."""

    def words(self, kept: Path) -> str:
        """Return the overrides with which `slipway data` uses the tokenizer. kept: the folder of its files."""
        words = ["data.tokenizer.kind=file", f"data.tokenizer.path={_for_hydra(str(kept / TOKENIZER_NAME))}"]
        if self.end:
            words.append(f"data.tokenizer.end_of_document={_for_hydra(self.end)}")
        return " ".join(map(shlex.quote, words))


def found(folder: Path, settings: Mapping[str, Any]) -> Found:
    """Return the tokenizer in a folder. settings: the content of its config.json.

    Raises UserError if there is none, or it has no tokens.
    """
    if not (folder / TOKENIZER_NAME).exists() and not (folder / TOKENIZER_NAME).is_symlink():
        raise UserError(
            folder / TOKENIZER_NAME,
            "is missing: the model could not read text",
            do="write it with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    contents = {}
    for name in KEPT:
        if (folder / name).exists() or (folder / name).is_symlink():
            contents[name] = folders.text(folders.inside(folder, name))
    path = folder / TOKENIZER_NAME
    try:
        vocabulary = Vocabulary(path, contents[TOKENIZER_NAME].decode(), None, None)
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not UTF-8: {error}", do="replace it with a good copy") from None
    tokenizer = vocabulary.tokenizer
    if not tokenizer.get_vocab_size():
        raise UserError(path, "has no tokens", do="use the tokenizer that the model was trained with")
    return Found(contents, vocabulary.entries, _end(folder, contents, settings, tokenizer))


def keep(found: Found, place: Path) -> None:
    """Write the tokenizer's files, whole or not at all, in place of what an interrupted import left there."""
    files.remove(place)
    with whole_folder(place) as beside:
        for name, content in found.contents.items():
            (beside / name).write_bytes(content)


def _end(
    folder: Path, contents: Mapping[str, bytes], settings: Mapping[str, Any], tokenizer: Any
) -> str | None:
    """Return eos_token of tokenizer_config.json, else the token with the number eos_token_id of config.json.

    None if neither names a token of the tokenizer.
    """
    if SETTINGS_NAME in contents:
        said = folders.read_json(folder, SETTINGS_NAME).get("eos_token")
        said = said.get("content") if isinstance(said, dict) else said
        if isinstance(said, str) and tokenizer.token_to_id(said) is not None:
            return said
    number = settings.get("eos_token_id")
    number = number[0] if isinstance(number, list) and number else number
    return tokenizer.id_to_token(number) if type(number) is int and number >= 0 else None


def _for_hydra(text: str) -> str:
    """Return a value as an override writes it: in quotes if Hydra's grammar has a use for one of its characters."""
    if re.fullmatch(r"[A-Za-z0-9_./-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
