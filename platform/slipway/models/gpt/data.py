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
