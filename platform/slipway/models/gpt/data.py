"""What this family trains on, before torch: prepared text whose vocabulary fits the model."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError


def make_ready(config: RunConfig, prepare: bool) -> None:
    """Check that the data is prepared and fits the model; prepare: do what is missing. Raises UserError."""
    from slipway.data import manifest
    from slipway.data import prepare as prepare_data

    found = prepare_data(config.data, progress=True) if prepare else manifest.load(config.data)
    if found.vocab_size > config.model.vocab_size:
        raise UserError(
            f"model.vocab_size: {config.model.vocab_size} is below the tokenizer's {found.vocab_size} entries "
            f"({config.data.dir}); allowed: at least {found.vocab_size}"
        )
    for name, source in found.sources.items():
        _check_split(config, name, source.documents, source.tokens)


def _check_split(config: RunConfig, name: str, documents: int, tokens: int) -> None:
    """Every split that is used needs a document, and training at least one sample."""
    split = config.data.split
    training, validation = (share / sum(split) for share in split[:2])
    length = config.training.sequence_length
    if tokens * training < length + 1:
        raise UserError(
            f"data.sources.{name}: {tokens} tokens x training share {training:.3g} = {tokens * training:.0f}, "
            f"below training.sequence_length {length} + 1; allowed: a longer text or a shorter sequence"
        )
    if config.validation.steps and round(documents * validation) < 1:
        raise UserError(
            f"data.split: {documents} documents of source {name} x validation share {validation:.3g} leave none; "
            f"allowed: a share of at least {1 / documents:.3g}, more documents, or validation.steps=0"
        )
