"""The pure half."""

from slipway.optimizers.kind import State


class NovoGrad:
    states = (State("momentum"), State("second", "scalar"))
    backends = frozenset[str]()


ALGORITHM = NovoGrad()
