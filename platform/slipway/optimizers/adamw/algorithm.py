"""AdamW: two moments of each parameter."""

from slipway.optimizers.kind import Algorithm, State


class AdamW:
    """The pure half of AdamW: see slipway.optimizers.kind.Algorithm."""

    states = (State("exp_avg"), State("exp_avg_sq"))
    backends = frozenset({"te", "apex", "torch"})


ALGORITHM: Algorithm = AdamW()
