"""The part of a plan that the ledger keeps: enough to show a run without reading the plan again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway import files, words
from slipway.run_dir import RunDir

if TYPE_CHECKING:
    from slipway.config.schema import Parallelism

SIZES = {
    "TP": "tensor_model_parallel_size",
    "CP": "context_parallel_size",
    "EP": "expert_model_parallel_size",
    "PP": "pipeline_model_parallel_size",
    "VP": "virtual_pipeline_model_parallel_size",
}


class Facts(BaseModel):
    """The model to be trained, and the machines it trains on."""

    model_config = ConfigDict(frozen=True)

    name: str
    model: str
    steps: int
    """Steps of the whole run."""
    nodes: int
    world_size: int
    layout: dict[str, int]
    """Size of each parallel dimension: TP, CP, EP, PP, VP, DP."""
    device: str | None = None
    """cpu or cuda; None: the record is from before this field existed."""
    device_watts: float | None = None
    """Power of one device at full load, as the plan had it; None: it had none."""

    @property
    def layout_text(self) -> str:
        """`TP2 × PP2 × DP2`: the dimensions larger than one; `one rank` if there are none."""
        return words.layout(self.layout)


def sizes_of(parallelism: "Parallelism", data_parallel_size: int) -> dict[str, int]:
    """Return the size of each parallel dimension by its short name: TP, CP, EP, PP, VP, DP."""
    sizes = {name: getattr(parallelism, field) or 1 for name, field in SIZES.items()}
    return {**sizes, "DP": data_parallel_size}


def facts_of(plan: Mapping[str, Any]) -> Facts:
    """Return the facts in a plan's JSON. Raises KeyError or ValidationError if it is no plan."""
    config = plan["config"]
    sizes = {name: config["parallelism"].get(field) or 1 for name, field in SIZES.items()}
    return Facts(
        name=config["run"]["name"],
        model=config["model"]["name"],
        steps=config["training"]["steps"],
        nodes=config["resources"]["nodes"],
        world_size=plan["world_size"],
        layout={**sizes, "DP": plan["data_parallel_size"]},
        device=config["cluster"]["device"]["kind"],
        device_watts=_watts(plan["time"]),
    )


def _watts(time: Mapping[str, Any]) -> float | None:
    """Return the power (W) of a device, from a plan's energy and device-hours; None if the plan has none."""
    energy, hours = time.get("energy_kwh"), time.get("device_hours")
    return 1000 * energy / hours if energy and hours else None


def read_facts(run_dir: Path) -> Facts | None:
    """Return the facts in the plan of a run's directory; None if it holds no plan. Raises Unreadable."""
    try:
        return facts_of(json.loads(files.read(RunDir(run_dir).plan) or b""))
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None
