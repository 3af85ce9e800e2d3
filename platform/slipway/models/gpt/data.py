"""What this family trains on, before torch: prepared text whose vocabulary fits the model."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError


def make_ready(config: RunConfig, prepare: bool) -> None:
    """Check that the data is prepared and fits the model; prepare: do what is missing. Raises UserError."""
    from slipway.data import manifest
    from slipway.data import prepare as prepare_data
    from slipway.data.split import check_split

    found = prepare_data(config.data, progress=True) if prepare else manifest.load(config.data)
    if found.vocab_size > config.model.vocab_size:
        raise UserError(
            f"model.vocab_size: {config.model.vocab_size} is below the tokenizer's {found.vocab_size} entries "
            f"({config.data.dir}); allowed: at least {found.vocab_size}"
        )
    wants_validation = config.validation.steps > 0
    check_split(config.data, found, (True, wants_validation, False))
    for name, source in found.sources.items():
        _check_length(config, name, source.tokens)


def _check_length(config: RunConfig, name: str, tokens: int) -> None:
    """Training needs at least one sample of every source."""
    split = config.data.split
    share = split[0] / sum(split)
    length = config.training.sequence_length
    if tokens * share < length + 1:
        raise UserError(
            f"data.sources.{name}: {tokens} tokens x training share {share:.3g} = {tokens * share:.0f}, below "
            f"training.sequence_length {length} + 1; allowed: a longer text or a shorter sequence"
        )
