"""Reading prepared data in training, by Megatron-core's GPTDataset and blending builder. Imports torch."""

import hashlib
import json
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

from slipway.config.schema import RunConfig
from slipway.data import manifest
from slipway.data.manifest import Manifest
from slipway.data.split import check_split

FIELDS = ("tokens", "labels", "loss_mask", "position_ids")


class Samples(torch.utils.data.Dataset):
    """Samples of FIELDS, each [sequence_length]: tokens and labels int64, loss_mask float32."""

    def __init__(self, dataset: torch.utils.data.Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        # of a blend, a sample also says which source it is from
        sample = self.dataset[index]
        return {name: sample[name] for name in FIELDS}


class TokenizerFacts:
    """What GPTDataset asks of a tokenizer. Nothing is padded: no token may be taken for padding."""

    pad = -1

    def __init__(self, found: Manifest) -> None:
        self.vocab_size = found.vocab_size
        self.eod = found.end_of_document_id
        self.unique_identifiers = OrderedDict(sha256=found.tokenizer.file.sha256)


def build_datasets(
    config: RunConfig, sizes: tuple[int, int, int], is_built_on_rank: Callable[[], bool]
) -> tuple[Samples | None, Samples | None, Samples | None]:
    """Training, validation and test samples, at least `sizes` many; None where 0 or not built on this rank.

    A collective: every rank calls it, with the same sizes; process groups exist (with one source, one process
    also does without). Rank 0 builds the indices, the others read them. Raises UserError when the data is not
    prepared, or too small for the split.
    """
    data = config.data
    found = manifest.load(data)
    check_split(data, found, (sizes[0] > 0, sizes[1] > 0, sizes[2] > 0))
    prefixes = [manifest.prefix(data, name) for name in data.sources]
    weights = [source.weight for source in data.sources.values()] if len(prefixes) > 1 else None
    key = _key(config, sizes, found)
    folder, complete = _agree(lambda: _choose_folder(_cache_folder(config) / key))
    settings = GPTDatasetConfig(
        random_seed=config.training.seed,
        sequence_length=config.training.sequence_length,
        blend=(prefixes, weights),
        split=",".join(np.format_float_positional(share) for share in data.split),
        path_to_cache=str(folder),
        mmap_bin_files=True,
        tokenizer=TokenizerFacts(found),  # type: ignore[arg-type]
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )
    # An empty split would make it count epochs for ever.
    assert settings.split_matrix is not None
    pairs = zip(settings.split_matrix, sizes, strict=True)
    settings.split_matrix = [share if size > 0 else None for share, size in pairs]  # type: ignore[assignment]
    built = BlendedMegatronDatasetBuilder(GPTDataset, list(sizes), is_built_on_rank, settings).build()
    if not complete:
        _keep(folder, _cache_folder(config) / key)
    train, valid, test = (None if dataset is None else Samples(dataset) for dataset in built)  # type: ignore[arg-type]
    return train, valid, test


def _key(config: RunConfig, sizes: tuple[int, int, int], found: Manifest) -> str:
    """Names the indices of one data set, by all that they depend on."""
    facts = {
        "sources": [
            [manifest.prefix(config.data, name), found.sources[name].bin.sha256, source.weight]
            for name, source in config.data.sources.items()
        ],
        "tokenizer": found.tokenizer.file.sha256,
        "split": config.data.split,
        "sequence_length": config.training.sequence_length,
        "seed": config.training.seed,
        "sizes": sizes,
        "megatron-core": version("megatron-core"),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _cache_folder(config: RunConfig) -> Path:
    """data.dir/cache; in the run's directory where data.dir belongs to someone else."""
    folder = config.data.dir
    return (folder if os.access(folder, os.W_OK | os.X_OK) else config.run.dir) / "cache"


def _choose_folder(complete: Path) -> tuple[Path, bool]:
    """Where the indices are or will be built, and whether they are there already."""
    if complete.is_dir():
        return complete, True
    # Built aside, so that what a killed run leaves half-written is never read.
    return complete.with_name(f"{complete.name}.{uuid.uuid4().hex[:8]}"), False


def _agree(choose: Callable[[], tuple[Path, bool]]) -> tuple[Path, bool]:
    """Rank 0's choice, on every rank."""
    if not torch.distributed.is_initialized():
        return choose()
    chosen = [choose() if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(chosen, src=0)
    assert chosen[0] is not None
    return chosen[0]


def _keep(folder: Path, complete: Path) -> None:
    """Give finished indices their name, once every rank has opened them; open files stay valid."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        if torch.distributed.get_rank() != 0:
            return
    try:
        os.rename(folder, complete)
    except OSError:
        # Another run was first. This run's ranks still read theirs.
        return
