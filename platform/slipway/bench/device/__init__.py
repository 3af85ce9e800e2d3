"""`slipway bench device`: measures a device, its links and its host, as the constants of the model of a step."""

from slipway.bench.device.command import run

__all__ = ["run"]
