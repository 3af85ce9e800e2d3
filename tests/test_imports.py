"""Which part of Slipway may import which: downwards, in no circle, and torch in few places only."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from imports import Import, files, reaching, read, within

# From the lowest to the highest. A part imports parts of lower layers only, none of its own.
LAYERS = [
    {
        "",
        "commands",
        "console",
        "cores",
        "energy",
        "errors",
        "host_lists",
        "quiet",
        "records",
        "secret_forms",
        "words",
    },
    {"arguments", "files", "registry", "secrets", "shipped"},
    {"run_dir", "system_errors"},
    {"config"},
    {"data", "optimizers", "ranks"},
    {"kernels"},
    {"models"},
    {"plan"},
    {"access", "engine", "metrics"},
    {"checkpoint", "image", "launch"},
    {"clusters", "runs"},
    {"doctor", "evaluate", "generate", "handover", "jupyter", "report", "train"},
    {"bench", "verbs"},
    {"proposal"},
    {"cli"},
    {"__main__"},
]
LAYER = {part: number for number, layer in enumerate(LAYERS) for part in layer}

# Imports that go up or in a circle, and are known.
EXCEPTIONS: set[tuple[str, str]] = set()

HEAVY = {"torch", "megatron", "transformer_engine", "apex", "triton"}
# The packages and modules that may import these when they are imported themselves.
MAY_BE_HEAVY = [
    "bench.ceilings",
    "bench.device.samples",
    "bench.kernel_truth",
    "bench.plain_gpt",
    "checkpoint.load",
    "checkpoint.save",
    "data.chat.dataset",
    "data.collate",
    "data.imagery.augmentation",
    "data.imagery.buffers",
    "data.imagery.dataset",
    "data.imagery.made_up",
    "data.reader",
    "data.text.dataset",
    "data.text.indexed",
    "data.text.made_up",
    "data.upload",
    "engine.draw",
    "engine.engine",
    "engine.measuring",
    "engine.megatron",
    "engine.normal",
    "handover.pt_file",
    "handover.safetensors_file",
    "kernels.attention",
    "kernels.cross_entropy",
    "kernels.experts",
    "kernels.linear",
    "kernels.norms",
    "kernels.philox",
    "kernels.products",
    "kernels.provider",
    "kernels.recompute",
    "kernels.rotary",
    "kernels.spans",
    "kernels.swiglu",
    "kernels.triton",
    "kernels.windows",
    "models.gpt.network",
    "models.gpt.prediction.layer",
    "models.gpt.prediction.targets",
    "models.gpt.router",
    "models.gpt.reading",
    "models.gpt.rotary",
    "models.gpt.routing",
    "models.gpt.stage",
    "models.gpt.transformer",
    "models.mae.masks",
    "models.mae.network",
    "models.mae.patches",
    "models.mae.pictures",
    "models.mae.probe",
    "models.mae.positions",
    "models.mae.sequence",
    "models.mae.stage",
    "models.network",
    "models.transformer.config",
    "models.transformer.latent.spec",
    "models.transformer.layer_spec",
    "models.transformer.routing",
    "optimizers.adamw.optimizer",
    "optimizers.muon.newton_schulz",
    "optimizers.muon.optimizer",
    "evaluate.tasks.harness",
    "evaluate.tasks.run",
    "train.batches",
    "train.evaluation",
    "train.load",
    "train.loop",
    "train.meter",
    "train.peak",
    "train.pictures",
    "train.profile",
    "train.recovery",
    "train.sensors",
    "train.setup",
    "train.slow_ranks",
    "train.step",
    "train.throughput",
    "train.watch.hangs",
    "train.watch.stragglers",
]

MODULES = files()
IMPORTS = read(MODULES)
PACKAGES = sorted(name for name, path in MODULES.items() if path.name == "__init__.py")


def wrong_ways(found: dict[tuple[str, str], Import]) -> list[str]:
    """The imports between parts of Slipway that do not go down."""
    return [
        f"{one}: {importer} (layer {LAYER[importer]}) may not import {imported} (layer {LAYER[imported]})"
        for (importer, imported), one in found.items()
        if LAYER[importer] <= LAYER[imported] and (importer, imported) not in EXCEPTIONS
    ]


def circle(found: dict[tuple[str, str], Import]) -> list[str]:
    """The imports that make a circle; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for importer, imported in found:
        if (importer, imported) not in EXCEPTIONS:
            graph.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        round_trip = error.args[1]  # each imported by the next
        return [str(found[after, before]) for before, after in zip(round_trip, round_trip[1:], strict=False)]
    return []


