"""Samples: which of them the whole run draws in which order, and the kinds of data that they come from.

A kind is a package with two modules and a line in slipway.registry (or an entry point of slipway.data_kinds):

config the pydantic section `Config` of conf/data/*.yaml, with the literal field `kind` kind KIND (see
slipway.data.kind)
"""

from slipway.config.schema import RunConfig
from slipway.data import files
from slipway.data.kind import DataKind
from slipway.data.ledger import DataLedger
from slipway.registry import DATA_KINDS


def kind_of(config: RunConfig) -> DataKind:
    """Return the kind of data that is configured."""
    return DATA_KINDS.part(config.data.kind, "kind").KIND


def find_position(config: RunConfig, earlier: DataLedger | None, verify: bool) -> DataLedger:
    """Return the position at which the run starts: a checkpoint's, with today's blend, or the beginning.

    verify: compare the checksums of files whose size or time has changed since the checkpoint was written. Raises
    UserError if the samples would not be those that the run began with.
    """
    kind, weights, seed = kind_of(config), config.data.weights, config.training.seed
    facts = {name: dict(kind.facts(config, name)) for name in weights}
    prepared = {name: kind.files(config, name) for name in weights}
    signatures = {name: files.signature(prepared[name]) for name in weights}
    if earlier is None:
        return DataLedger.begin(seed, weights, facts, signatures)
    data = earlier.resume(seed, weights, facts, signatures)
    if verify:
        for name in weights:
            files.verify(name, prepared[name], earlier.signatures.get(name), signatures[name])
    return data
