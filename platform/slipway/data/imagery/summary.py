"""A summary of a prepared imagery data set, for people."""

from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.manifest import USELESS, Manifest, SourceRecord
from slipway.data.imagery.statistics import of_sums
from slipway.words import size


def summary(data: Data, found: Manifest) -> str:
    """Return what is prepared, with a line for each source, and the statistics of its bands."""
    pixels = f"{found.num_frames} dates x {len(found.bands)} bands x {found.chip_size} x {found.chip_size}"
    lines = [f"{data.dir}: chips of {pixels}, {found.dtype}"]
    for name, source in found.sources.items():
        splits = ", ".join(
            f"{split} {record.chips:,} chips of {record.places:,} places"
            for split, record in source.splits.items()
        )
        stored = sum(shard.bytes for split in source.splits.values() for shard in split.shards)
        lines.append(
            f"  {name}: {splits or 'no chips'}"
            + (f"; {size(stored)}" if stored else "")
            + f" from {source.scenes:,} scenes"
            + "".join(f", {count:,} {what}" for what, count in _left_out(source).items() if count)
            + "".join(f", {count:,} {reason}" for reason, count in source.chips_left_out.items() if count)
        )
    by_band = of_sums([source.sums for source in found.sources.values()], len(found.bands))
    for what, values in (("mean", by_band.mean), ("std", by_band.std)):
        if any(values):
            lines.append(f"  {what}: {', '.join(f'{value:.6g}' for value in values)}")
    return "\n".join(lines)


def _left_out(source: SourceRecord) -> dict[str, int]:
    useless = sum(one.reason.startswith(USELESS) for one in source.skipped)
    return {
        "bad scenes left out": len(source.skipped) - useless,
        "scenes of no use (clouds, edges)": useless,
    }
