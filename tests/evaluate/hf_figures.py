"""What the real lm-evaluation-harness gives on exported models, by its own model `hf`, and transformers on a text.

Run by itself, with the tasks' folder as the current one: the library looks for data files there. Prints JSON.
"""

import json
import os
import sys

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TQDM_DISABLE": "1",
    "DISABLE_MULTIPROC": "1",
}

import torch
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer


def strided(folder: str, texts: list[str], context: int, stride: int) -> float:
    """Nats of all texts' tokens: a forward pass for each window, its last tokens counted."""
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    total = 0.0
    for text in texts:
        tokens = [tokenizer.eos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        done, size = 0, min(context, len(tokens) - 1)
        while done < len(tokens) - 1:
            end = done + size
            window = tokens[max(0, end - context) : end + 1]
            with torch.no_grad():
                scores = model(torch.tensor([window[:-1]])).logits[0].log_softmax(-1)
            for back in range(size):
                total -= scores[-1 - back, window[len(window) - 1 - back]].item()
            done, size = end, min(stride, len(tokens) - 1 - end)
    return total


def main() -> None:
    asked = json.loads(sys.argv[1])
    manager, found = TaskManager(include_path=".", include_defaults=False), {}
    for folder in asked["folders"]:
        done = simple_evaluate(
            model="hf",
            model_args=f"pretrained={folder},dtype=float32",
            tasks=asked["tasks"],
            task_manager=manager,
            device="cpu",
            bootstrap_iters=0,
            log_samples=False,
            num_fewshot=1,
        )
        assert done is not None and "results" in done
        found[folder] = {
            "results": done["results"],
            "nats": strided(folder, asked["texts"], asked["context"], asked["stride"]),
        }
    print(json.dumps(found, default=str))


if __name__ == "__main__":
    main()
