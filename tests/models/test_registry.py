import pytest

from refusals import refused
from slipway.models import FAMILIES, part


@pytest.mark.parametrize("family", FAMILIES)
def test_pure_parts_of_each_family(family: str) -> None:
    assert all(
        callable(getattr(part(family, "counts"), name))
        for name in ("parameters", "stage_parameters", "flops_per_sample", "tokens_per_sample", "num_layers")
    )
    assert all(
        callable(getattr(part(family, "activations"), name))
        for name in ("layer_bytes", "first_stage_bytes", "last_stage_bytes")
    )
    assert callable(part(family, "rules").check)


def test_unknown_family() -> None:
    with refused("model.family", value="vit"):
        part("vit", "counts")
