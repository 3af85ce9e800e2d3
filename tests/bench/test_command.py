import sys
import types

from slipway import bench
from slipway.cli import main


def test_options_reach_the_benchmark_and_its_code_is_returned(monkeypatch) -> None:
    asked = []
    module = types.ModuleType("slipway.bench.compare")
    module.run = lambda options: asked.append(options) or 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "slipway.bench.compare", module)
    monkeypatch.setattr(bench, "compare", module, raising=False)
    assert main(["bench", "compare", "--json", "model=demo", "--steps=3"]) == 7
    (options,) = asked
    assert (options.steps, options.rounds, options.overrides) == (3, 7, ["model=demo"])
    assert options.argv == ["--json", "model=demo", "--steps=3"]
