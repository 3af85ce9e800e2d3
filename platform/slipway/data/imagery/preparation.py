"""From scenes to shards of chips: the steps of `slipway data`, in order."""

import errno
import os
import platform
import sys
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from slipway import __version__, cores
from slipway.data import workspace
from slipway.data.destination import check_destination, check_room
from slipway.data.imagery import manifest, sources
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.manifest import GENERATED, Manifest, Skipped, SourceRecord, SplitRecord, Sums
from slipway.data.imagery.scenes.survey import Survey, find_files, survey
from slipway.data.imagery.sources import Prepared
from slipway.data.inputs import check_unchanged, describe, fingerprint
from slipway.data.pool import worker_pool
from slipway.data.progress import Progress, show_progress
from slipway.errors import UserError
from slipway.files import flush, write_whole
from slipway.words import size

if TYPE_CHECKING:
    from slipway.data.files import FileRecord
    from slipway.data.imagery.shards import ShardJob, TableJob

COUNTED = ("chips",)
_ENVIRONMENT = {"GDAL_NUM_THREADS": "1"}  # its threads would compete with the other processes
_NEEDED = {"cube": ("rasterio", "xarray", "zarr", "h5netcdf")}
_NAMED = 20  # of bad scenes, where they are listed


def prepare(data: Data, progress: bool) -> Manifest:
    """Prepare data.dir as `data` asks, continuing an interrupted preparation; at once where it is done.

    The files do not depend on data.workers. Raises UserError.
    """
    if manifest.read(data.dir) is not None:
        found = manifest.load(data)
        for change in changed_inputs(data, found):
            raise change.replaced(do=f"choose another data.dir, or remove {data.dir}")
        workspace.remove(data.dir / workspace.NAME)  # of a call that was killed right at its end
        return found
    surveys = {
        name: survey(data, name, source)
        for name, source in data.sources.items()
        if source.inputs != [GENERATED]
    }
    for name in data.sources:
        _check_installed(name, surveys[name].format if name in surveys else "hls")
    _check_destination(data)
    workers = data.workers or cores.usable()
    try:
        with (
            worker_pool(workers, _ENVIRONMENT, "spawn") as pool,
            workspace.workspace(data.dir, _job(data, surveys)) as work,
        ):
            for name in data.sources:
                if name not in surveys:
                    surveys[name] = _generated(name, data, work, pool)
                _say(f"data.sources.{name}: {surveys[name]}, {size(surveys[name].bytes)}", progress)
            ordered = {name: surveys[name] for name in data.sources}
            total = sum(one.bytes for one in ordered.values())
            with show_progress(progress, total, COUNTED) as shown:
                preparation = _Preparation(data, ordered, workers, pool, work, shown)
                done = preparation.run()
            workspace.remove(work)
    except workspace.Busy as error:
        raise UserError(
            "data.dir",
            "is being prepared by another process",
            value=data.dir,
            do="wait for it, or choose another data.dir",
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            "data.dir",
            f"cannot be written: {error.strerror}; what is done is kept",
            value=data.dir,
            do="free some space and run the same command again",
        ) from error
    for name, one in preparation.found.items():
        _tell(name, one)
    return done


def changed_inputs(data: Data, found: Manifest) -> list[UserError]:
    """Return what of the inputs is not as it was read, one for each source. They need not exist any more."""
    changes = []
    for name, source in data.sources.items():
        record = found.sources[name]
        if source.inputs == [GENERATED] or not all(os.path.exists(place) for place in record.places):
            continue
        try:
            files = find_files(name, source)
        except UserError as error:
            changes.append(error)
            continue
        if fingerprint(files) != record.input_sha256:
            changes.append(
                UserError(
                    f"data.sources.{name}.inputs",
                    f"files were changed, renamed or rewritten since {data.dir} was prepared ({record.files} files of "
                    f"{record.input_bytes} bytes then, {len(files)} of {sum(file.size for file in files)} now)",
                )
            )
    return changes


