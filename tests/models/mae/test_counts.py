"""Parameters of the presets against those of terratorch 1.2.11's models of the same names, counted there."""

import pytest

from presets import preset
from slipway.config.compose import compose
from slipway.models.mae import counts
from slipway.models.mae.config import mae_of
from slipway.models.transformer.counts import layer, norm
from slipway.plan import make_plan

TERRATORCH = {  # prithvi_eo_v2_*: the encoder alone, and with its decoder (prithvi_eo_v2_*_mae)
    "prithvi_eo2_300m": (303_886_336, 330_419_712),
    "prithvi_eo2_300m_tl": (303_886_338, 330_419_716),
    "prithvi_eo2_600m": (631_188_480, 657_668_248),
    "prithvi_eo2_600m_tl": (631_188_482, 657_668_252),
}


@pytest.mark.parametrize("name", TERRATORCH)
def test_terratorchs_totals(name: str) -> None:
    config = compose([*preset(name), "parallelism=single"])
    model = mae_of(config)
    stack = model.num_layers * layer(model.encoder_block).total + norm(model.encoder_block)
    assert (counts.embedding(model).total + stack, make_plan(config).parameters) == TERRATORCH[name]


def test_tensor_parallel_ranks_share_the_layers_and_nothing_else() -> None:
    model = mae_of(compose([*preset("prithvi_eo2_300m_tl"), "parallelism=single"]))
    hidden, decoder = 1024, 512
    shared = sum(number * (12 * width**2 + 7 * width) for number, width in ((24, hidden), (8, decoder)))
    whole = counts.embedding(model).total + counts.head(model).total + 24 * layer(model.encoder_block).total
    cut = (
        counts.embedding(model).total + counts.head(model, 4).total + 24 * layer(model.encoder_block, 4).total
    )
    assert whole - cut == shared * 3 // 4
