"""AdamW: two moments of each parameter."""

from slipway.optimizers.kind import Algorithm, State


class AdamW:
    """See slipway.optimizers.kind.Algorithm."""

    states = (State("exp_avg"), State("exp_avg_sq"))


ALGORITHM: Algorithm = AdamW()
