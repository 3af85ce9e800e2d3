import functools
import hashlib
import importlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from presets import data_preset, preset
from refusals import refused
from slipway.clusters.marks import has
from slipway.config.compose import compose, conf_dir, resolve, validate_plain
from slipway.config.schema import RunConfig
from slipway.data.text.config import text_of
from slipway.models.gpt.config import gpt_of

GROUPS = {
    folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
    for folder in conf_dir().iterdir()
    if folder.is_dir()
}


def test_the_contract_names_compose() -> None:
    config = compose(
        [
            "model=demo",
            "resources.nodes=1",
            "resources.devices_per_node=4",
            "parallelism.tensor_model_parallel_size=2",
            "parallelism.pipeline_model_parallel_size=2",
            "parallelism.virtual_pipeline_model_parallel_size=2",
            "parallelism.context_parallel_size=1",
            "parallelism.expert_model_parallel_size=1",
            "parallelism.sequence_parallel=true",
            "parallelism.use_distributed_optimizer=true",
            "training.steps=20",
            "training.global_batch_size=8",
            "training.micro_batch_size=1",
            "data.sequence_length=64",
            "training.seed=7",
            "run.name=mine",
            "run.dir=DIR",
        ]
    )
    assert config.parallelism.virtual_stages == 2
    assert (config.training.steps, config.training.seed, config.run.dir) == (20, 7, Path("DIR"))


def test_defaults() -> None:
    config = compose()
    assert (config.run.name, config.run.dir) == ("demo", Path("runs/demo"))
    assert text_of(config).sequence_length == gpt_of(config).max_position_embeddings
    assert list(config.data.sources) == ["stdlib"]
    assert compose(["run.name=other"]).run.dir == Path("runs/other")


CHOICES = [(group, choice) for group in GROUPS if group != "experiment" for choice in GROUPS[group]]


@functools.cache
def composed(group: str, choice: str) -> tuple[RunConfig, dict[str, Any]]:
    """The configuration with a choice, and the values of the files that it is made of."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    words = [f"{group}={choice}"]
    if group == "model" and choice != "demo":
        words = preset(choice)
    if group == "data":
        words = data_preset(choice)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        plain = resolve(hydra_compose("config", words))
    return validate_plain(plain), plain


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_validates_and_states_every_field(group: str, choice: str) -> None:
    """A key that a file leaves out could not be overridden without `+`."""
    assert _missing(*composed(group, choice)) == ["auto"], "which lists what is `auto` elsewhere"


def _missing(section: object, plain: object, path: str = "") -> list[str]:
    if isinstance(section, dict):
        assert isinstance(plain, dict)
        return [name for key in section for name in _missing(section[key], plain[key], f"{path}{key}.")]
    if not isinstance(section, BaseModel):
        return []
    assert isinstance(plain, dict)
    names = [f"{path}{name}" for name in type(section).model_fields if name not in plain]
    kept = [name for name in type(section).model_fields if name in plain]
    return names + [
        more for name in kept for more in _missing(getattr(section, name), plain[name], f"{path}{name}.")
    ]


@pytest.mark.parametrize("group", ["model", "cluster", "data"])
def test_names_in_files_are_the_files_names(group: str) -> None:
    for choice in GROUPS[group]:
        assert getattr(composed(group, choice)[0], group).name == choice


def test_unverified_fields_exist() -> None:
    for choice in GROUPS["cluster"]:
        cluster = composed("cluster", choice)[0].cluster
        assert [path for path in cluster.unverified if not has(cluster, path)] == [], choice


def test_additional_folder_comes_first(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tiny.yaml").write_text(
        "defaults: [demo, _self_]\nname: tiny\nnum_layers: 2\n", encoding="utf-8"
    )
    assert gpt_of(compose(["model=tiny"], config_dir=tmp_path)).num_layers == 2
    with refused("model=tiny", use="demo"):
        compose(["model=tiny"])


def test_composing_twice_is_the_same() -> None:
    first, second = (compose(["experiment=demo"]).model_dump_json() for _ in range(2))
    assert hashlib.sha256(first.encode()).digest() == hashlib.sha256(second.encode()).digest()


def test_installed_conf_is_found_before_the_checkouts(tmp_path: Path, monkeypatch) -> None:
    module = importlib.import_module("slipway.shipped")
    package = tmp_path / "slipway"
    package.mkdir()
    monkeypatch.setattr(module, "__file__", str(package / "shipped.py"))
    with refused("conf/config.yaml"):
        conf_dir()
    (package / "conf").mkdir()
    (package / "conf" / "config.yaml").write_text("{}")
    assert conf_dir() == package / "conf"


def test_schema_describes_its_numbers() -> None:
    """Sections, names and switches may speak for themselves; numbers have a unit or a meaning to state."""
    bare = []
    for name, section in RunConfig.model_fields.items():
        if (
            isinstance(section.annotation, type)
            and issubclass(section.annotation, BaseModel)
            and name != "model"
        ):
            for key, field in section.annotation.model_fields.items():
                if field.description is None and "int" in str(field.annotation) + "float" * (
                    "float" in str(field.annotation)
                ):
                    bare.append(f"{name}.{key}")
    assert bare == []
