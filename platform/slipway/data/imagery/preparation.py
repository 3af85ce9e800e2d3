"""The preparation of shards of chips from scenes: the steps of `slipway data`, in order."""

import os
import platform
import sys
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slipway import __version__, cores
from slipway.data import prepared, workspace
from slipway.data.imagery import manifest, sources
from slipway.data.imagery.checks import changed_inputs, check_folder, check_installed, is_generated, needed
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.manifest import GENERATED, Manifest, SourceRecord
from slipway.data.imagery.scenes.survey import Survey, survey
from slipway.data.imagery.sources import Prepared
from slipway.data.imagery.terramesh import source as terramesh
from slipway.data.imagery.writing import write_source
from slipway.data.inputs import check_unchanged, describe
from slipway.data.pool import worker_pool
from slipway.data.progress import Progress, show_progress
from slipway.errors import UserError
from slipway.files import flush, write_whole
from slipway.words import size

__all__ = ["changed_inputs", "prepare"]

COUNTED = ("chips",)
_ENVIRONMENT = {"GDAL_NUM_THREADS": "1"}  # its threads would compete with the other processes
_NAMED = 20  # of bad scenes, where they are listed


def prepare(data: Data, progress: bool) -> Manifest:
    """Prepare data.dir as `data` asks, and return its manifest; return at once if that is done.

    An interrupted preparation continues. The files do not depend on data.workers. Raises UserError if inputs cannot be
    read, or the folder was prepared with other settings or inputs.
    """
    if manifest.read(data.dir) is not None:
        found = manifest.load(data)
        for change in changed_inputs(data, found):
            raise change.replaced(do=f"choose another data.dir, or remove {data.dir}")
        workspace.remove(data.dir / workspace.NAME)  # of a call that was killed right at its end
        return found
    meshes = {
        name: terramesh.survey(name, source.inputs)
        for name, source in data.sources.items()
        if source.format == "terramesh"
    }
    surveys: dict[str, Survey] = {}
    for name, source in data.sources.items():
        if is_generated(name, source):
            check_installed(name, "hls")
        elif name not in meshes:
            surveys[name] = survey(data, name, source)
            check_installed(name, surveys[name].format)
    check_folder(data)
    workers = data.workers or cores.usable()
    with (
        prepared.being_prepared(data.dir),
        worker_pool(workers, _ENVIRONMENT, "spawn") as pool,
        workspace.workspace(data.dir, _job(data, surveys, meshes)) as work,
    ):
        for name, source in data.sources.items():
            if is_generated(name, source):
                surveys[name] = _generated(name, data, work, pool)
            if name in surveys:
                _say(f"data.sources.{name}: {surveys[name]}, {size(surveys[name].bytes)}", progress)
        total = sum(one.bytes for one in surveys.values())
        total += sum(shard.file.size for shards in meshes.values() for shard in shards)
        with show_progress(progress, total, COUNTED) as shown:
            preparation = _Preparation(data, surveys, meshes, workers, pool, work, shown)
            done = preparation.run()
        workspace.remove(work)
    for name, one in preparation.found.items():
        _tell(name, one)
    return done


