"""Turns a cluster's profile into the constants of its hardware: from conf/devices.yaml, or a file of measured ones."""

from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from slipway.config.explain import nearest
from slipway.config.schema import RunConfig
from slipway.config.section import Section
from slipway.errors import UserError
from slipway.plan.step.hardware import Hardware, Link, Rates
from slipway.records import first_problem
from slipway.shipped import shipped

FILE = "devices.yaml"
NAMELESS = frozenset({"CPU", "GPU"})
"""Names that profiles give to a device that could be any: nothing is known of it."""


class SourcedRates(Rates):
    """Rates of one kind of device."""

    source: str


class LinkRates(Section):
    """The performance that collectives reach on a kind of link."""

    share: PositiveFloat
    latency_us: PositiveFloat
    hop_us: PositiveFloat
    source: str


class DeviceFacts(Section):
    """One device: facts from its data sheet, and the names of the rates and links that apply to it."""

    rates: str = Field(description="A name under `rates`.")
    link: str = Field(description="A name under `links`: what connects devices of a node.")
    peak_tflops: dict[str, PositiveFloat] = Field(description="Dense, by precision, TFLOP/s.")
    memory_gb_per_s: PositiveFloat
    link_gb_per_s: PositiveFloat = Field(description="Inside a node, per device and direction.")
    link_devices: PositiveInt | None = Field(
        default=None, description="Devices that it connects, where they span nodes; null: those of a node."
    )
    usual_between_gb_per_s: PositiveFloat = Field(description="Between nodes, per device and direction.")
    power_w: PositiveFloat | None = None
    source: str


class Devices(Section):
    """The content of conf/devices.yaml."""

    rates: dict[str, SourcedRates]
    links: dict[str, LinkRates]
    fabrics: dict[str, LinkRates]
    devices: dict[str, DeviceFacts]


@cache
def known() -> Devices:
    """Return the devices of conf/devices.yaml."""
    return Devices.model_validate(_load(shipped("conf", FILE) / FILE))


def hardware_of(config: RunConfig) -> Hardware | None:
    """Return the constants that a configuration is planned with; None if its profile names no particular device.

    Raises UserError for a device that nothing is known of, or a file that holds no constants.
    """
    cluster, training = config.cluster, config.training
    device, network = cluster.device, cluster.network
    if device.measured is not None:
        return _of(training.precision, read(device.measured), device.measured)
    if device.name in NAMELESS:
        return None
    precision = "fp8" if training.fp8 is not None else training.precision
    here = config.resources.devices_per_node
    stated = device.peak_tflops(precision), device.peak_tflops(training.precision)
    links = network.intra_node_gb_per_s, network.inter_node_gb_per_s, network.fabric
    named = _named(device.name, precision, training.precision, stated, links, here)
    return named.model_copy(update={"storage_gb_per_s": cluster.storage_gb_per_s})


@lru_cache(maxsize=256)
def _named(
    name: str,
    precision: str,
    otherwise: str,
    stated: tuple[float | None, float | None],
    links: tuple[float | None, float | None, str | None],
    here: int,
) -> Hardware:
    """Return the constants of a device in the file; what a profile states itself takes precedence."""
    devices = known()
    facts = devices.devices.get(name)
    if facts is None:
        raise UserError(
            "cluster.device.name",
            f"is a device that conf/{FILE} does not know",
            value=name,
            do=f"{nearest(name, devices.devices)}; or measure it with `slipway bench device` and name the file in "
            "cluster.device.measured, or set cluster.expected_mfu",
        )
    peaks = facts.peak_tflops
    peak = stated[0] or peaks.get(precision) or stated[1] or peaks[otherwise]
    inside, between, fabric = links
    return Hardware(
        device=name,
        peak_tflops=peak,
        memory_gb_per_s=facts.memory_gb_per_s,
        rates=Rates.model_validate(devices.rates[facts.rates].model_dump(exclude={"source"})),
        inside=_link(devices.links[facts.link], inside or facts.link_gb_per_s),
        between=_link(devices.fabrics[fabric or "infiniband"], between or facts.usual_between_gb_per_s),
        inside_devices=max(facts.link_devices or 0, here),
        power_w=facts.power_w,
    )


def _of(precision: str, measured: Hardware, path: Path) -> Hardware:
    if measured.precision not in (None, precision):
        raise UserError(
            "cluster.device.measured",
            f"was measured in {measured.precision}, and training.precision is {precision}",
            value=path,
            do=f"run `slipway bench device training.precision={precision}` and name its file",
        )
    return measured


def read(path: Path) -> Hardware:
    """Return the constants in a file, YAML or JSON, as `slipway bench device` writes it.

    Raises UserError if it cannot be read or holds none.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise UserError(
            path,
            f"constants cannot be read: {error.strerror}",
            do="make it readable, or name another file in cluster.device.measured",
        ) from error
    except ValidationError as error:
        raise UserError(
            path,
            f"does not hold a device's constants: {first_problem(error)}",
            do="measure them again with `slipway bench device`",
        ) from error
    except UserError:
        raise
    except ValueError as error:  # a zero, or what no file system can write
        raise UserError(
            "cluster.device.measured",
            "cannot be the name of a file",
            value=str(path),
            do="name a file that `slipway bench device` has written",
        ) from error


@lru_cache(maxsize=16)
def _read(path: Path, _written: int) -> Hardware:
    return Hardware.model_validate(_load(path))


def _link(rates: LinkRates, gb_per_s: float) -> Link:
    return Link(gb_per_s=gb_per_s, **rates.model_dump(exclude={"source"}))


def _load(path: Path) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), loader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            path, "is neither YAML nor JSON", do="measure them again with `slipway bench device`"
        ) from error
