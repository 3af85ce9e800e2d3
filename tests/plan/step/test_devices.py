import json
from pathlib import Path

import pytest
import yaml

from presets import large
from refusals import refused
from slipway.config.compose import compose, conf_dir
from slipway.plan.plan import make_plan
from slipway.plan.step.devices import hardware_of, known


def profiles() -> list[str]:
    return sorted(file.stem for file in (conf_dir() / "cluster").glob("*.yaml"))


@pytest.mark.parametrize("cluster", profiles())
def test_every_profile_names_a_device_that_is_known_or_none(cluster: str) -> None:
    config = compose([*large("gpt3_125m", 1, cluster)])
    hardware = hardware_of(config)
    if config.cluster.device.name in ("GPU", "CPU"):
        assert hardware is None
        return
    assert hardware is not None and hardware.device == config.cluster.device.name
    for precision in ("bf16", "fp32"):  # a profile and the file say the same
        stated = config.cluster.device.peak_tflops(precision)
        assert stated == known().devices[hardware.device].peak_tflops[precision]
    if config.cluster.network.inter_node_gb_per_s:
        assert hardware.between.gb_per_s == config.cluster.network.inter_node_gb_per_s


def test_rates_links_and_fabrics_that_are_named_are_there() -> None:
    devices = known()
    for facts in devices.devices.values():
        assert facts.rates in devices.rates and facts.link in devices.links
    assert {facts.rates for facts in devices.devices.values()} == set(devices.rates)


def test_an_unknown_device_is_refused_with_the_nearest_name() -> None:
    config = compose([*large("gpt3_125m"), "cluster.device.name=NVIDIA-H200X"])
    with refused("cluster.device.name", value="NVIDIA-H200X", use="NVIDIA-H200"):
        make_plan(config)
    override = compose([*large("gpt3_125m"), "cluster.device.name=mine", "cluster.expected_mfu=0.3"])
    assert make_plan(override).time.seconds_per_step


def test_measured_constants_take_the_profiles_place(tmp_path: Path) -> None:
    words = large("gpt3_125m")
    hardware = hardware_of(compose(words))
    assert hardware is not None
    slower = hardware.model_copy(update={"peak_tflops": hardware.peak_tflops / 4, "device": "mine"})
    for name, text in (
        ("measured.json", slower.model_dump_json()),
        ("measured.yaml", yaml.safe_dump(json.loads(slower.model_dump_json()))),
    ):
        (tmp_path / name).write_text(text)
        measured = compose([*words, f"cluster.device.measured={tmp_path / name}"])
        assert hardware_of(measured) == slower
        plan = make_plan(measured)
        assert plan.time.seconds_per_step and "measured" in plan.time.assumption
        assert plan.time.seconds_per_step > 2 * (make_plan(compose(words)).time.seconds_per_step or 0)


@pytest.mark.parametrize("text", ["{", "a: 1", "[1]", ""])
def test_a_file_of_constants_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "measured.yaml"
    path.write_text(text)
    with refused(path):
        hardware_of(compose([*large("gpt3_125m"), f"cluster.device.measured={path}"]))
    with refused(tmp_path / "none"):
        hardware_of(compose([*large("gpt3_125m"), f"cluster.device.measured={tmp_path / 'none'}"]))


def test_nvlink_over_several_nodes() -> None:
    hardware = hardware_of(
        compose(
            [
                *large("llama3_8b", 2, "slurm"),
                "cluster.device.name=NVIDIA-GB200",
                "resources.devices_per_node=4",
            ]
        )
    )
    assert hardware is not None and hardware.inside_devices == 72
