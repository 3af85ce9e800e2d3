"""Text to Megatron's indexed data, and reading it in training."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipway.config.schema import Data
    from slipway.data.text.manifest import Manifest


def prepare(data: "Data", progress: bool) -> "Manifest":
    """Prepare data.dir as `data` asks, continuing an interrupted preparation; at once where it is done."""
    from slipway.data.text.preparation import prepare as run

    return run(data, progress)
