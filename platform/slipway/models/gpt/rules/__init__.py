"""The rules of a GPT for the sections around it; each broken rule is one line with its arithmetic."""

from slipway.config.schema import RunConfig
from slipway.kernels.fp8 import check_sizes
from slipway.models.gpt import graphs
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.fp8 import sizes
from slipway.models.gpt.rules import attention, data, experts, latent, prediction, sequence, windows
from slipway.models.transformer import recompute


def check(config: RunConfig) -> None:
    """Raise UserError for the first setting that this family does not support."""
    latent.check(config)
    windows.check(config)
    attention.check(config)
    experts.check(config)
    prediction.check(config)
    sequence.check(config)
    data.check(config)
    if config.training.fp8:
        check_sizes(config, sizes(config))
    recompute.modules(config, gpt_of(config).blocks)
    graphs.check(config)
