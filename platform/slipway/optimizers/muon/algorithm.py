"""Muon: one momentum of each hidden matrix, and AdamW's two moments of every other parameter."""

from slipway.optimizers.kind import Algorithm, State


class Muon:
    """The pure half of Muon: see slipway.optimizers.kind.Algorithm."""

    states = (
        State("momentum_buffer", of="matrices"),
        State("exp_avg", of="others"),
        State("exp_avg_sq", of="others"),
    )
    backends = frozenset[str]()


ALGORITHM: Algorithm = Muon()