def is_allowed(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(f"{allowed}.")


def test_imports_go_down() -> None:
    found = within("", IMPORTS)
    parts = {name.partition(".")[0] for name in MODULES}
    assert parts == set(LAYER), "LAYERS names each part once"
    assert sum(map(len, LAYERS)) == len(LAYER)
    assert wrong_ways(found) == []
    assert set(found) >= EXCEPTIONS, "what is no exception any more is not listed as one"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle(package: str) -> None:
    """Neither between packages, nor within one: imports within functions count."""
    assert circle(within(package, IMPORTS)) == []


def test_no_circle_of_modules() -> None:
    found = {(one.module, one.imported): one for one in IMPORTS if one.ours and one.module != one.imported}
    assert circle(found) == []


def test_torch_is_imported_where_it_may_be() -> None:
    heavy = reaching(HEAVY, IMPORTS)
    elsewhere = {
        module: str(one)
        for module, one in heavy.items()
        if not any(is_allowed(module, a) for a in MAY_BE_HEAVY)
    }
    assert elsewhere == {}
    unused = [allowed for allowed in MAY_BE_HEAVY if not any(is_allowed(module, allowed) for module in heavy)]
    assert unused == [], "what imports no torch any more is not listed"


def test_no_family_imports_another() -> None:
    """What they share is in models.transformer, or in the modules of models itself, which know no family."""
    families = {name for name in PACKAGES if name.startswith("models.") and name.count(".") == 1}
    families -= {"models.transformer"}
    assert len(families) > 1

    def family(module: str) -> str | None:
        return next((each for each in families if is_allowed(module, each)), None)

    others = [
        str(one)
        for one in IMPORTS
        if one.ours
        and one.module.startswith("models.")
        and family(one.imported) not in (None, family(one.module))
    ]
    assert others == []


def test_one_module_knows_megatron_cores_model() -> None:
    """What replaces GPTModel one day is a change of that module (docs/megatron.md)."""
    of_models = ("megatron.core.models.gpt", "megatron.core.models.hybrid")
    assert {one.module for one in IMPORTS if one.imported.startswith(of_models)} == {
        "models.gpt.stage",
        "models.transformer.layer_spec",  # the function that chooses between MLP and experts
    }


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """The reading itself: imports within functions, for type checkers, of modules by name, through others."""
    source = {
        "__init__": "",
        "config/__init__": "",
        "config/a": "from slipway.config import b\n",
        "config/b": "def f():\n    from slipway.config.a import g\n    import torch\n",
        "cli": "from slipway import config, train\nif TYPE_CHECKING:\n    import torch\n",
        "train/__init__": "import torch.nn\nif __debug__:\n    from slipway.cli import main\n",
    }
    for name, text in source.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    imports = read(files(tmp_path))
    (wrong,) = wrong_ways(within("", imports))
    assert wrong.startswith("platform/slipway/train.py:3 imports slipway.cli: train")
    assert sorted(circle(within("config", imports))) == [
        "platform/slipway/config/a.py:1 imports slipway.config.b",
        "platform/slipway/config/b.py:2 imports slipway.config.a",
    ]
    assert set(reaching({"torch"}, imports)) == {"cli", "train"}
