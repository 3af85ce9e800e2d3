"""Prepared text as training samples: Megatron-core's GPTDataset over its indexed files, blended by weight."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

from slipway.config.schema import RunConfig
from slipway.data import manifest
from slipway.errors import UserError

SPLITS = ("training", "validation", "test")


@dataclass(frozen=True)
class _Vocabulary:
    """What GPTDataset asks of a tokenizer. Nothing is padded: no token may be taken for padding."""

    vocab_size: int
    eod: int
    unique_identifiers: dict[str, str]
    pad: int = -1


def build_datasets(
    config: RunConfig, sizes: tuple[int, int, int], is_built_on_rank: Callable[[], bool]
) -> tuple[Any, Any, Any]:
    """Training, validation and test samples; None where a size is 0 or this rank reads none. All ranks call it.

    A sample i is a dict of tokens, labels, position_ids (int64) and loss_mask (fp32), each [sequence_length].
    The indices (which tokens make up which sample) are built once by rank 0 and kept in run.dir/index.
    """
    data = config.data
    found = manifest.load(data)
    names = sorted(data.sources)
    options = GPTDatasetConfig(
        random_seed=config.training.seed,
        sequence_length=config.training.sequence_length,
        blend=([str(data.dir / name) for name in names], [data.sources[name].weight for name in names]),
        split=",".join(f"{share:.10g}" for share in data.split),
        path_to_cache=str(config.run.dir / "index"),
        tokenizer=_Vocabulary(  # type: ignore[arg-type]
            found.vocab_size, found.end_of_document, {"sha256": found.tokenizer_sha256}
        ),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )
    builder = BlendedMegatronDatasetBuilder(GPTDataset, list(sizes), is_built_on_rank, options)
    datasets = builder.build()
    if is_built_on_rank():
        for split, size, dataset in zip(SPLITS, sizes, datasets, strict=True):
            if size and not dataset:
                raise UserError(f"data.split: no documents of {data.dir} fall into the {split} split")
    return tuple(d if size else None for d, size in zip(datasets, sizes, strict=True))  # type: ignore[return-value]

