"""Presets are sound wherever they are used: published recipes, no machine in an experiment, no text by accident."""

import functools
from pathlib import Path

import pytest
import yaml

from presets import DEMOS, NOT_PUBLISHED, ON_DEMO_DATA, data_of, large, preset
from refusals import refused
from slipway.config.compose import compose, conf_dir
from slipway.config.schema import RunConfig
from slipway.data.text.config import text_of
from slipway.errors import UserError
from slipway.optimizers.adamw.config import Config as AdamW
from slipway.plan import elastic, make_plan

MODELS = sorted(file.stem for file in (conf_dir() / "model").glob("*.yaml"))
EXPERIMENTS = sorted(file.stem for file in (conf_dir() / "experiment").glob("*.yaml"))
CLUSTERS = sorted(file.stem for file in (conf_dir() / "cluster").glob("*.yaml"))
RUNS = [
    *(f"model={name}" for name in MODELS if not name.endswith("demo") and name not in NOT_PUBLISHED),
    *(f"experiment={name}" for name in EXPERIMENTS if name not in DEMOS),
]


@functools.cache
def composed(*words: str) -> RunConfig:
    return compose(words)


# arXiv 2005.14165, table 2.1: batch in tokens, peak learning rate.
@pytest.mark.parametrize(
    ("name", "tokens", "rate"),
    [
        ("gpt3_125m", 0.5e6, 6.0e-4),
        ("gpt3_350m", 0.5e6, 3.0e-4),
        ("gpt3_760m", 0.5e6, 2.5e-4),
        ("gpt3_1_3b", 1e6, 2.0e-4),
        ("gpt3_2_7b", 1e6, 1.6e-4),
        ("gpt3_6_7b", 2e6, 1.2e-4),
        ("gpt3_13b", 2e6, 1.0e-4),
        ("gpt3_175b", 3.2e6, 0.6e-4),
    ],
)
def test_gpt3_recipes_are_the_papers(name: str, tokens: float, rate: float) -> None:
    config = composed(f"model={name}", *ON_DEMO_DATA)
    training, optimizer = config.training, config.optimizer
    batch = training.global_batch_size * text_of(config).sequence_length
    assert batch == pytest.approx(tokens, rel=0.05)
    assert training.steps * batch == pytest.approx(300e9, rel=0.001)
    assert optimizer.lr_warmup_steps * batch == pytest.approx(375e6, rel=0.01)
    assert (optimizer.lr, optimizer.min_lr) == (rate, pytest.approx(rate / 10))
    assert isinstance(optimizer, AdamW)
    assert (optimizer.beta1, optimizer.beta2, optimizer.weight_decay) == (0.9, 0.95, 0.1)
    assert (optimizer.clip_grad, optimizer.lr_decay_style) == (1.0, "cosine")


# arXiv 2407.21783, table 3 and section 3.4.1.
@pytest.mark.parametrize(
    ("name", "rate"), [("llama3_8b", 3e-4), ("llama3_70b", 1.5e-4), ("llama3_405b", 8e-5)]
)
def test_llama_recipes_are_the_papers(name: str, rate: float) -> None:
    config = composed(f"model={name}", *ON_DEMO_DATA)
    training, optimizer = config.training, config.optimizer
    assert (training.steps, optimizer.lr_warmup_steps) == (1_200_000, 8000)
    assert (optimizer.lr, optimizer.min_lr) == (rate, pytest.approx(rate / 100))
    assert (
        text_of(config).sequence_length,
        training.global_batch_size * text_of(config).sequence_length,
    ) == (
        8192,
        2**23,
    )


