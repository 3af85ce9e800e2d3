"""transformers' greedy text of exported folders, and its sampling's distributions, in a process of its own.

Reads {folder, prompts, tokens, logits, samplings} as JSON from standard input; prints {texts, distributions} as JSON.
"""

import json
import sys
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.logits_process import (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


def texts(folder: str, prompts: list[str], tokens: int) -> list[dict[str, Any]]:
    """Tokens and text after each prompt; a text ends with the end mark, which is left out."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for prompt in prompts:
        read = torch.tensor([tokenizer(prompt)["input_ids"]])
        said = model.generate(read, max_new_tokens=tokens, do_sample=False)[0, read.shape[1] :].tolist()
        said = said[: said.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in said else said
        found.append({"tokens": said, "text": tokenizer.decode(said)})
    return found


def distribution(logits: list[float], temperature: float, top_p: float, top_k: int | None) -> list[float]:
    """In fp64."""
    no_tokens: Any = None  # which these warpers do not read
    scores = TemperatureLogitsWarper(temperature)(no_tokens, torch.tensor([logits], dtype=torch.float64))
    if top_k is not None:
        scores = TopKLogitsWarper(top_k)(no_tokens, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(no_tokens, scores)
    return scores.softmax(-1)[0].tolist()


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answer = {
        "texts": texts(asked["folder"], asked["prompts"], asked["tokens"]),
        "distributions": [distribution(asked["logits"], *sampling) for sampling in asked["samplings"]],
    }
    print(json.dumps(answer))
