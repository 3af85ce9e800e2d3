"""What is remembered of Hydra's compositions makes the configurations that Hydra makes."""

from collections.abc import Sequence

import pytest
from omegaconf import DictConfig, OmegaConf

from generate.configuration import fields, kinds
from slipway.config.compose import _by_hydra, conf_dir
from slipway.config.composer import TAG, Composer
from slipway.config.explain import CompositionErrors
from slipway.models.gpt.fields.rotary import KINDS

Made = list[tuple[str, ...]]

TAKEN = {
    "nothing": [],
    "a choice": ["experiment=demo"],
    "values, one of them twice": ["experiment=demo", "training.seed=5", "run.name=a", "training.seed=6"],
    "interpolations": ["data=stdlib", "run.name=${model.name}-x", "data.sequence_length=${training.seed}"],
    "keys that are added and removed": [
        "data=files",
        "+data.sources.more={inputs:[a.txt]}",
        "~logging.wandb",
    ],
    "a group that is removed": ["data=stdlib", "~kernels"],
    "a section in a group's place": ["data=stdlib", "optimizer={lr:0.5}", "optimizer.weight_decay=0"],
    "Hydra's own": ["data=stdlib", "hydra.job.chdir=true"],
}
REFUSED = {
    "an unknown key": ["experiment=demo", "training.sed=1"],
    "an unknown choice": ["model=nothing", "training.seed=1"],
    "an open choice": ["model=llama3_8b", "training.seed=1"],
    "a sweep": ["experiment=demo", "training.seed=1,2"],
    "no override": ["experiment=demo", "training.seed"],
    "a key that is there": ["experiment=demo", "+training.seed=1"],
}


@pytest.fixture(scope="module")
def made() -> Made:
    return []


@pytest.fixture(scope="module")
def composer(made: Made) -> Composer:
    def by_hydra(words: Sequence[str]) -> DictConfig:
        made.append(tuple(words))
        return _by_hydra(conf_dir(), words)

    return Composer([conf_dir()], by_hydra)


@pytest.mark.parametrize("name", TAKEN)
def test_the_same_as_hydras(composer: Composer, name: str) -> None:
    expected = _by_hydra(conf_dir(), TAKEN[name])
    for _ in range(2):
        found = composer.compose(TAKEN[name])
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
        assert OmegaConf.is_struct(found) and OmegaConf.is_struct(expected)
        found.training.seed = 77  # a copy: the next one does not have it


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_by_hydra(composer: Composer, name: str) -> None:
    for _ in range(2):
        with pytest.raises(CompositionErrors()) as found:
            composer.compose(REFUSED[name])
        with pytest.raises(CompositionErrors()) as expected:
            _by_hydra(conf_dir(), REFUSED[name])
        assert (type(found.value), str(found.value)) == (type(expected.value), str(expected.value))


def test_files_are_read_once_for_each_set_of_choices(composer: Composer, made: Made) -> None:
    composer.compose(["data=bytes", "cluster=lumi_g", "training.seed=1"])
    made.clear()
    for seed in (2, 3):
        assert (
            composer.compose([f"training.seed={seed}", "data=bytes", "cluster=lumi_g"]).training.seed == seed
        )
    assert made == []
    composer.compose(["data=bytes", "cluster=leonardo_booster"])
    assert made == [("data=bytes", "cluster=leonardo_booster")]


def test_a_section_of_another_kind_takes_the_place_of_the_one_that_is_there(composer: Composer) -> None:
    preset = ["model=llama3_2_1b", "data=any_text"]
    before = composer.compose(preset).model.rope_scaling
    assert before.type == "llama3" and "low_freq_factor" in before
    other = composer.compose([*preset, "model.rope_scaling={type:yarn,factor:4}"]).model.rope_scaling
    assert other == {"type": "yarn", "factor": 4}
    same = composer.compose([*preset, "model.rope_scaling={type:llama3,factor:4}"]).model.rope_scaling
    assert same == {**before, "factor": 4}


def test_sections_of_one_kind_are_merged_as_hydra_does(composer: Composer) -> None:
    """Whatever one of their fields is called: of a device `kind` says no more than where it computes."""
    before = composer.compose(["cluster=local"]).cluster.device
    assert composer.compose(["cluster=local", "cluster.device={kind:cuda}"]).cluster.device == {
        **before,
        "kind": "cuda",
    }


def test_the_tag_is_no_field_of_anything_else() -> None:
    named = {cls for name, section in kinds() for _, field, _, cls in fields(section, name) if field == TAG}
    assert named == set(KINDS.values())
