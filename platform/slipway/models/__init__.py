"""Model families. A family is one package here and one line in FAMILIES.

Its parts, each imported only where it is needed:

config       the pydantic model of conf/model/*.yaml, with the literal field `family`
counts       pure Python: num_layers, tokens_per_sample, parameters, stage_parameters, flops_per_sample
activations  pure Python: layer_bytes, first_stage_bytes, last_stage_bytes
rules        pure Python: check(config) raises UserError for what this family cannot do
data         pure Python: make_ready(config, prepare) sees to it that what it trains on is there
model        torch: how stages are built, which of them read samples, what a batch is, its loss
"""

from importlib import import_module
from types import ModuleType

from slipway.errors import UserError

FAMILIES = {"gpt": "slipway.models.gpt"}


def part(family: str, name: str) -> ModuleType:
    """The module `name` (see above) of a family."""
    if family not in FAMILIES:
        raise UserError("model.family", "is unknown", value=family, use=", ".join(sorted(FAMILIES)))
    return import_module(f"{FAMILIES[family]}.{name}")
