import json
from pathlib import Path

import pytest

from slipway.bench import data
from slipway.bench.vocabularies import PUBLISHED, train
from slipway.cli import main


@pytest.mark.timeout(240)
def test_prints_both_rates_and_their_ratio(capfd: pytest.CaptureFixture[str]) -> None:
    """In a real run; that both wrote the same bytes is asserted in the benchmark."""
    assert (
        main(["bench", "data", "--megabytes", "0.4", "--rounds", "1", "--vocab-size", "600", "--json"]) == 0
    )
    record = json.loads(capfd.readouterr().out)
    rates = {row["preparation"]: row["tokens_per_second"] for row in record["rows"]}
    summary = record["summary"]
    assert 300_000 < summary["text_bytes"] <= 400_000
    assert 50_000 < summary["tokens"] < 400_000
    ratio = summary["ratio"]
    assert ratio == pytest.approx(rates["slipway"] / rates["one at a time"])
    assert ratio > 0
    assert summary["ratio_to_tiktoken"] == pytest.approx(rates["slipway"] / rates["tiktoken, encoding alone"])


@pytest.mark.timeout(240)
def test_with_a_tokenizer_that_is_given(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One whose added tokens occur in the text, which tiktoken cannot do; `slipway data`'s are the reference's."""
    path = tmp_path / "tokenizer.json"
    train(PUBLISHED["gpt_neox"], iter(["def f(x):\n    return x\n"] * 3), 300).save(str(path))
    common = ["bench", "data", "--megabytes", "0.1", "--rounds", "1", "--json", "--tokenizer"]
    assert main([*common, str(path)]) == 0
    out, err = capfd.readouterr()
    record = json.loads(out)
    assert {row["preparation"] for row in record["rows"]} == {"slipway", "one at a time"}
    assert record["summary"]["ratio_to_tiktoken"] is None and "added tokens" in err
    assert main([*common, str(path), "--end-of-document", "<|end|>"]) == 2
    assert "<|end|>" in capfd.readouterr().err


def test_refuses_different_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    def one_token_more(task):
        encode = data.one_at_a_time(task)

        def encode_more(prefix) -> int:
            count = encode(prefix)
            with open(f"{prefix}.bin", "ab") as file:
                file.write(b"\0\0")
            return count

        return encode_more

    monkeypatch.setitem(data.CONTENDERS, "slipway", one_token_more)
    with pytest.raises(AssertionError, match="slipway wrote another .bin"):
        main(["bench", "data", "--megabytes", "0.1", "--rounds", "1", "--vocab-size", "300"])
