"""Random tokens to measure with: samples of the GPT family, the one that the benchmarks know."""

from typing import Any

from slipway.config.schema import RunConfig

DOCUMENTS = 4  # of one sample, of equal length
END = 0


def random_batch(config: RunConfig, device: Any = "cpu") -> dict[str, Any]:
    """A microbatch of random tokens, with the fields of the GPT family's batches, on the device."""
    import torch

    from slipway.data.collate import collate
    from slipway.data.text.config import text_of
    from slipway.data.text.dataset import Dataset
    from slipway.models.gpt.config import gpt_of

    training, data = config.training, text_of(config)
    length = data.sequence_length
    shape = (training.micro_batch_size, length + 1)
    generator = torch.Generator().manual_seed(training.seed)
    texts = torch.randint(END + 1, gpt_of(config).vocab_size, shape, generator=generator)
    stride = max(1, length // DOCUMENTS)
    texts[:, stride - 1 :: stride] = END
    dataset = Dataset({}, length, data, END)
    batch = collate([dataset.sample(text) for text in texts])
    return {name: x if name in dataset.on_host else x.to(device) for name, x in batch.items()}
