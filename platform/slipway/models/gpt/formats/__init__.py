"""How Hugging Face names and orders what a GPT consists of."""

from slipway.models.formats import FolderFormat
from slipway.models.gpt.formats.llama import Llama

FORMATS: dict[str, FolderFormat] = {"hf": Llama()}
