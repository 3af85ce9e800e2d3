import io

import pytest
from rich.console import Console

from slipway.cli import main
from slipway.config.compose import compose
from slipway.plan import make_plan, show


def shown(*overrides: str, ranks: int | None = 32) -> str:
    out = io.StringIO()
    show.show(make_plan(compose(overrides)), ranks, Console(file=out, width=120))
    return out.getvalue()


def test_all_that_matters_is_there() -> None:
    text = shown("experiment=gpt3_175b")
    for fact in (
        "174,604,836,864",
        "1,024 x NVIDIA-H100",
        "TP8 × PP8 × VP3 × DP16, sequence parallel",
        "96 microbatches",
        "fits",
        "device-hours",
    ):
        assert fact in text
    assert max(map(len, text.splitlines())) <= 120


def test_what_is_sharded_is_there() -> None:
    text = shown("experiment=llama3_8b", "parallelism=zero3")
    assert "sharded gradients and parameters (ZeRO-3)" in text and "gathered" in text
    assert "gathered" not in shown("experiment=llama3_8b")


def test_no_time_without_a_peak() -> None:
    assert "not estimated: cluster local states no fp32 peak" in shown("experiment=demo")


def test_too_large_is_said() -> None:
    assert "DOES NOT FIT" in shown("experiment=gpt3_13b", "parallelism=dp")


def rank_rows(text: str) -> list[str]:
    lines = text[text.index("Ranks") :].splitlines()
    return [line.split()[0] for line in lines if line.split() and line.split()[0][0] in "0123456789⋮"]


@pytest.mark.parametrize(("limit", "rows"), [(4, ["0", "1", "⋮", "126", "127"]), (3, ["0", "1", "⋮", "127"])])
def test_the_middle_is_left_out(limit: int, rows: list[str]) -> None:
    assert rank_rows(shown("experiment=llama3_8b", ranks=limit)) == rows


def test_all_ranks(capsys) -> None:
    assert main(["plan", "experiment=llama3_8b", "--ranks", "all"]) == 0
    assert rank_rows(capsys.readouterr().out) == [str(rank) for rank in range(128)]
    assert main(["plan", "experiment=llama3_8b"]) == 0
    assert len(rank_rows(capsys.readouterr().out)) == 33
