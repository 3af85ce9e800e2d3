import json
from pathlib import Path

import pytest

from presets import large
from refusals import refused
from slipway.cli import main
from slipway.config.compose import compose
from slipway.plan import make_plan
from slipway.plan.search.request import read

GPT = [
    *(*large("gpt3_125m", 2), "model.num_layers=4", "training.global_batch_size=48"),
    *("resources.devices_per_node=4", "cluster.device.memory_gib=3.6"),
]
FIELDS = (
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "virtual_pipeline_model_parallel_size",
    "context_parallel_size",
    "expert_model_parallel_size",
    "sequence_parallel",
    "use_distributed_optimizer",
    "data_parallel_sharding_strategy",
    "overlap_grad_reduce",
    "overlap_param_gather",
)


def searched(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["plan", "search", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_layout_can_be_planned_as_it_stands(capsys) -> None:
    found = searched(capsys, *GPT, "--top", "3")
    assert len(found["layouts"]) == 3 < found["fit"]
    assert sum(found["rejected"].values()) + found["fit"] == found["enumerated"]
    for layout in found["layouts"]:
        words = [f"parallelism.{field}={json.dumps(layout[field])}" for field in FIELDS]
        words += [f"training.{field}={layout[field]}" for field in ("micro_batch_size", "recompute")]
        plan = make_plan(compose([*GPT, "training.recompute_modules=null", *words]))
        assert plan.memory.fits
        assert plan.memory.largest == layout["memory_bytes"]
        assert plan.memory.device == layout["memory_bytes"] + layout["memory_left_bytes"]
        assert plan.time.seconds_per_step == layout["step_seconds"] == layout["step_seconds_by_part"]["total"]
        assert plan.time.device_hours == pytest.approx(layout["device_hours"])
        assert plan.data_parallel_size == layout["data_parallel_size"]
        assert plan.num_microbatches == layout["num_microbatches"]


def test_best_first_over_a_range_of_devices(capsys) -> None:
    by_time = searched(capsys, *GPT, "resources.nodes=4,2", "--all")
    assert {layout["nodes"] for layout in by_time["layouts"]} == {2, 4}
    assert {layout["devices"] for layout in by_time["layouts"]} == {8, 16}
    seconds = [layout["step_seconds"] for layout in by_time["layouts"]]
    assert len(seconds) == by_time["fit"] and seconds == sorted(seconds)
    by_cost = searched(capsys, *GPT, "resources.nodes=4,2", "--by", "cost", "--all")
    hours = [layout["device_hours"] for layout in by_cost["layouts"]]
    assert hours == sorted(hours) and len(hours) == len(seconds)


def test_each_arrangement_of_ranks_is_shown_once(capsys) -> None:
    rows, every = searched(capsys, *GPT), searched(capsys, *GPT, "--all")
    names = [tuple(layout[field] for field in FIELDS[:5]) for layout in rows["layouts"]]
    assert len(set(names)) == len(names) > 3
    assert sum(layout["variants"] for layout in rows["layouts"]) == len(every["layouts"]) == rows["fit"]
    assert rows["layouts"][0] | {"variants": 1} == every["layouts"][0]


def test_fields_with_one_and_with_several_values(capsys) -> None:
    words = [
        "parallelism.tensor_model_parallel_size=2,4",
        "training.micro_batch_size=1",
        "training.recompute=full",
    ]
    layouts = searched(capsys, *GPT, *words)["layouts"]
    assert {layout["tensor_model_parallel_size"] for layout in layouts} == {2, 4}
    assert {layout["micro_batch_size"] for layout in layouts} == {1}
    assert {layout["recompute"] for layout in layouts} == {"full"}


def test_a_named_layout_leaves_microbatch_and_recomputation_to_the_recipe(capsys) -> None:
    found = searched(capsys, *GPT, "parallelism=tp4_pp2", "training.micro_batch_size=2")
    assert (found["fit"], found["enumerated"]) == (1, 1)


def test_the_table_has_what_limits_and_what_was_refused(capsys, tmp_path: Path) -> None:
    picture = tmp_path / "layouts.png"
    assert main(["plan", "search", *GPT, "resources.nodes=1,2", "--top", "2", "--picture", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "training.global_batch_size" in shown and "memory" in shown and "layouts fit" in shown
    numbered = [line.split()[0] for line in shown.splitlines() if "ZeRO-" in line and "recompute" not in line]
    assert [word for word in numbered if word.isdecimal()] == ["1", "2"]
    assert "--all" in shown
    assert main(["plan", "search", *GPT, "resources.nodes=1,2", "--top", "2", "--all"]) == 0
    assert "--all" not in capsys.readouterr().out
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and len(picture.read_bytes()) > 20_000


def test_the_help_teaches(capsys) -> None:
    assert main(["plan", "search", "--help"]) == 0
    assert "--by" in capsys.readouterr().out
    assert main(["plan", "--help"]) == 0
    assert "slipway plan search" in capsys.readouterr().out


def test_an_option_of_the_search_is_none_of_the_plan() -> None:
    from slipway.verbs.parse import parse

    with refused("plan --by", use="search"):
        parse("plan", ["--by", "cost"])


def test_words_become_one_configuration_and_what_it_does_not_say() -> None:
    words = ["model=demo", "resources.nodes=range(2,9,2)", "parallelism.pipeline_model_parallel_size=1,2"]
    request = read(words)
    assert request.words == [
        "model=demo",
        "resources.nodes=8",
        "parallelism.pipeline_model_parallel_size=auto",
        "parallelism=auto",
    ]
    assert request.allowed == {"parallelism.pipeline_model_parallel_size": [1, 2]}
    config = compose(["model=demo", "resources.nodes=8", "resources.devices_per_node=4"])
    assert request.shapes(config) == [(2, 4), (4, 4), (6, 4), (8, 4)]


def test_more_machines_than_the_cluster_has() -> None:
    with refused("resources.nodes", 936, value=1000):
        _run("model=gpt3_175b", "cluster=juwels_booster", "resources.nodes=900,1000", *GPT[1:3])


def _run(*words: str) -> None:
    from slipway.plan.search.command import run_words
    from slipway.verbs.parse import parse

    parsed = parse("plan", ["search", *words])
    run_words(parsed.overrides, parsed.options)
