import json
from pathlib import Path

import pytest

from slipway.bench.kernel_table import CASES, OPERATORS, of_operator, trouble
from slipway.bench.kernels import chosen_operators, take_turns
from slipway.config.compose import compose
from slipway.kernels.choice import TABLE
from slipway.kernels.probe import machine
from slipway.models.gpt.config import gpt_of
from training import slipway

TINY = [
    "model.hidden_size=32",
    "model.num_attention_heads=4",
    "model.vocab_size=200",
    "model.num_query_groups=2",
]


def test_every_operator_and_backend_of_this_machine_is_measured(tmp_path: Path) -> None:
    words = ["--repeat", "2", "--json", "--out", "found", *TINY, "model.max_position_embeddings=24"]
    done = slipway("bench", "kernels", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert json.loads((tmp_path / "found" / "bench-kernels.json").read_text()) == record
    assert (tmp_path / "found" / "bench-kernels.png").read_bytes().startswith(b"\x89PNG")
    config, here = compose(TINY), machine("cpu")
    expected = [(case.operator, case.backend) for case in CASES if trouble(case, here, config) is None]
    assert [(row["operator"], row["backend"]) for row in record["rows"]] == expected
    assert {row["operator"] for row in record["rows"]} == set(OPERATORS)
    for row in record["rows"]:
        assert 0 < row["least_ms"] <= row["median_ms"] <= row["most_ms"]
        assert row["gigabytes_per_second"] == pytest.approx(row["megabytes"] / row["median_ms"])
        assert row["tflops"] == pytest.approx(row["gflop"] / row["median_ms"])
        rate = "tflops" if row["ceiling"] == "matmul" else "gigabytes_per_second"
        assert row["share"] == pytest.approx(row[rate] / record["summary"][f"{row['ceiling']}_{rate}"])
    assert record["summary"]["not_measured"]  # on a CPU nothing of a GPU is


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--operators", "rotari"], "bench kernels --operators: 'rotari' is not one; did you mean rotary?"),
        (["--repeat", "0"], "bench kernels --repeat: must be at least 1, got 0"),
        (["--model", "gpt9"], "gpt9"),
        (
            ["resources.devices_per_node=2"],
            "bench kernels: measures one device, but the configuration has 2 ranks",
        ),
    ],
)
def test_mistakes_end_with_2_and_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    done = slipway("bench", "kernels", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert line in done.stderr and done.stderr.count("\n") == 1


def test_operators_are_chosen_in_the_tables_order() -> None:
    assert chosen_operators(None) == list(OPERATORS)
    assert chosen_operators("adamw,layer_norm") == ["layer_norm", "adamw"]


def test_no_backend_of_the_table_is_left_out() -> None:
    """What cannot be measured alone is named here."""
    alone = {"grad_accumulation", "moe"}
    for part, backends in TABLE.items():
        measured = {case.backend for case in CASES if OPERATORS[case.operator].part == part}
        assert part in alone or {backend.name for backend in backends} <= measured


def test_an_operator_has_the_models_fields_that_it_needs() -> None:
    config = compose(["model=mixtral_8x7b"])
    model = gpt_of(of_operator(config, "mlp_gelu"))
    assert (model.activation, model.add_bias_linear, model.num_moe_experts) == ("gelu", True, None)


def test_backends_take_turns() -> None:
    import torch

    calls = []
    built = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    seconds = take_turns(built, 3, torch.device("cpu"))
    assert {name: len(of_one) for name, of_one in seconds.items()} == {"a": 3, "b": 3}
    turns = [name for i, name in enumerate(calls) if i == 0 or calls[i - 1] != name]
    assert turns == ["a", "b"] * 4
