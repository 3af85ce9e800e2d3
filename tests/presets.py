"""Presets of large models with all that they leave to be chosen, for tests that plan and start nothing."""

import yaml

from slipway.config.compose import conf_dir

ON_DEMO_DATA = ["data=stdlib", "data.allow_large_models=true"]
_RECIPE = [
    "training.steps=200",
    "training.global_batch_size=16",
    "optimizer.lr=1e-3",
    "optimizer.min_lr=1e-4",
]
NOT_PUBLISHED = dict.fromkeys(
    [
        *("mixtral_8x7b", "gpt2", "llama3_2_1b", "smollm2_135m"),
        *("qwen3_0_6b", "qwen3_8b", "qwen3_30b_a3b"),
    ],
    _RECIPE,
)


DEMOS = {"demo": 8, "demo_earth": 4}
"""Experiments that bring data and say how many processes they have."""


def data_of(name: str) -> list[str]:
    """Overrides that choose data that a model, or an experiment's model, can read."""
    if name in DEMOS:
        return []
    return ["data=any_imagery"] if name.startswith(("prithvi", "earth")) else ON_DEMO_DATA


def data_preset(data: str) -> list[str]:
    """Overrides that choose a preset of data, what it leaves open, and a model that reads it."""
    sections = yaml.safe_load((conf_dir() / "data" / f"{data}.yaml").read_text(encoding="utf-8"))
    words = [f"data={data}"]
    for name, source in sections.get("sources", {}).items():
        words += [f"data.sources.{name}.inputs=[/x]"] if source["inputs"] == "???" else []
    if sections.get("tokenizer", {}).get("path") == "???":
        words.append("data.tokenizer.path=/x/tokenizer.json")
    imagery = "base/imagery@_here_" in sections.get("defaults", [])
    return [*words, "model=earth_demo"] if imagery else words


def preset(model: str) -> list[str]:
    """Overrides that choose a model's preset, and what it leaves open."""
    return [f"model={model}", *data_of(model), *NOT_PUBLISHED.get(model, [])]


def large(model: str, nodes: int = 1, cluster: str = "h100_cloud") -> list[str]:
    """The same on whole nodes of a cluster."""
    return [*preset(model), f"cluster={cluster}", f"resources.nodes={nodes}"]
