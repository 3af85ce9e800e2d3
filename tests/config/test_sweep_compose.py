"""Sweeps that are composed at once are those that Hydra composes one by one."""

from pathlib import Path

import pytest

from refusals import refused
from slipway.config import hydra_app
from slipway.config.schema import RunConfig
from slipway.config.sweep_compose import compose_sweep

MIXED = {
    "choices, values, lists, one key twice": [
        "cluster=juwels_booster,lumi_g",
        "optimizer=adamw_wsd",
        "optimizer.lr_wsd_decay_steps=1",
        "training.steps=range(20,22)",
        "data.split=[0.5,0.25,0.25]",
        "training.seed=5",
        "training.seed=6",
        "run.name=base",
    ],
    "experiments, interpolations, quotes": [
        "experiment=demo,llama3_8b",
        "data=stdlib",
        "data.allow_large_models=true",
        "model.max_position_embeddings=choice(256,512)",
        "data.sequence_length=${model.max_position_embeddings}",
        "training.global_batch_size=64",
        "training.micro_batch_size=1",
        "data.name='a b',\"c,d\"",
    ],
    "sections as values": [
        "logging.wandb={mode:offline},{project:other}",
        "+data.sources.more={inputs:[a.txt]}",
        "checkpoint.keep_last=null,2",
    ],
    "deletion": ["~logging.wandb", "training.seed=1,2"],
}


@pytest.mark.parametrize("name", MIXED)
def test_the_same_as_hydras_own(name: str) -> None:
    one_by_one: list[RunConfig] = []
    assert hydra_app.run(["-m", *MIXED[name]], lambda config: one_by_one.append(config) or 0) == 0
    assert compose_sweep(MIXED[name]) == one_by_one
    assert len(one_by_one) > 1


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("defaults: [adamw]\nlr: 0.5\n")
    rates = [config.optimizer.lr for config in compose_sweep(["optimizer=mine,adamw"], str(tmp_path))]
    assert rates[0] == 0.5 != rates[1]


def test_the_job_with_a_mistake_is_named() -> None:
    with refused("job 1 (training.seed=x): training.seed", value="'x'"):
        compose_sweep(["training.seed=1,x"])
    with refused("optimizer.lr=interval(0,1)"):
        compose_sweep(["optimizer.lr=interval(0,1)"])
