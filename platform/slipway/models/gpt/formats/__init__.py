"""The formats in which a GPT is exported and imported: `hf`, a folder of transformers. Imports no torch."""

from slipway.models.formats import FolderFormat
from slipway.models.gpt.formats.huggingface import HuggingFace

FORMATS: dict[str, FolderFormat] = {"hf": HuggingFace()}
