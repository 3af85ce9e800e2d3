import subprocess
import sys
import types

import pytest

from refusals import refused
from slipway import bench
from slipway.bench import command


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_benchmarks_are_listed(words, capsys):
    assert command.main(words) == 0
    out = capsys.readouterr().out
    for name, text in command.BENCHMARKS.items():
        assert f"  {name} " in out and text in out


def test_an_unknown_name_is_answered_with_the_nearest():
    with refused("bench starup", use=["startup", "checkpoint"]):
        command.main(["starup"])


def test_options_reach_the_benchmark_and_its_code_is_returned(monkeypatch):
    asked = []
    module = types.ModuleType("slipway.bench.training")
    module.main = lambda words: asked.append(words) or 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "slipway.bench.training", module)
    monkeypatch.setattr(bench, "training", module, raising=False)
    assert command.main(["training", "--json", "--steps=3"]) == 7
    assert asked == [["--json", "--steps=3"]]


def test_each_benchmark_explains_itself():
    for name in command.BENCHMARKS:
        done = subprocess.run(
            [sys.executable, "-m", "slipway", "bench", name, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert f"slipway bench {name}" in done.stdout and "--json" in done.stdout


def test_listing_imports_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; from slipway.bench.command import main; sys.exit(main([]))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
