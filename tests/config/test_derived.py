"""What null becomes."""

import pytest

from refusals import refused
from slipway.config.compose import compose


def test_devices_are_those_of_the_clusters_nodes() -> None:
    assert compose(["cluster=juwels_booster"]).resources.devices_per_node == 4
    assert compose(["cluster=lumi_g", "resources.devices_per_node=2"]).resources.devices_per_node == 2
    assert compose().resources.devices_per_node == 1


@pytest.mark.parametrize(
    ("overrides", "batch"),
    [
        ([], 16),
        (["cluster=lumi_g", "resources.nodes=1"], 16),
        (["cluster=lumi_g", "resources.nodes=5"], 80),
        (["cluster=lumi_g", "resources.nodes=5", "training.micro_batch_size=1"], 40),
        (["cluster=lumi_g", "resources.nodes=4", "parallelism.tensor_model_parallel_size=4"], 16),
        (["cluster=lumi_g", "resources.nodes=5", "training.global_batch_size=8"], 8),
    ],
)
def test_a_batch_has_a_microbatch_for_each_replica(overrides: list[str], batch: int) -> None:
    assert compose(overrides).training.global_batch_size == batch


def test_wrong_types_are_still_told_where_they_are() -> None:
    with refused("training.micro_batch_size", value="'many'"):
        compose(["training.micro_batch_size=many"])
    with refused("resources", value="3"):
        compose(["resources=3"])


def test_an_account_of_digits_is_a_word() -> None:
    assert compose(["launch.account=12345"]).launch.account == "12345"
    for word in ("1e5", "true", "a b", "'x;y'"):
        with refused("launch.account"):
            compose([f"launch.account={word}"])
