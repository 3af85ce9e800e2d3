"""vLLM's greedy text of an exported folder against `slipway generate`'s; run by hand in an environment with vLLM.

    slipway generate run.dir=RUN --tokens 20 --json TEXT ... > said.jsonl
    slipway export hf run.dir=RUN to=FOLDER
    VLLM_PYTHON tests/serve_with_vllm.py FOLDER said.jsonl

docs/generate.md says which versions have been tried. On a CPU vLLM needs heads of 32 or more.
"""

import json
import os
import sys
from pathlib import Path

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def main(folder: str, said: Path) -> int:
    """Compare; returns the exit code."""
    import vllm  # type: ignore[import-not-found] # an environment of its own has it

    texts = [json.loads(line) for line in said.read_text().splitlines()]
    model = vllm.LLM(folder, dtype="float32", enforce_eager=True)
    tokens = max(len(text["tokens"]) for text in texts)
    greedy = vllm.SamplingParams(temperature=0, max_tokens=tokens)
    answers = model.generate([text["prompt"] for text in texts], greedy)
    wrong = 0
    for text, answer in zip(texts, answers, strict=True):
        theirs = list(answer.outputs[0].token_ids)[: len(text["tokens"])]
        wrong += theirs != text["tokens"]
        print(f"{text['prompt']!r}: {'the same' if theirs == text['tokens'] else theirs}")
    print(f"vllm {vllm.__version__}: {len(texts) - wrong} of {len(texts)} texts are the same")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
