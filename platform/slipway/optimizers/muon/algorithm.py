"""Muon: a momentum of each hidden matrix, AdamW's two moments of every other parameter."""

from slipway.optimizers.kind import Algorithm, State


class Muon:
    """See slipway.optimizers.kind.Algorithm."""

    states = (
        State("momentum_buffer", of="matrices"),
        State("exp_avg", of="others"),
        State("exp_avg_sq", of="others"),
    )
    backends = frozenset[str]()


ALGORITHM: Algorithm = Muon()
