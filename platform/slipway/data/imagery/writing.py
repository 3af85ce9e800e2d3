"""The shards, tables and manifest record of a source, made from its parts."""

from collections.abc import Sequence
from concurrent.futures import Executor
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.data.imagery import manifest
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.manifest import GENERATED, Skipped, SourceRecord, SplitRecord, Sums
from slipway.data.imagery.sources import Prepared
from slipway.data.inputs import fingerprint
from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.data.files import FileRecord
    from slipway.data.imagery.shards import ShardJob, TableJob


def write_source(
    name: str, data: Data, found: Prepared, parts: Sequence[Path], folder: Path, pool: Executor
) -> SourceRecord:
    """Write the shards and tables of a source, and return its record. Raises UserError if it has no chip."""
    from slipway.data.imagery import shards

    layout = Layout(data.num_frames, len(data.bands), data.chip_size)
    plan = shards.plan(parts, data.split, layout, data.shard_size)
    if not plan.splits:
        reasons = ", ".join(
            f"{count:,} {why}" for why, count in sorted(found.chips_left_out.items()) if count
        )
        raise UserError(
            f"data.sources.{name}",
            f"yields no chips of {data.num_frames} dates, {data.gap_days[0]} to {data.gap_days[1]} days apart, from "
            f"{found.scenes:,} scenes of {len(found.tiles):,} tiles: {reasons}",
            use="more scenes, or another data.gap_days, data.min_valid or data.max_cloud",
        )
    jobs = plan.jobs(folder, name)
    files = {job.path.name: record for job, record in zip(jobs, pool.map(_write, jobs), strict=True)}
    source, survey = data.sources[name], found.survey
    is_generated = source.inputs == [GENERATED]
    return SourceRecord(
        inputs=source.inputs,
        places=manifest.places(source.inputs),
        format=survey.format,
        names=dict(source.names),
        scale=source.scale,
        files=len(survey.files),
        input_bytes=sum(file.size for file in survey.files),
        # those that are generated are the same whenever they are written
        input_sha256=sha256(GENERATED.encode()).hexdigest() if is_generated else fingerprint(survey.files),
        scenes=found.scenes,
        skipped=[Skipped(path=one.path, reason=one.reason) for one in found.skipped],
        left_out=len(survey.left_out),
        chips_left_out={why: count for why, count in sorted(found.chips_left_out.items()) if count},
        splits={
            split: SplitRecord(
                chips=len(chips.rows),
                places=chips.places,
                chips_per_shard=plan.chips_per_shard,
                shards=[
                    files[shards.shard_name(name, split, number)]
                    for number in range(-(-len(chips.rows) // plan.chips_per_shard))
                ],
                table=files[shards.table_name(name, split)],
            )
            for split, chips in plan.splits.items()
        },
        sums=Sums(**plan.sums),
    )


def _write(job: "ShardJob | TableJob") -> "FileRecord":
    return job.write()
