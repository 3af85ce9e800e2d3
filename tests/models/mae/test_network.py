"""What a masked auto-encoder reads, hands on and refuses."""

import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.data.randomness import SEED_FIELD
from slipway.models.mae.network import NETWORK
from slipway.models.network import Stage
from slipway.plan import make_plan
from training import layout

SIZES = ["model=earth_demo", "model.image_size=64", "model.patch_size=8", "model.num_frames=4"]
SIZES += ["model.hidden_size=128", "model.mask_ratio=0.75"]
SEEN = {"pixels", "mean", "std", SEED_FIELD}


def config(*words: str) -> RunConfig:
    return compose([*SIZES, *words])


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [("", set()), ("time", {"dates"}), ("location", {"location"}), ("time,location", {"dates", "location"})],
)
def test_the_first_and_the_last_stage_read_the_same_and_those_between_them_nothing(
    metadata: str, fields: set[str]
) -> None:
    run = config(f"model.metadata=[{metadata}]")
    first, between, last = (NETWORK.reads(run, Stage(index, 3)) for index in range(3))
    assert first == last == SEEN | fields
    assert between == set()
    assert NETWORK.reads(run, Stage(0, 2, chunk=1, chunks=2)) == set()


@pytest.mark.parametrize(
    ("words", "length"),
    [
        ([], 65),
        (layout(ranks=2, tp=2), 65),
        (layout(ranks=2, tp=2, sp=True), 66),
        (["model.mask_ratio=0.5"], 129),
    ],
)
def test_stages_hand_on_the_class_token_and_visible_patches(words: list[str], length: int) -> None:
    assert NETWORK.boundary(config(*words)) == (length, 128)


def test_what_metadata_cannot_be_is_refused() -> None:
    with refused("model.metadata", value="[time,time]", use="[time]"):
        make_plan(config("model.metadata=[time,time]"))
    with refused("model.patch_frames", value=2, use="1"):
        make_plan(config("model.metadata=[location,time]", "model.patch_frames=2"))
    make_plan(config("model.metadata=[location]", "model.patch_frames=2"))
    with refused("model.metadata_drop", value=0.1, use="0"):
        make_plan(config("model.metadata=[]", "model.metadata_drop=0.1"))
    make_plan(config("model.metadata=[]", "model.metadata_drop=0"))
