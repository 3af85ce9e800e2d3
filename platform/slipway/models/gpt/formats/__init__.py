"""What a GPT is handed over in, and taken from: `hf`, a folder of transformers'. Imports no torch."""

from slipway.models.formats import FolderFormat
from slipway.models.gpt.formats.huggingface import HuggingFace

FORMATS: dict[str, FolderFormat] = {"hf": HuggingFace()}
