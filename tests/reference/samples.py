"""Short documents and the samples of every step, for what is trained beside the trainer from the same data."""

import json
import random
from pathlib import Path

import torch
from torch import Tensor

from slipway.config.compose import compose
from slipway.data.ledger import DataLedger
from slipway.data.text.dataset import open_dataset


def short_documents(folder: Path) -> list[str]:
    """Overrides for short documents: samples differ in how many of their tokens count."""
    rng = random.Random(7)
    texts = ["".join(rng.choices("abcdefgh \n", k=rng.randint(1, 60))) for _ in range(400)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return [
        "data=files",
        f"data.sources.files.inputs=[{folder / 'texts.jsonl'}]",
        "data.tokenizer.kind=byte",
        f"data.dir={folder / 'prepared'}",
        "data.split=[1,0,0]",
        "data.eod_mask_loss=true",
    ]


def batches(overrides: list[str], steps: int) -> list[dict[str, Tensor]]:
    """Every step's samples, in the order in which a run draws them: tokens, labels and loss_mask, [samples, length].

    Where documents are kept apart also document_starts.
    """
    config = compose(overrides)
    size = config.training.global_batch_size
    drawn = DataLedger.begin(config.training.seed, {"files": 1.0}, {}).draw(size * steps)
    dataset = open_dataset(config, "training")
    samples = [dataset[draw] for draw in drawn]
    dataset.close()
    fields = [name for name in ("tokens", "labels", "loss_mask", "document_starts") if name in samples[0]]
    return [
        {name: torch.stack([sample[name] for sample in samples[start : start + size]]) for name in fields}
        for start in range(0, len(samples), size)
    ]
