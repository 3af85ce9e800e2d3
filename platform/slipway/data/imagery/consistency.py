"""Checks of the section's fields against each other, before anything is read."""

from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.terramesh.modalities import PIXEL_METRES, SIZE
from slipway.data.split import check_shares
from slipway.errors import UserError


def check(data: Data, validation_steps: int) -> None:
    """Raise UserError if fields contradict each other."""
    repeated = sorted({band for band in data.bands if data.bands.count(band) > 1})
    if repeated:
        raise UserError(
            "data.bands",
            f"has {', '.join(repeated)} more than once",
            value=list(data.bands),
            do="name each band once",
        )
    for name in ("mean", "std"):
        values = getattr(data, name)
        if values is not None and len(values) != len(data.bands):
            raise UserError(
                f"data.{name}",
                f"has {len(values)} numbers for {len(data.bands)} bands ({', '.join(data.bands)})",
                value=list(values),
                use="one for each of data.bands, or null",
            )
    if data.crop_size and data.crop_size > data.chip_size:
        raise UserError(
            "data.crop_size",
            f"is above data.chip_size {data.chip_size}",
            value=data.crop_size,
            use=f"at most {data.chip_size}, or null",
        )
    if data.gap_days[0] > data.gap_days[1]:
        raise UserError(
            "data.gap_days",
            "has a least number above its most",
            value=list(data.gap_days),
            use="[least, most]",
        )
    check_shares(data.split, validation_steps)
    for name, source in data.sources.items():
        if source.format == "terramesh":
            _check_terramesh(data, name)


def _check_terramesh(data: Data, name: str) -> None:
    """Raise UserError for fields without effect: samples are taken whole, not cut, filtered or resampled."""
    why = f"has no effect on data.sources.{name}, whose format is terramesh"
    if data.chip_size != SIZE:
        raise UserError(
            "data.chip_size",
            f"is not {SIZE}, the size of all samples of data.sources.{name}, whose format is terramesh",
            value=data.chip_size,
            use=f"{SIZE}, with data.crop_size for less",
        )
    if data.min_valid > 0:
        raise UserError("data.min_valid", why, value=data.min_valid, use="0")
    if data.max_cloud < 1:
        raise UserError("data.max_cloud", why, value=data.max_cloud, use="1")
    source = data.sources[name]
    for field, value in (("names", source.names), ("scale", source.scale)):
        if value:
            where = f"data.sources.{name}.{field}"
            raise UserError(where, "has no effect with format terramesh", value=value, do="remove it")
    if data.resolution not in (None, PIXEL_METRES):
        raise UserError("data.resolution", why, value=data.resolution, use="null")