class _Preparation:
    def __init__(
        self,
        data: Data,
        surveys: dict[str, Survey],
        workers: int,
        pool: ProcessPoolExecutor,
        work: Path,
        progress: Progress,
    ) -> None:
        self.data = data
        self.surveys = surveys
        self.workers = workers
        self.pool = pool
        self.work = work
        self.progress = progress
        self.layout = Layout(data.num_frames, len(data.bands), data.chip_size)

    def run(self) -> Manifest:
        self.progress.phase("headers")
        self.found = {
            name: sources.inspect_source(name, self.data, one, self.pool)
            for name, one in self.surveys.items()
        }
        sources.check_resolution(self.found)
        sources.set_apart(self.found.values())
        self.progress.phase("chips")
        parts = {name: self._cut(name, one) for name, one in self.found.items()}
        for name, one in self.surveys.items():
            for file in one.files if self.data.sources[name].inputs != [GENERATED] else ():
                check_unchanged(file)
        for name, one in self.found.items():
            sources.judge(one, parts[name])
        self.progress.phase("writing")
        return self._commit(parts)

    def _cut(self, name: str, source: Prepared) -> list[Path]:
        """Parts of a source, in order."""
        from slipway.data.imagery.scenes.cut import Report, cut_unit, read_report
        from slipway.data.imagery.shards import is_done

        folder = self.work / name
        folder.mkdir(exist_ok=True)
        parts: list[Path] = []
        waiting: deque[tuple[int, Future[Report]]] = deque()

        def collect() -> None:
            # In the units' order, so that of several errors the first one is told.
            disk_bytes, future = waiting.popleft()
            self.progress.advance(disk_bytes, {"chips": future.result().chips}, fresh=True)

        for number, unit in enumerate(sources.units_of(source, self.data)):
            part = folder / f"{number:06d}"
            parts.append(part)
            if is_done(part):
                self.progress.advance(unit.bytes, {"chips": read_report(part).chips}, fresh=False)
                continue
            if len(waiting) > self.workers:
                collect()
            waiting.append((unit.bytes, self.pool.submit(cut_unit, unit, self.data, part)))
        while waiting:
            collect()
        return parts

    def _commit(self, parts: dict[str, list[Path]]) -> Manifest:
        """Write the files aside, move them into data.dir, and the manifest last."""
        from importlib.metadata import version

        from slipway.data.imagery import shards

        data, records, written = self.data, {}, []
        for name, found in self.found.items():
            plan = shards.plan(parts[name], data.split, self.layout, data.shard_size)
            if not plan.splits:
                reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(found.chips_left_out.items()))
                raise UserError(
                    f"data.sources.{name}",
                    f"gives no chip of {data.num_frames} dates, {data.gap_days[0]} to {data.gap_days[1]} days apart, "
                    f"from {found.scenes:,} scenes of {len(found.tiles):,} tiles: {reasons}",
                    use="more scenes, or another data.gap_days, data.min_valid, data.max_cloud",
                )
            jobs = plan.jobs(self.work, name)
            files = {
                job.path.name: record for job, record in zip(jobs, self.pool.map(_write, jobs), strict=True)
            }
            written += [job.path for job in jobs]
            survey = found.survey
            records[name] = SourceRecord(
                inputs=data.sources[name].inputs,
                places=manifest.places(data.sources[name].inputs),
                format=survey.format,
                files=len(survey.files),
                input_bytes=sum(file.size for file in survey.files),
                input_sha256=_fingerprint(data, name, survey),
                scenes=found.scenes,
                skipped=[Skipped(path=one.path, reason=one.reason) for one in found.skipped],
                left_out=len(survey.left_out),
                chips_left_out=dict(sorted(found.chips_left_out.items())),
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
        asked = manifest.asked(data)
        done = Manifest(
            bands=list(data.bands),
            num_frames=data.num_frames,
            chip_size=data.chip_size,
            cut={name: asked[name] for name in manifest.CUT},
            sources=records,
            versions={
                "slipway": __version__,
                "python": platform.python_version(),
                "numpy": version("numpy"),
                "rasterio": version("rasterio"),
            },
        )
        write_whole(self.work / manifest.FILE_NAME, manifest.to_text(done))
        for path in written:
            os.replace(path, data.dir / path.name)
        flush(data.dir)
        os.replace(self.work / manifest.FILE_NAME, data.dir / manifest.FILE_NAME)
        flush(data.dir)
        return done


def _write(job: "ShardJob | TableJob") -> "FileRecord":
    return job.write()


def _generated(name: str, data: Data, work: Path, pool: ProcessPoolExecutor) -> Survey:
    """Write the scenes that the project generates, and find them. They are removed with the work."""
    from slipway.data.imagery.generated.granules import PLACES, write_place

    folder = work / f"{name}-{GENERATED}"
    for future in [pool.submit(write_place, folder, number) for number in range(PLACES)]:
        future.result()
    return survey(data, name, data.sources[name], [str(folder)])


def _check_installed(name: str, format: str) -> None:
    for package in _NEEDED.get(format, ("rasterio",)):
        if not find_spec(package):
            raise UserError(
                f"data.sources.{name}.inputs",
                f"needs {package}, which is not installed here",
                do="run `pip install slipway[earth]`",
            )


def _check_destination(data: Data) -> None:
    from slipway.data.imagery.shards import shard_name, table_name

    names = [
        file
        for name in data.sources
        for file in (shard_name(name, "training", 0), table_name(name, "training"))
    ]
    inputs = {
        f"data.sources.{name}.inputs": ["" if entry == GENERATED else entry for entry in source.inputs]
        for name, source in data.sources.items()
    }
    check_destination(data.dir, names, inputs)
    chip = Layout(data.num_frames, len(data.bands), data.chip_size).pixel_bytes
    check_room(data.dir, 2 * chip, f"a chip has {chip / 1e9:.3f} GB (twice while shards are put together)")


def _fingerprint(data: Data, name: str, found: Survey) -> str:
    """Of a source's files; generated ones are the same whenever they are written."""
    return (
        sha256(GENERATED.encode()).hexdigest()
        if data.sources[name].inputs == [GENERATED]
        else fingerprint(found.files)
    )


def _job(data: Data, surveys: dict[str, Survey]) -> dict[str, object]:
    """All that decides what the work holds."""
    from importlib.metadata import version

    return {
        "slipway": __version__,
        "rasterio": version("rasterio"),
        "asked": manifest.asked(data),
        "on_bad_scene": data.on_bad_scene,
        "unit_memory": sources.UNIT_MEMORY,
        "sources": {
            name: [
                source.model_dump(mode="json", include={"names", "scale"}),
                [[os.path.realpath(file.path), file.size, file.mtime_ns] for file in surveys[name].files]
                if name in surveys
                else GENERATED,
            ]
            for name, source in data.sources.items()
        },
    }


def _tell(name: str, source: Prepared) -> None:
    """Say what was left out, and why."""
    left_out = source.survey.left_out
    if left_out:
        _say(f"data.sources.{name}: left out: {describe(left_out)}")
    bad = [one for one in source.skipped if not one.reason.startswith(sources.USELESS)]
    for one in bad[:_NAMED]:
        _say(f"data.sources.{name}: skipped: {one.path} {one.reason}")
    more, useless = len(bad[_NAMED:]), len(source.skipped) - len(bad)
    if more:
        _say(f"data.sources.{name}: skipped: {more:,} more bad scenes, which {manifest.FILE_NAME} names")
    if useless:
        _say(f"data.sources.{name}: {useless:,} scenes are under clouds or unmeasured in all their windows")


def _say(text: str, wanted: bool = True) -> None:
    if wanted:
        print(f"data: {text}", file=sys.stderr, flush=True)