@dataclass
class _Preparation:
    data: Data
    surveys: dict[str, Survey]
    meshes: dict[str, list[terramesh.Shard]]
    workers: int
    pool: ProcessPoolExecutor
    work: Path
    progress: Progress

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
        meshes: dict[str, SourceRecord] = {}
        dtypes = dict.fromkeys(self.found, "int16")
        for name, shards in self.meshes.items():
            meshes[name], dtypes[name] = terramesh.prepare(
                name, self.data, shards, self.pool, self.work / name, self.work, self._advance
            )
        if len(set(dtypes.values())) > 1:
            listed = ", ".join(f"{dtype} in {name}" for name, dtype in dtypes.items())
            raise UserError(
                "data.sources", f"have pixels of several types: {listed}", do="give each a data.dir"
            )
        self.progress.phase("writing")
        return self._commit(parts, meshes, next(iter(dtypes.values())))

    def _advance(self, disk_bytes: int, chips: int, fresh: bool) -> None:
        self.progress.advance(disk_bytes, {"chips": chips}, fresh)

    def _cut(self, name: str, source: Prepared) -> list[Path]:
        """Return the parts of a source, in order."""
        from slipway.data.imagery.scenes.cut import Report, cut_unit, read_report
        from slipway.data.imagery.shards import is_done

        folder = self.work / name
        folder.mkdir(exist_ok=True)
        parts: list[Path] = []
        waiting: deque[tuple[int, Future[Report]]] = deque()

        def collect() -> None:
            # In the units' order, so that the first of several errors is reported.
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

    def _commit(self, parts: dict[str, list[Path]], meshes: dict[str, SourceRecord], dtype: str) -> Manifest:
        """Write the files aside, move them into data.dir, the manifest last, and return it."""
        from importlib.metadata import version

        data = self.data
        records = meshes | {
            name: write_source(name, data, found, parts[name], self.work, self.pool)
            for name, found in self.found.items()
        }
        asked = manifest.asked(data)
        done = Manifest(
            dtype=dtype,  # type: ignore[arg-type]
            bands=list(data.bands),
            num_frames=data.num_frames,
            chip_size=data.chip_size,
            cut={name: asked[name] for name in manifest.CUT},
            sources={name: records[name] for name in data.sources},
            versions={
                "slipway": __version__,
                "python": platform.python_version(),
                **{package: version(package) for package in needed(self.surveys.values(), meshes)},
            },
        )
        write_whole(self.work / prepared.FILE_NAME, manifest.to_text(done))
        for path in manifest.files(self.work, done):
            os.replace(path, data.dir / path.name)
        flush(data.dir)
        os.replace(self.work / prepared.FILE_NAME, data.dir / prepared.FILE_NAME)
        flush(data.dir)
        return done


def _generated(name: str, data: Data, work: Path, pool: ProcessPoolExecutor) -> Survey:
    """Write the scenes that the project generates, and return them as found. They are removed with the work."""
    from slipway.data.imagery.generated.granules import PLACES, write_place

    folder = work / f"{name}-{GENERATED}"
    for future in [pool.submit(write_place, folder, number) for number in range(PLACES)]:
        future.result()
    return survey(data, name, data.sources[name], [str(folder)])


def _job(
    data: Data, surveys: dict[str, Survey], meshes: dict[str, list[terramesh.Shard]]
) -> dict[str, object]:
    """Return everything that decides what the finished parts of the work hold."""
    from importlib.metadata import version

    files = {name: one.files for name, one in surveys.items()}
    files |= {name: [shard.file for shard in shards] for name, shards in meshes.items()}

    return {
        "slipway": __version__,
        **{package: version(package) for package in needed(surveys.values(), meshes)},
        "asked": manifest.asked(data),
        "on_bad_scene": data.on_bad_scene,
        "unit_memory": sources.UNIT_MEMORY,
        "sources": {
            name: [
                source.model_dump(mode="json", include={"format", "names", "scale"}),
                [[os.path.realpath(file.path), file.size, file.mtime_ns] for file in files.get(name, [])],
            ]
            for name, source in data.sources.items()
        },
    }


def _tell(name: str, source: Prepared) -> None:
    """Print what was left out, and why."""
    left_out = source.survey.left_out
    if left_out:
        _say(f"data.sources.{name}: left out: {describe(left_out)}")
    bad = [one for one in source.skipped if not one.reason.startswith(manifest.USELESS)]
    for one in bad[:_NAMED]:
        _say(f"data.sources.{name}: skipped: {one.path} {one.reason}")
    more, useless = len(bad[_NAMED:]), len(source.skipped) - len(bad)
    if more:
        _say(f"data.sources.{name}: skipped: {more:,} more bad scenes, which {prepared.FILE_NAME} names")
    if useless:
        _say(f"data.sources.{name}: {useless:,} scenes are under clouds or unmeasured in all their windows")


def _say(text: str, wanted: bool = True) -> None:
    if wanted:
        print(f"data: {text}", file=sys.stderr, flush=True)