@pytest.mark.parametrize("name", ["300m", "300m_tl", "600m", "600m_tl"])
def test_prithvi_trains_400_epochs_of_4_2_million_samples(name: str) -> None:
    """arXiv 2412.02732; the rate is 1.5e-4 for each 256 samples (arXiv 2111.06377, table 8)."""
    config = composed(*preset(f"prithvi_eo2_{name}"))
    training, optimizer = config.training, config.optimizer
    assert training.global_batch_size == 3840
    assert training.steps * 3840 == 400 * 4_200_000
    assert optimizer.lr == pytest.approx(1.5e-4 * 3840 / 256)
    assert optimizer.lr_warmup_steps / training.steps == pytest.approx(40 / 400)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_moves_to_every_cluster_that_has_room(run: str) -> None:
    """On about 512 devices of at least 60 GB, or as many as its experts want, however many a node has."""
    config = composed(run, *data_of(run.partition("=")[2]))
    layout, moved = config.parallelism, 0
    devices = layout.tensor_model_parallel_size * layout.pipeline_model_parallel_size
    replicas = min(512 // devices, config.training.global_batch_size // config.training.micro_batch_size)
    replicas = max(replicas, layout.expert_model_parallel_size)
    for name in CLUSTERS:
        cluster = composed(f"cluster={name}").cluster
        memory, each = cluster.device.memory_gib, cluster.devices_per_node
        nodes = devices * replicas // (each or 1)
        if memory is None or memory < 60 or each is None or nodes > (cluster.nodes or nodes):
            continue
        here = elastic.on_machines(config, nodes, each).model_copy(update={"cluster": cluster})
        if devices * replicas % each == 0:
            assert make_plan(here).memory.fits, name
            moved += 1
    assert moved >= 8


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_experiment_names_a_machine(name: str) -> None:
    """Demos say how many processes they have; nothing else says where it runs."""
    plain = yaml.safe_load((conf_dir() / "experiment" / f"{name}.yaml").read_text())
    chosen = [key for choice in plain["defaults"] if isinstance(choice, dict) for key in choice]
    assert "override /cluster" not in chosen and "cluster" not in plain and "launch" not in plain
    assert plain.get("resources") == ({"devices_per_node": DEMOS[name]} if name in DEMOS else None)


@pytest.mark.parametrize("run", [*RUNS, *(f"model={name}" for name in NOT_PUBLISHED)])
def test_data_is_to_be_chosen(run: str) -> None:
    with pytest.raises(UserError) as error:
        compose([run])
    assert str(error.value).startswith("data: ")
    for choice in ("data=files", "data=stdlib", "data=bytes"):
        assert choice in str(error.value)


def test_only_demos_have_data_without_being_asked() -> None:
    assert composed().data.name == composed("experiment=demo").data.name == "stdlib"
    assert compose(["data=bytes"]).data.name == "bytes"


@pytest.mark.parametrize("data", ["stdlib", "bytes"])
def test_a_large_model_takes_the_demos_data_only_where_this_is_said(data: str) -> None:
    words = ["model=gpt3_125m", f"data={data}"]
    with pytest.raises(UserError) as error:
        make_plan(compose(words))
    for part in (f"data: {data}", "gpt3_125m", "data.allow_large_models=true", "data=files"):
        assert part in str(error.value)
    assert make_plan(compose([*words, "data.allow_large_models=true"])).config.data.name == data


def test_how_large_is_large_follows_from_numbers() -> None:
    """More than ten parameters for each token."""
    config = composed()
    parameters = make_plan(config).parameters
    for tokens, is_refused in ((-(-parameters // 10), False), (parameters // 10 - 1, True)):
        data = config.data.model_copy(update={"demo_units": tokens})
        changed = config.model_copy(update={"data": data})
        if is_refused:
            with refused("data", f"{parameters:,}"):
                make_plan(changed)
        else:
            make_plan(changed)


def test_what_is_said_wins_over_the_recipe(tmp_path: Path) -> None:
    config = compose([*preset("llama3_8b"), "parallelism=dp", "training.steps=9000", "optimizer=adamw_wsd"])
    assert (config.parallelism.tensor_model_parallel_size, config.training.steps) == (1, 9000)
    assert (config.optimizer.lr_decay_style, config.optimizer.lr) == ("WSD", 3e-4)
    assert config.training.global_batch_size == 1024
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("defaults: [adamw]\nlr: 0.5\n")
    mine = compose([*preset("llama3_8b"), "optimizer=mine"], config_dir=tmp_path).optimizer
    assert (mine.lr, mine.min_lr) == (0.5, 3e-6)


def test_text_of_ones_own_has_a_tokenizer_of_the_models_size() -> None:
    words = ["model=gpt3_1_3b", "data=files", "data.sources.files.inputs=[a]"]
    assert text_of(compose(words)).tokenizer.vocab_size == 50257
    assert text_of(compose([*words, "data.tokenizer.vocab_size=1000"])).tokenizer.vocab_size == 1000


@pytest.mark.parametrize("missing", ["training.steps", "optimizer.lr"])
@pytest.mark.parametrize("model", NOT_PUBLISHED)
def test_what_no_paper_gives_is_to_be_given(model: str, missing: str) -> None:
    words = [word for word in large(model) if not word.startswith(missing)]
    with refused(missing, use=f"{missing}=..."):
        compose(words)
