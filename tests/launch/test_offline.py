"""What needs the internet is refused for nodes that have none, before the queue."""

import pytest

from slipway.cli import main
from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.launch.checks import check_offline
from slipway.launch.placement import place

SLURM = ["cluster=slurm", "cluster.internet=false"]


def check(*words: str) -> None:
    config = compose(words)
    placement = place(config)
    check_offline(config, placement.image, placement.scheduler)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(
            (f"launch.image='{scheme}://host/a'", "slipway image sif")
            for scheme in ("docker", "oras", "library", "https")
        ),
        ("cluster.container.image='docker://host/a'", "cluster.container.image: "),
        ("+cluster.environment.WANDB_MODE=online", "runs sync"),
        ("+cluster.environment.HF_HUB_OFFLINE='0'", "HF_HUB_OFFLINE"),
        ("data.dir='s3://bucket/data'", "data.dir"),
        ("data.tokenizer.path='https://host/tokenizer.json'", "data.tokenizer.path"),
    ],
)
def test_refused_where_there_is_none(word: str, expected: str) -> None:
    with pytest.raises(UserError, match="no internet") as error:
        check(*SLURM, word)
    assert expected in str(error.value)
    check("cluster=slurm", "cluster.internet=true", word)
    check("cluster=slurm", "cluster.internet=null", word)


@pytest.mark.parametrize(
    "words",
    [
        ["launch.image=a/slipway.sif"],
        ["launch.image='docker-archive:a.tar'"],
        ["+cluster.environment={WANDB_MODE: online, WANDB_BASE_URL: 'http://wandb.site:8080'}"],
        ["+cluster.environment.HF_HUB_OFFLINE='1'"],
    ],
)
def test_what_stays_on_the_machine_passes(words: list[str]) -> None:
    check(*SLURM, *words)


def test_a_cloud_may_have_a_registry_of_its_own() -> None:
    check("cluster=kubernetes", "cluster.internet=false", "launch.image=registry.local/slipway:1")


def test_that_wandb_is_kept_offline_is_said(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["launch", *SLURM, "logging=wandb"]) == 0
    assert "logging.wandb.mode: kept offline" in capsys.readouterr().err
    assert main(["launch", "cluster=slurm", "logging=wandb"]) == 0
    assert "kept offline" not in capsys.readouterr().err
