"""What needs the internet is refused for nodes that have none, before the queue."""

import pytest

from refusals import refused
from slipway.cli import main
from slipway.config.compose import compose
from slipway.launch.checks import check_offline
from slipway.launch.placement import place

SLURM = ["cluster=slurm", "cluster.internet=false"]


def check(*words: str) -> None:
    config = compose(words)
    placement = place(config)
    check_offline(config, placement.image, placement.scheduler)


@pytest.mark.parametrize(
    ("word", "use"),
    [
        *(
            (f"launch.image='{scheme}://host/a'", "launch.image=slipway.sif")
            for scheme in ("docker", "oras", "library", "https")
        ),
        ("cluster.container.image='docker://host/a'", "launch.image=slipway.sif"),
        ("+cluster.environment.WANDB_MODE=online", "`slipway runs sync`"),
        ("+cluster.environment.HF_HUB_OFFLINE='0'", ()),
        ("data.dir='s3://bucket/data'", ()),
        ("data.tokenizer.path='https://host/tokenizer.json'", ()),
    ],
)
def test_refused_where_there_is_none(word: str, use: object) -> None:
    with refused(word.strip("+").partition("=")[0], use=use):
        check(*SLURM, word)
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
